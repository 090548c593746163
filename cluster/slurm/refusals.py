"""What SLURM refuses or what fails as it starts, by group: told in `status`, not asked for again at once."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.slurm.site import write_whole

REFUSED, FAILED = "refused.json", "failed.json"
SHORTEST_WAIT, LONGEST_WAIT = 30.0, 600.0


@dataclass(frozen=True)
class Refusal:
    """The last thing that went wrong with a group of workers."""

    said: str
    at: float
    wait: float
    """Seconds from then in which no more of the group are asked for; doubled while it goes on."""


class Refusals:
    """The refusals of a cluster, in a file that `status` reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, Refusal] = {}

    @staticmethod
    def load(path: Path) -> dict[str, Refusal]:
        """As they stand in the file."""
        if not path.exists():
            return {}
        return {group: Refusal(**known) for group, known in json.loads(path.read_text()).items()}

    def note(self, group: str, said: str) -> None:
        """Something was refused, or failed."""
        before = self._last.get(group)
        wait = min(before.wait * 2, LONGEST_WAIT) if before else SHORTEST_WAIT
        self._last[group] = Refusal(said, time.time(), wait)
        self._write()

    def clear(self, group: str) -> None:
        """All is well with a group again."""
        if self._last.pop(group, None) is not None:
            self._write()

    def holds_back(self, group: str) -> str:
        """Why no more of a group are asked for just now; empty where they may be."""
        known = self._last.get(group)
        return known.said if known is not None and time.time() < known.at + known.wait else ""

    def _write(self) -> None:
        write_whole(self._path, json.dumps({group: asdict(known) for group, known in self._last.items()}))
