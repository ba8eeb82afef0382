"""Models whose labels are drawn from known rates, for the tests of quality without labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Scores, predicted classes and labels, each of shape (n,)."""

    scores: Floats
    predicted: Bools
    labels: Bools


@dataclass(frozen=True)
class Model:
    """Normal logits of scores; P(positive | score) = expit(offset + slope * logit), whatever `shift` is."""

    mean: float = -1.0
    spread: float = 1.5
    offset: float = 0.0
    slope: float = 1.0
    threshold: float = 0.5

    def draw(self, rng: np.random.Generator, n: int, shift: float = 0.0) -> Rows:
        """Draw n rows, the logits moved by `shift` of their spreads and, if moved, a tenth narrower."""
        width = self.spread * (0.9 if shift else 1.0)
        logits = rng.normal(self.mean + shift * self.spread, width, n)
        labels = rng.random(n) < expit(self.offset + self.slope * logits)
        scores = expit(logits)
        return Rows(scores, scores > self.threshold, labels)


def quantile_edges(values: Floats, b: int) -> Floats:
    """Inner edges of up to b bins of equal rows, rising."""
    return np.unique(np.quantile(values, np.arange(1, b) / b))


def bin_of(edges: Floats, values: Floats) -> Ints:
    """Bins of values, shape (n,)."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def table(bins: Ints, predicted: Bools, b: int) -> Ints:
    """Rows by bin and predicted class, shape (b, 2)."""
    return np.bincount(bins * 2 + predicted, minlength=2 * b).reshape(b, 2)


def realized(rows: Rows) -> dict[str, float]:
    """All metrics that are estimated, from the labels, by scikit-learn's definitions; no tied scores."""
    predicted, labels = rows.predicted, rows.labels
    tp, fp = float(np.sum(predicted & labels)), float(np.sum(predicted & ~labels))
    fn, tn = float(np.sum(~predicted & labels)), float(np.sum(~predicted & ~labels))
    recall, specificity = tp / (tp + fn), tn / (tn + fp)
    order = labels[np.argsort(-rows.scores)]
    hits, places = np.cumsum(order), np.arange(1, labels.size + 1)
    return {
        "accuracy": (tp + tn) / labels.size,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": tp / (tp + fp),
        "recall": recall,
        "specificity": specificity,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "matthews_corrcoef": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "actual_positive_rate": (tp + fn) / labels.size,
        "roc_auc": float(np.sum(hits[~order]) / ((tp + fn) * (tn + fp))),
        "average_precision": float(np.sum((hits / places)[order]) / (tp + fn)),
    }
