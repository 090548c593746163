"""The user's own modules beside a job file."""

from __future__ import annotations

import sys
from pathlib import Path

from chunkflow.errors import BadInput
from chunkflow.job import Job

MOST_SOURCE_BYTES = 10_000_000


def load_job(path: Path, settings: list[str] | None, until: str = "") -> Job:
    """The job of a file, whose user's own tasks lie beside it; up to the task `until`."""
    see_modules_of(path.resolve().parent)
    return Job.from_file(path, settings or [], until)


def see_modules_of(folder: Path) -> None:
    """Let the modules that lie beside a job file be imported."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def sources_of(job: Job, folder: Path) -> dict[str, bytes]:
    """The user's own code that the workers need: modules beside the job file, and the packages it names."""
    own = [entry.type.partition(":")[0] for entry in job.tasks if ":" in entry.type]
    if not own:
        return {}
    files = set(folder.glob("*.py"))
    for name in own:
        files |= set((folder / name.split(".")[0]).rglob("*.py"))
    sources = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
    size = sum(map(len, sources.values()))
    if size > MOST_SOURCE_BYTES:
        raise BadInput(
            f"The Python files beside the job file take {size / 1e6:.0f} MB; move the job elsewhere."
        )
    return sources
