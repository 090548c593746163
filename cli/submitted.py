"""Where a job was submitted to, written into its work folder, so that its name is enough for every command.

Neither tokens nor passwords are written. Ray's client sends the user's token to whatever address it is given,
so an address that a work folder names is used only if the user has named it before, on this machine.
"""

from __future__ import annotations

import getpass
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.storage import Folder

if TYPE_CHECKING:
    from cluster.submission import Jobs, Submission

PLACE = "submitted/"


def note(work: str, address: str, submission: str, folder: Path) -> None:
    """Write down a submission; the address is without credentials, `folder` where the job file lies here."""
    now = time.time()
    known = {
        "address": address,
        "submission": submission,
        "at": round(now, 3),
        "by": getpass.getuser(),
        "from": platform.node(),
        "folder": str(folder),
    }
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now % 1 * 1e6):06d}.json"
    Folder(work).put(PLACE + name, json.dumps(known, indent=1).encode())


def notes(work: str) -> Iterator[dict[str, Any]]:
    """What was written down, the newest first."""
    folder = Folder(work)
    for name in sorted(folder.list(PLACE), reverse=True):
        try:
            known = json.loads(folder.get(name) or b"")
        except ValueError:
            continue
        if isinstance(known, dict):
            yield known


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
    return Path(typer.get_app_dir("chunkflow")) / "clusters"


def find(work: str, address: str = "") -> tuple[Jobs, Submission] | None:
    """The last submission of a work folder and the cluster that it went to; None where it was never submitted
    from anywhere. With an address, what that cluster knows of it."""
    from cluster.submission import Jobs  # takes two seconds, which other commands need not pay

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
                f"cluster, say --address {named}."
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
