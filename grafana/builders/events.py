"""Events drawn on every graph: firing alerts, new versions, loaded configs."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from .names import BAD, NEUTRAL, NOTICE
from .panels import DATASOURCE
from .promql import SCOPE, firing, select


def events(scope: str, model: str) -> list[AnnotationQuery]:
    """Return the annotations of a dashboard; `model` is the matcher on the model's name alone."""
    versions = select("ml_model_version_info", scope)
    seen_before = f"last_over_time({versions}[1h] offset 5m)"
    return [
        _annotation(
            "Firing alerts",
            BAD,
            firing(model, 'severity=~"critical|warning"'),
            "{{alertname}}",
            "{{severity}}: {{model}} {{instance}}",
        ),
        _annotation(
            "New model version",
            NOTICE,
            f"{versions} unless {seen_before}",
            "{{model}}: version {{version}}",
            "Version {{version}} of {{model}} is there as {{role}}.",
        ),
        _config_loads(),
    ]


def _config_loads() -> AnnotationQuery:
    loaded = select("ml_exporter_config_last_reload_success_timestamp_seconds", SCOPE)
    annotation = _annotation(
        "Config load", NEUTRAL, f"{loaded} * 1000", "Config loaded", "{{instance}} loaded its config."
    )
    annotation.use_value_for_time = True  # the value is the moment, in milliseconds
    return annotation


def _annotation(name: str, color: str, expr: str, title: str, text: str) -> AnnotationQuery:
    return AnnotationQuery(
        name=name,
        datasource=DATASOURCE,
        enable=True,
        hide=False,
        icon_color=color,
        expr=expr,
        step="60s",
        title_format=title,
        text_format=text,
        tag_keys="model,severity",
        use_value_for_time=False,
    )
