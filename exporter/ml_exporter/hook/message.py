"""What Alertmanager's webhook sends, as far as the hook looks at it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=10_000)]

ACTION = "retrain"
_LONGEST_LINK = 2_000


class Alert(BaseModel):
    """One alert."""

    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[Text, Text]
    annotations: dict[Text, Text] = {}
    starts_at: Text = Field(default="", alias="startsAt")
    generator_url: Text = Field(default="", alias="generatorURL")

    @property
    def asks(self) -> bool:
        """Whether it asks for retraining now."""
        return self.status == "firing" and self.labels.get("action") == ACTION

    def links(self) -> dict[str, str]:
        """Return where it leads people: links by what they show."""
        named = {
            "dashboard": self.annotations.get("dashboard_url", ""),
            "runbook": self.annotations.get("runbook_url", ""),
            "alert": self.generator_url,
        }
        return {name: link for name, link in named.items() if _is_link(link)}


class Message(BaseModel):
    """A notification; version 4 is the only one there has been for years."""

    version: Literal["4"]
    alerts: Annotated[list[Alert], Field(max_length=10_000)]


def _is_link(text: str) -> bool:
    try:
        return (
            len(text) <= _LONGEST_LINK and text.isprintable() and urlsplit(text).scheme in ("http", "https")
        )
    except ValueError:
        return False
