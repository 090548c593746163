"""The time now, and times as texts."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def utc_text(at: datetime) -> str:
    """A time in UTC as a text that sorts as times do."""
    return at.isoformat(timespec="seconds")
