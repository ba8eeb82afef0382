"""The exporters themselves: can their numbers be believed, and do they keep up?"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from .dashboards import Row, dashboard
from .events import events
from .exporter_push import push_panels
from .exporter_resources import resource_panels
from .exporter_unknown import unknown_panels
from .exporter_work import reading_panels, work_panels
from .exporters import exporter_table
from .names import BAD, EXPORTER_UID, GOOD
from .panels import About, Line, timeline, words
from .promql import MANY_MODELS, SCOPE, select
from .variables import models_of_fleet, scope


def exporter() -> Dashboard:
    """Return the dashboard of the exporters."""
    return dashboard(
        EXPORTER_UID,
        "Models: exporter",
        "Are the numbers fresh and complete, does the exporter keep up with its logs, and what does it cost?",
        [*scope(), models_of_fleet()],
        # Alerts on an exporter have no model, so an empty one passes as well.
        events(MANY_MODELS, 'model=~"$model|"'),
        [
            Row("", [(exporter_table(), 24, 6), (_ready(), 12, 6), (_reloads(), 12, 6)]),
            Row("Evaluations", work_panels()),
            Row("Reading the logs", reading_panels()),
            Row("Pushed records", push_panels()),
            Row("Cost and errors", resource_panels()),
            Row("What is unknown", unknown_panels()),
        ],
        "No exporter is scraped in the time shown, or none of those that are chosen above.",
    )


def _ready() -> Panel:
    about = About(
        "Is every exporter ready?",
        "ready: config and profiles are loaded and the newest evaluation is fresh.",
        ("MLExporterNotReady", "MLExporterDown"),
    )
    mapping = words({0: ("not ready", BAD), 1: ("ready", GOOD)})
    return timeline(about, [Line(select("ml_exporter_ready", SCOPE), "{{instance}}")], [mapping])


def _reloads() -> Panel:
    about = About(
        "Does every exporter run on its newest config?",
        "yes. After a failed reload it goes on with the config before.",
        ("MLReloadFailed",),
    )
    mapping = words({0: ("reload failed", BAD), 1: ("yes", GOOD)})
    loaded = select("ml_exporter_config_last_reload_successful", SCOPE)
    return timeline(about, [Line(loaded, "{{instance}}")], [mapping])
