"""The cluster that a job was submitted to, found by the note in its work folder.

Ray's client sends the user's token to whatever address it is given, so an address that a work folder names is
used only if the user has named it before, on this machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.jobs.notes import notes

if TYPE_CHECKING:
    from cluster.submission.jobs import Jobs, Submission


def remember(address: str) -> None:
    """The user has named this cluster."""
    known = _remembered()
    if address not in known:
        file = _memory()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in [*known, address]))


def _remembered() -> list[str]:
    try:
        return _memory().read_text().split()
    except OSError:
        return []


def _memory() -> Path:
    """Where settings of programs lie on this system."""
    settings = Path("~/Library/Application Support" if sys.platform == "darwin" else "~/.config").expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or settings) / "chunkflow" / "clusters"


def find(work: str, address: str = "") -> tuple[Jobs, Submission] | None:
    """The last submission of a work folder and the cluster that it went to; None where it was never submitted
    from anywhere. With an address, what that cluster knows of it."""
    from cluster.submission.jobs import Jobs  # takes two seconds, which other commands need not pay

    if address:
        jobs = Jobs(address)
        remember(jobs.address)
        for submission in jobs.submissions():
            if submission.work == work:
                return jobs, submission
        raise BadInput(f"{jobs.address} knows no job with the work folder {work}; see: chunkflow jobs.")
    for known in notes(work):
        named = str(known.get("address", ""))
        if named not in _remembered():
            raise BadInput(
                f"{work} was submitted to {named}, which was never named on this machine: if you know that "
                f"cluster, give its address, {named}."
            )
        jobs = Jobs(named)
        return jobs, jobs.submission(str(known.get("submission", "")))
    return None


def reachable(work: str, address: str = "") -> tuple[Jobs, Submission] | None:
    """The same, but None also where the cluster is gone or does not know the job any more."""
    try:
        return find(work, address)
    except ChunkflowError:
        if address:
            raise
        return None
