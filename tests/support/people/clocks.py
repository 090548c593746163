"""A clock for tests, which stands still until it is moved on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = "2026-03-01T12:00:00+00:00"


class SetClock:
    """A clock at noon, moved on by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def pass_by(self, **span: float) -> None:
        self.time += timedelta(**span)
