"""Where a click leads: another dashboard, same data source and time, with a choice made there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

IN_CELL = "__data.fields"
IN_SERIES = "__field.labels"


def to(uid: str, chosen: Mapping[str, str], *, kept: Sequence[str] = (), where: str = IN_CELL) -> str:
    """Return a link to a dashboard.

    `chosen` has for each variable there the label whose value is chosen: of the table's row, or of the
    series (IN_SERIES); `kept` are variables that stay as they are here.
    """
    parts = [
        "var-datasource=${datasource}",
        *(f"var-{name}=${{{where}.{label}:percentencode}}" for name, label in chosen.items()),
        *(f"${{{name}:queryparam}}" for name in kept),
        "${__url_time_range}",
    ]
    return f"/d/{uid}?{'&'.join(parts)}"
