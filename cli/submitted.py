"""Where a job was submitted to, written into its work folder, so that its name is enough for every command.

Neither tokens nor passwords are written.
"""

from __future__ import annotations

import getpass
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
            yield json.loads(folder.get(name) or b"")
        except ValueError:
            continue


def find(work: str, address: str = "") -> tuple[Jobs, Submission] | None:
    """The last submission of a work folder and the cluster that it went to; None where it was never submitted
    from anywhere. With an address, what that cluster knows of it."""
    from cluster.submission import Jobs  # takes two seconds, which other commands need not pay

    if address:
        jobs = Jobs(address)
        for submission in jobs.submissions():
            if submission.work == work:
                return jobs, submission
        raise BadInput(f"{jobs.address} knows no job with the work folder {work}; see: chunkflow jobs.")
    for known in notes(work):
        jobs = Jobs(str(known.get("address", "")))
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
