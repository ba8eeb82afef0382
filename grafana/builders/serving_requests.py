"""Rate, errors and duration of the model servers, by what their logs say."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Panel

from .links import IN_SERIES, to
from .names import MODEL_UID
from .panels import About, Line, graph, linked
from .promql import MANY_MODELS, SCOPE, Moment, highest, of_champion, select

TO_MODEL = to(MODEL_UID, {"model": "model"}, kept=("job", "instance"), where=IN_SERIES)


def request_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on requests, with width and height."""
    panels = (_rate(), _errors(), _latency(), _slow(), _half(), _age())
    return [(panel, 12, 7) for panel in panels]


def _of_models(about: About, unit: str, build: Callable[[Moment], str], *more: Line) -> Panel:
    lines = [Line(highest(5 - len(more), "model", build), "{{model}}"), *more]
    return linked(graph(about, lines, unit=unit, low=0), "Show this model", TO_MODEL)


def _per_second(name: str, when: Moment) -> str:
    return f"sum by (model) ({when.pace(select(name, MANY_MODELS))})"


def _share(name: str, when: Moment) -> str:
    return f"{_per_second(name, when)} / ({_per_second('ml_predictions_total', when)} > 0)"


def _quantile(share: float, when: Moment) -> str:
    buckets = f"{when.pace(select('ml_prediction_latency_seconds_bucket', MANY_MODELS))}"
    champion = of_champion(MANY_MODELS, when)
    return f"histogram_quantile({share}, sum by (le, model) ({buckets} {champion}))"


def _rate() -> Panel:
    about = About(
        "How many predictions are made?",
        "The usual daily rhythm, without gaps. Of all versions; the model with most traffic and three more, "
        "and all models together.",
        ("MLNoPredictions",),
    )
    everything = f"sum(rate({select('ml_predictions_total', MANY_MODELS)}[$__rate_interval]))"
    return _of_models(
        about, "reqps", lambda when: _per_second("ml_predictions_total", when), Line(everything, "all")
    )


def _errors() -> Panel:
    about = About(
        "What share of predictions fails?",
        "0 %. Failed: the log's record carries an error. The five models with the highest share.",
    )
    return _of_models(about, "percentunit", lambda when: _share("ml_prediction_errors_total", when))


def _slow() -> Panel:
    about = About(
        "What share of predictions is slower than it may be?",
        "Hardly any is above the latency limit of the config. The five models with the highest share.",
        empty="No model has a latency limit.",
    )
    return _of_models(about, "percentunit", lambda when: _share("ml_slow_predictions_total", when))


def _latency() -> Panel:
    about = About(
        "How long does the slowest of a hundred answers take?",
        "Steady and below the latency limit. The 99th percentile of the champion; the five slowest models.",
        empty="No log has a latency.",
    )
    return _of_models(about, "s", lambda when: _quantile(0.99, when))


def _half() -> Panel:
    about = About(
        "How long does the usual answer take?",
        "Steady. Where this rises with the slowest, the server is short of something; where only the slowest "
        "rise, some requests are. The median of the champion; the five slowest models.",
        empty="No log has a latency.",
    )
    return _of_models(about, "s", lambda when: _quantile(0.5, when))


def _age() -> Panel:
    about = About(
        "How long has a model been silent?",
        "Well below its own limit, which the page of the model shows. The five oldest newest predictions.",
        ("MLNoPredictions",),
    )
    clock = select("ml_exporter_clock_timestamp_seconds", SCOPE)
    newest = select("ml_last_prediction_timestamp_seconds", MANY_MODELS)
    return _of_models(
        about,
        "s",
        lambda when: (
            f"min by (model) ({when.gauge(clock)} - on (job, instance) group_right () {when.gauge(newest)})"
        ),
    )
