"""PromQL that several panels share. Every selector is limited to the chosen job and instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SCOPE = 'job=~"$job", instance=~"$instance"'
ONE_MODEL = f'{SCOPE}, model="$model"'
MANY_MODELS = f'{SCOPE}, model=~"$model"'
# An alert about something that is gone has no instance, and ".+" does not match an absent label.
ALERT_SCOPE = 'job=~"$job", instance=~"$instance|"'
# The hook is a process of its own, with a job and an instance that nobody chooses here.
HOOK_OF_MODEL = 'job=~"$job|ml_hook.*", instance=~"$instance|.+", model="$model"'
WATCHDOG = 'ALERTS{alertname="MLWatchdog", alertstate="firing"}'

REPLICA = "job, instance, model"
ON_VERSION = "on (job, instance, model, version)"
ON_TARGET = "on (job, instance, model, metric, window)"
ON_METRIC = "on (job, instance, model, version, metric, window)"
ON_DRIFT = "on (job, instance, model, column, method, window, reference)"
ON_CHECK = "on (job, instance, model, column, check, window)"


def select(metric: str, scope: str, *matchers: str) -> str:
    """Return a selector of `metric` within `scope` (SCOPE, ONE_MODEL or MANY_MODELS) and more matchers."""
    return f"{metric}{{{', '.join((scope, *matchers))}}}"


@dataclass(frozen=True, slots=True)
class Moment:
    """How an expression looks at its series: each at its own time (NOW), or all over the shown time (SHOWN)."""

    gauges: str
    counters: str

    def gauge(self, selector: str) -> str:
        """Return the value of a gauge, or its highest."""
        return self.gauges.format(selector)

    def pace(self, selector: str) -> str:
        """Return the increase of a counter, per second now, or in all."""
        return self.counters.format(selector)


NOW = Moment("{}", "rate({}[$__rate_interval])")
SHOWN = Moment("max_over_time({}[$__range] @ end())", "increase({}[$__range] @ end())")


def of_champion(scope: str, when: Moment = NOW) -> str:
    """Return what limits a vector with a version to the version that serves, or has served."""
    role = select("ml_model_version_info", scope, 'role="champion"')
    return f"and {ON_VERSION} {when.gauge(role)}"


def rate(metric: str, scope: str, *matchers: str) -> str:
    """Return the increase per second of a counter over the panel's rate interval."""
    return f"rate({select(metric, scope, *matchers)}[$__rate_interval])"


def highest(number: int, by: str, build: Callable[[Moment], str]) -> str:
    """Return the so many series that are highest in the shown time, told apart by the labels `by`.

    They are chosen once for the whole graph, and shown also where they have ended by now.
    """
    return f"{build(NOW)} and on ({by}) topk({number}, {build(SHOWN)})"


def bounded(metric: str, scope: str, *matchers: str) -> tuple[str, str, str]:
    """Return the selectors of a value, of its lower and of its upper bound."""
    value, lower, upper = (select(f"{metric}{end}", scope, *matchers) for end in ("", "_lower", "_upper"))
    return value, lower, upper


def targets(scope: str, *matchers: str) -> tuple[str, str]:
    """Return the selectors of the least that is demanded, and of the most that is allowed."""
    least, most = (select("ml_quality_target", scope, *matchers, f'bound="{end}"') for end in ("min", "max"))
    return least, most


def breaches(scope: str) -> str:
    """Return the champion's metrics whose 95 % bound is on the wrong side of the target."""
    _, lower, upper = bounded("ml_quality", scope)
    at_least, at_most = targets(scope)
    return (
        f"(({upper} < {ON_TARGET} group_left () {at_least})"
        f" or ({lower} > {ON_TARGET} group_left () {at_most})) {of_champion(scope)}"
    )


def missed_for_sure(metric: str, scope: str, *matchers: str) -> str:
    """Return 1 for what has its 95 % bound on the wrong side of a target, 0 for what has not."""
    _, lower, upper = bounded(metric, scope, *matchers)
    least, most = targets(scope)
    return (
        f"({upper} < bool {ON_TARGET} group_left (bound) {least}"
        f" or {lower} > bool {ON_TARGET} group_left (bound) {most})"
    )


def room(metric: str, scope: str, *matchers: str) -> str:
    """Return how far the bound that decides is from its target; below 0 the target is missed for sure."""
    _, lower, upper = bounded(metric, scope, *matchers)
    least, most = targets(scope)
    return (
        f"({upper} - {ON_TARGET} group_left (bound) {least}"
        f" or {most} - {ON_TARGET} group_right (bound) {lower})"
    )


def closest(scope: str) -> str:
    """Return for each model the champion's target that is closest to being missed for sure.

    Metrics differ in unit, so the room is measured in widths of the metric's own bounds.
    """
    _, lower, upper = bounded("ml_quality", scope)
    width = f"({upper} - {ON_METRIC} {lower})"
    of_width = f"{room('ml_quality', scope)} / {ON_METRIC} group_left () {width}"
    return f"bottomk by (job, model) (1, {of_width} {of_champion(scope)})"


def unjudged(scope: str) -> str:
    """Return the targets for which the champion has no bounds now."""
    judged = f"{select('ml_quality_lower', scope)} {of_champion(scope)}"
    return (
        f"group by (job, instance, model, metric, window) ({select('ml_quality_target', scope)})"
        f" unless {ON_TARGET} ({judged})"
    )


def expected_misses(scope: str) -> str:
    """Return 1 or 0 for the champion's targets without bounds: whether the estimate misses them for sure."""
    missed = missed_for_sure("ml_quality_estimated", scope)
    return f"{missed} {of_champion(scope)} and {ON_TARGET} ({unjudged(scope)})"


def drifted(scope: str) -> str:
    """Return the columns above both their limit and the noise."""
    drift = select("ml_drift", scope)
    limit, noise = select("ml_drift_limit", scope), select("ml_drift_noise", scope)
    return f"({drift} > {ON_DRIFT} group_left () {limit}) and {drift} > {noise}"


def violating(scope: str) -> str:
    """Return the input checks that fail more often than their limit, and than chance explains."""
    ratio, noise = (select(f"ml_input_violation_{part}", scope) for part in ("ratio", "noise"))
    beyond = f"{ratio} > {ON_CHECK} group_left () {select('ml_input_violation_limit', scope)}"
    return f"({beyond} unless {ratio} <= {noise})"


def prediction_age(scope: str) -> str:
    """Return the age of each model's newest prediction in seconds, by the exporter's clock."""
    newest = select("ml_last_prediction_timestamp_seconds", scope)
    return (
        f"{select('ml_exporter_clock_timestamp_seconds', SCOPE)} - on (job, instance) group_right () {newest}"
    )


def firing(matchers: str, *more: str) -> str:
    """Return the alerts that fire now for models that match, the Watchdog excepted."""
    return select("ALERTS", ALERT_SCOPE, matchers, 'alertname=~"ML.+"', 'alertstate="firing"', *more)


def cpu_busy(when: Moment = NOW) -> str:
    """Return the share of each host's CPU time in use."""
    idle = when.pace(select("ml_host_cpu_seconds_total", SCOPE, 'mode="idle"'))
    cpus = when.gauge(select("ml_host_cpus", SCOPE))
    return f"1 - sum by (job, instance) ({idle}) / on (job, instance) {cpus}"


def memory_used(when: Moment = NOW) -> str:
    """Return the share of each host's memory that cannot be had any more."""
    available, total = (
        when.gauge(select(f"ml_host_memory_{part}_bytes", SCOPE)) for part in ("available", "total")
    )
    return f"1 - {available} / {total}"


def disk_used() -> str:
    """Return the share in use of each disk that can be written."""
    avail, size = (select(f"ml_host_filesystem_{part}_bytes", SCOPE) for part in ("avail", "size"))
    return f"1 - ({avail} / {size} unless {select('ml_host_filesystem_readonly', SCOPE)} == 1)"


def known_models(scope: str) -> str:
    """Return (job, model, team) of every model seen in the shown time, also of those that are gone."""
    info = select("ml_model_info", scope)
    by = "group by (job, model, team)"
    return f"{by} ({info}) or on (job, model) {by} (last_over_time({info}[$__range]))"


def state(scope: str, model: str) -> str:
    """Return each model's state (names.STATES) by (job, model): the worst alert that fires for it.

    It is unknown where the alert rules do not run (no Watchdog) or the model is gone. `model` is the
    matcher on the model's name alone.
    """
    by = "by (job, model)"
    info = select("ml_model_info", scope)
    critical, warning, info_only = (
        f"group {by} ({firing(model, _severity(name))})" for name in ("critical", "warning", "info")
    )
    return (
        f"4 * {critical} or 3 * {warning} or 1 * {info_only}"
        f" or 0 * group {by} ({info}) and on () {WATCHDOG}"
        f" or 2 * group {by} (last_over_time({info}[$__range]))"
    )


def _severity(name: str) -> str:
    return f'severity="{name}"'
