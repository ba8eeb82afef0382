"""What goes into a model: what has drifted, what fails its checks, what is missing, late or rejected."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .dashboards import Row, dashboard
from .data_checks import check_panels
from .data_flow import flow_panels, source_panels
from .data_schema import schema_panels
from .drift_column import column_panels
from .drift_columns import columns_panels, overview_panels
from .drift_together import together_panels
from .events import events
from .names import DRIFT_UID
from .promql import ONE_MODEL
from .variables import of_drift, scope


def drift() -> Dashboard:
    """Return the dashboard of one model's drift and data."""
    return dashboard(
        DRIFT_UID,
        "Models: drift and data",
        "What of a model's input, scores and labels is not what it was, and what is wrong with its data?",
        [*scope(), *of_drift()],
        events(ONE_MODEL, 'model="$model"'),
        [
            Row("All columns", [*overview_panels(), *together_panels()]),
            Row("Which columns, and by how much", columns_panels()),
            Row("The column $column", column_panels()),
            Row("Input checks", check_panels()),
            Row("Schema and values", schema_panels()),
            Row("Freshness and volume", flow_panels()),
            Row("Logs", source_panels()),
        ],
        "No prediction in the time shown: is the log written, and does its path in the config fit?",
    )
