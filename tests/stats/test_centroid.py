"""Distances of means of vectors: what they are, and how often their floor is exceeded without drift."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ml_exporter.stats.centroid import centroid_distance, deviation_of, floor_at, scaled_floor

Floats = NDArray[np.float64]


def spread(d: int, kind: str) -> Floats:
    """Deviations of d directions: all alike, falling, or one that outweighs the others."""
    return {
        "alike": np.ones(d),
        "falling": 1.0 / np.arange(1, d + 1),
        "one": np.append(10.0, np.full(d - 1, 0.1)),
    }[kind]


def draw(rng: np.random.Generator, n: int, deviations: Floats) -> Floats:
    """Vectors with a mean, in uniformly distributed directions of these deviations."""
    return np.asarray(rng.uniform(-1, 1, (n, deviations.size)) * np.sqrt(3) * deviations + 5.0)


def test_the_distance_is_in_deviations_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    vectors = draw(rng, 5_000, spread(8, "falling"))
    assert deviation_of(vectors) == pytest.approx(np.sqrt(vectors.var(axis=0).sum()), rel=1e-12)
    mean, deviation = vectors.mean(axis=0), deviation_of(vectors)
    assert centroid_distance(mean, mean, deviation) == 0.0
    assert centroid_distance(mean + 2.0, mean, deviation) == pytest.approx(2 * np.sqrt(8) / deviation)
    # The unit of the vectors does not matter.
    assert centroid_distance(7 * mean + 14, 7 * mean, deviation_of(7 * vectors)) == pytest.approx(
        centroid_distance(mean + 2, mean, deviation)
    )


def test_floors_know_both_sides() -> None:
    assert floor_at(4.0, 100, 1e12) == pytest.approx(0.2)
    assert floor_at(4.0, 100, 100) == pytest.approx(0.2 * np.sqrt(2))


@pytest.mark.parametrize("vectors", [300, 3])
def test_fewer_vectors_than_directions_have_a_floor_too(vectors: int) -> None:
    rng = np.random.default_rng(2)
    found = scaled_floor(draw(rng, vectors, spread(500, "falling")))
    assert 1.0 < found < 16.0


@pytest.mark.parametrize("kind", ["alike", "falling", "one"])
@pytest.mark.parametrize("n", [50, 400])
def test_floors_are_exceeded_as_often_as_they_say(kind: str, n: int) -> None:
    rng, deviations = np.random.default_rng(3), spread(12, kind)
    reference = draw(rng, 200_000, deviations)
    mean, deviation = reference.mean(axis=0), deviation_of(reference)
    floors = [floor_at(scaled_floor(reference[:5_000], chance), n, len(reference)) for chance in (0.01, 1e-4)]
    runs = 6_000
    found = np.asarray(
        [
            centroid_distance(reference[rows].mean(axis=0), mean, deviation)
            for rows in rng.integers(0, len(reference), (runs, n))
        ]
    )
    assert 0.006 <= np.mean(found > floors[0]) <= 0.014
    assert np.count_nonzero(found > floors[1]) <= 4
