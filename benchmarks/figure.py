"""One figure of the bench: what was measured, beside a peer or a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """`ours` and `peer` in one unit; the target is for the ratio where there is a peer, else for `ours`.

    A target of 0 is always for `ours`.
    """

    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    better: Literal["higher", "lower"] = "higher"
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as good as the peer."""
        if not self.peer or not self.ours:
            return None
        return self.ours / self.peer if self.better == "higher" else self.peer / self.ours

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        if self._of_ratio:
            return (self.ratio or 0.0) >= self.target
        return self.ours >= self.target if self.better == "higher" else self.ours <= self.target

    @property
    def _of_ratio(self) -> bool:
        return self.peer is not None and self.target != 0

    def row(self) -> list[str]:
        peer = f"{self.peer:,.4g} {self.unit} ({self.peer_name})" if self.peer is not None else ""
        ratio = f"{self.ratio:.2f}x" if self.ratio is not None else ""
        sign = "at least" if self.better == "higher" or self._of_ratio else "at most"
        unit = "x" if self._of_ratio else ""
        target = f"{sign} {self.target:g}{unit}" if self.target is not None else ""
        reached = {None: "", True: "yes", False: "NO"}[self.reached]
        return [self.what, f"{self.ours:,.4g} {self.unit}", peer, ratio, target, reached]
