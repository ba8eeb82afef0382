"""What is wrong with a model now, in words: what the alert rules look at, as of one evaluation.

The rules wait until something has lasted; here it shows at once. Severities are those of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ml_exporter.config_model import Model, Target
from ml_exporter.evaluation import ModelReport, VersionReport, WindowReport
from ml_exporter.pipeline import SourceStatus
from ml_exporter.sources.outcomes import NOT_REJECTED
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.troubles_columns import schema, together, unexpected
from ml_exporter.web.status import Level, Trouble
from ml_exporter.words import REASONS, duration, listed, number, percent, plural

_DECIDING = ("accuracy", "log_loss", "brier_score", "mean_absolute_error", "mean_squared_error")
"""Metrics whose bounds hold at every look."""
_FEW, _SHARE = 10, 0.01
"""So many refused lines, and so large a share of them, are worth a word."""
_DAY = 86_400.0


def troubles(report: ModelReport, sources: Iterable[SourceStatus]) -> Iterator[Trouble]:
    """What is wrong with a model and with its logs, but for single columns' drift and failed checks."""
    yield from _logs(report.model, sources)
    yield from _traffic(report)
    champion = champion_of(report)
    if champion is not None:
        window = alert_window(report, champion)
        yield from _quality(report.model, champion, window)
        yield from _concept(champion)
        yield from _labels(report.model, window)
        yield from together(report.model, window)
        yield from schema(window)
        yield from _calibration(report.model, window)
        yield from _segments(report.model, window)
    yield from unexpected(report)
    yield from _refused(report)
    yield from _season(report)
    yield from _versions(report)


def own_troubles(not_ready: str | None, reload_successful: bool, dropped: int) -> Iterator[Trouble]:
    """What is wrong with the exporter itself; `dropped` series are not on its page."""
    if not_ready is not None:
        yield Trouble("failing", "Numbers are missing or old", f"{not_ready}.", "MLExporterNotReady")
    if not reload_successful:
        text = "The newest configuration could not be loaded; the log says why, and the one before is in use."
        yield Trouble("warning", "It runs on an old configuration", text, "MLReloadFailed")
    if dropped:
        text = (
            f"{plural(dropped, 'series is', 'series are')} left out of the metrics to stay within the limit."
        )
        yield Trouble("warning", "Columns are not exported", text, "MLSeriesDropped")


def champion_of(report: ModelReport) -> VersionReport | None:
    """The version that answers, None where none is known."""
    return next((version for version in report.versions if version.role == "champion"), None)


def alert_window(report: ModelReport, version: VersionReport) -> WindowReport:
    """The window that thresholds judge."""
    return next(window for window in version.windows if window.window == report.model.alert_window)


def missed(target: Target, result: Value) -> bool:
    """Whether a target is surely missed: its bound is beyond it, and not just the number."""
    too_low = target.min is not None and result.upper is not None and result.upper < target.min
    return too_low or (target.max is not None and result.lower is not None and result.lower > target.max)


def _logs(model: Model, sources: Iterable[SourceStatus]) -> Iterator[Trouble]:
    for source in sources:
        if source.model == model.name and source.problems:
            level: Level = "failing" if source.source == "predictions" else "warning"
            text = f"{'; '.join(source.problems)}."
            yield Trouble(level, f"The log of {source.source} cannot be read", text, "MLSourceDown")


def _traffic(report: ModelReport) -> Iterator[Trouble]:
    newest, limit = report.accounts.newest, report.model.prediction_age_limit
    if newest is None:
        yield Trouble(
            "failing", "No predictions", "No prediction was read from the log so far.", "MLNoPredictions"
        )
    elif report.time - newest > limit:
        text = f"The newest is {duration(report.time - newest)} old; the limit is {duration(limit)}."
        yield Trouble("failing", "No predictions", text, "MLNoPredictions")


def _refused(report: ModelReport) -> Iterator[Trouble]:
    """Counts since ever cannot tell whether it still goes on, so this is for information."""
    for source, outcomes in report.accounts.lines.items():
        rejected = {name: count for name, count in outcomes.items() if name not in NOT_REJECTED and count}
        refused, lines = sum(rejected.values()), sum(outcomes.values())
        if refused >= _FEW and refused > _SHARE * lines:
            worst = max(rejected, key=lambda name: rejected[name])
            text = (
                f"{percent(refused / lines)} of {plural(lines, 'line')} of the {source} log since the first; "
                f"most often: {worst.replace('_', ' ')}."
            )
            yield Trouble("notice", "Lines have been refused", text, "MLRowsRejected")


def _quality(model: Model, champion: VersionReport, window: WindowReport) -> Iterator[Trouble]:
    for metric, target in model.quality.items():
        result = window.quality.metrics.get(metric)
        if isinstance(result, Value):
            if missed(target, result):
                yield _missed(metric, target, result, champion.name, window)
        elif isinstance(result, Unavailable) and result.reason != "immature":
            text = f"{metric} over {window.window.name}: {REASONS.get(result.reason, result.reason)}."
            yield Trouble("warning", "A target cannot be judged", text, "MLQualityUnknown")
        if not isinstance(result, Value):
            yield from _expected(metric, target, window.estimated.get(metric), window)


def _missed(metric: str, target: Target, result: Value, version: str, window: WindowReport) -> Trouble:
    text = (
        f"{metric} of version {version} over {window.window.name} is {result.value:.4g}, "
        f"{_at_best(target, result)}; n = {result.n:,}."
    )
    if target.min is not None and result.upper is not None and result.upper < target.min:
        return Trouble("failing", "Quality is below its target", text, "MLQualityBelowTarget")
    return Trouble("failing", "Loss is above its target", text, "MLQualityAboveTarget")


def _at_best(target: Target, result: Value) -> str:
    if target.min is not None and result.upper is not None and result.upper < target.min:
        return f"at best {result.upper:.4g}; it must be at least {target.min:g}"
    return f"at best {result.lower or 0.0:.4g}; it must be at most {target.max or 0.0:g}"


def _expected(metric: str, target: Target, result: Result | None, window: WindowReport) -> Iterator[Trouble]:
    if isinstance(result, Value) and missed(target, result):
        text = (
            f"{metric} over {window.window.name} is expected to be {result.value:.4g}, "
            f"{_at_best(target, result)}."
        )
        yield Trouble(
            "warning", "Labels are late, and will show a missed target", text, "MLEstimatedQualityLow"
        )


def _concept(champion: VersionReport) -> Iterator[Trouble]:
    detector = champion.detectors.get("ecusum")
    if detector is not None and detector.level == 2:
        text = f"Version {champion.name} errs more than its scores admit: what it learned no longer holds."
        yield Trouble("failing", "The concept has drifted", text, "MLConceptDrift")
    elif detector is not None and detector.level == 1:
        text = f"Version {champion.name} has erred more than its scores admit; it is too early to be sure."
        yield Trouble("notice", "The concept may be drifting", text, "MLConceptDrift")


def _labels(model: Model, window: WindowReport) -> Iterator[Trouble]:
    found = window.quality
    if model.labels and model.labels.silence == "unknown" and found.mature and not found.labelled:
        text = f"None of {plural(found.mature, 'mature prediction')} over {window.window.name} has one."
        yield Trouble("warning", "No labels arrive", text, "MLLabelsStopped")


def _calibration(model: Model, window: WindowReport) -> Iterator[Trouble]:
    found, noise = window.quality.calibration, window.quality.calibration_noise
    if model.calibration is None or not isinstance(found, Value):
        return
    if found.value > max(model.calibration.max, noise or 0.0):
        text = (
            f"Over {window.window.name} they are off by {number(found.value)} in the mean; "
            f"the limit is {model.calibration.max:g}, chance explains {number(noise or 0.0)}."
        )
        yield Trouble(
            "warning", "Scores are not the probabilities they claim to be", text, "MLCalibrationOff"
        )


def _segments(model: Model, window: WindowReport) -> Iterator[Trouble]:
    for metric, target in model.quality.items():
        bad = [
            (result, part)
            for part in window.quality.segments
            if isinstance(result := part.quality.get(metric), Value) and missed(target, result)
        ]
        if bad:
            sign = -1 if target.min is None else 1
            result, worst = min(bad, key=lambda item: sign * item[0].value)
            text = (
                f"{metric} is worst where {worst.segment} is {worst.value}: {result.value:.4g}, "
                f"{_at_best(target, result)}; {plural(len(bad), 'segment')} in all."
            )
            yield Trouble("warning", "A segment misses the target", text, "MLSegmentQualityLow")


def _season(report: ModelReport) -> Iterator[Trouble]:
    limit = report.model.seasonal
    for deviation in report.deviations:
        result = deviation.result
        if limit is not None and isinstance(result, Value) and abs(result.value) > limit.max:
            subject = deviation.subject.replace("_", " ")
            text = (
                f"{subject.capitalize()} of the last complete hour is {number(abs(result.value))} standard errors "
                f"{'above' if result.value > 0 else 'below'} the same hour of earlier weeks; the limit is {limit.max:g}."
            )
            yield Trouble("warning", "An hour unlike those before", text, "MLSeasonalDeviation")


def _versions(report: ModelReport) -> Iterator[Trouble]:
    roles = {version.name: version.role for version in report.versions}
    for (baseline, candidate), (better, worse) in sorted(decided(report).items()):
        role = roles.get(candidate, "champion")
        if worse:
            text = f"Version {candidate} is surely worse than {baseline} by {listed(worse)}."
            level: Level = "failing" if role == "candidate" else "warning"
            yield Trouble(level, "A version is worse", text, "MLCandidateWorse")
        elif better and role != "champion":
            text = f"Version {candidate} is surely better than {baseline} by {listed(better)}."
            yield Trouble("notice", "A version is better", text, "MLCandidateBetter")


def decided(report: ModelReport) -> dict[tuple[str, str], tuple[list[str], list[str]]]:
    """By baseline and candidate: the metrics by which the candidate is surely better, and surely worse.

    Only by metrics whose bounds hold at every look; versions that answer rows of their own only from the
    candidate's second day on, since the first hours' rows are seldom a fair share of the traffic.
    """
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    born = {version.name: version.born for version in report.versions}
    for difference in report.differences:
        age = report.time - born.get(difference.candidate, report.time)
        if difference.pairing == "unpaired" and age < _DAY:
            continue
        better, worse = found.setdefault((difference.baseline, difference.candidate), ([], []))
        result = difference.result
        if isinstance(result, Value) and difference.metric in _DECIDING:
            if result.lower is not None and result.lower > 0:
                better.append(difference.metric)
            elif result.upper is not None and result.upper < 0:
                worse.append(difference.metric)
    return found
