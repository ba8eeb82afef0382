"""The model servers and the hosts they run on: what they are asked, and what runs out first."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .dashboards import Row, dashboard
from .events import events
from .gpus import gpu_panels
from .host import host_panels
from .host_pressure import pressure_panels
from .host_saturation import saturation_panels
from .names import SERVING_UID
from .process_limits import limit_panels
from .processes import process_panels
from .promql import MANY_MODELS
from .serving_models import placement
from .serving_requests import request_panels
from .variables import models_of_fleet, processes, scope


def serving() -> Dashboard:
    """Return the dashboard of serving and resources."""
    return dashboard(
        SERVING_UID,
        "Models: serving and resources",
        "Do the model servers answer, quickly and without errors, and what of their hosts runs out first?",
        [*scope(), models_of_fleet(), processes()],
        # Alerts on a host have no model, so an empty one passes as well.
        events(MANY_MODELS, 'model=~"$model|"'),
        [
            Row("", [(placement(), 24, 8)]),
            Row("What runs out first", [*pressure_panels(), *saturation_panels()]),
            Row("Requests", request_panels()),
            Row("Processes", process_panels()),
            Row("Limits of the processes", limit_panels()),
            Row("Hosts", host_panels()),
            Row("GPUs", gpu_panels()),
        ],
        "No exporter told of its host or of a prediction in the time shown.",
    )
