"""The cluster that a job was submitted to, found by the note in its work folder.

Ray's client sends the user's token to whatever address it is given, so an address that a work folder names is
used only if the user has named it before, on this machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.data.folder import Folder
from chunkflow.data.info import full_url
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.jobs.log import log_texts
from chunkflow.jobs.notes import notes
from chunkflow.jobs.work import Work
from chunkflow.words import plain

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


def submission_of(work: str, address: str = "") -> tuple[Jobs, Submission] | None:
    """The same, but None also where the cluster is gone or does not know the job any more."""
    try:
        return find(work, address)
    except ChunkflowError:
        if address:
            raise
        return None


def run_log(work: str, follow: bool = False, address: str = "") -> Iterator[str]:
    """The log of a job in pieces of text: of a submitted one what its driver printed, else its folder's."""
    found = submission_of(work, address)
    if found is None:
        yield from (f"{line}\n" for line in log_texts(Work.open(work), follow))
        return
    jobs, submission = found
    yield from jobs.follow(submission.id) if follow else [jobs.log(submission.id)]


def stop_run(work: str, now: bool = False, address: str = "") -> Work | tuple[Jobs, Submission]:
    """Ask the run in a work folder to end in good order; returns the folder, whose ledger tells of the end.

    Where `now` asks for it, or no run has opened the folder, the driver of a submitted job is told to end:
    returns its cluster and submission.
    """
    known = None if now else _opened(work)
    if known is not None and known.stop():
        return known
    found = find(work, address) if now else submission_of(work, address)
    if found is None or found[1].has_ended:
        ended = known.ledger.state.ended if known is not None else None
        raise BadInput(f"Nothing runs in {plain(work)}{f': the last run ended {ended}' if ended else ''}.")
    jobs, submission = found
    jobs.stop(submission.id)
    return jobs, submission


def _opened(work: str) -> Work | None:
    """The work folder; None where the run has not opened it yet, or it is not seen from here."""
    url = full_url(work)
    ledger = Ledger.load(Folder(url))
    return Work(url, ledger) if ledger.state.job is not None else None
