"""A work folder: the job that runs or ran there, as its ledger knows it, and what it made."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chunkflow.data.describe import layer_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo, VoxelsInfo, full_url
from chunkflow.data.tables import Table
from chunkflow.data.volume import Volume
from chunkflow.engine.ledger.heartbeat import STOP
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.record import JobRecord
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan, plan_of_spec
from chunkflow.engine.queue.sqs.queues import dead_letters
from chunkflow.engine.run.checking import Fault, faults_of
from chunkflow.engine.run.checking import repair as repair_all
from chunkflow.engine.worker.worker import Worker
from chunkflow.errors import BadInput, ChunkflowError, DamagedInput, Incomplete, Interrupted
from chunkflow.geometry import Box
from chunkflow.jobs.notes import notes
from chunkflow.jobs.status import Followed, Status, alive
from chunkflow.modules import Modules
from chunkflow.registry import from_cluster
from chunkflow.words import counted, in_words, plain

POLL_SECONDS = 1.0
ASK_SECONDS = 10.0
"""How often a cluster is asked what became of a job whose run has not begun."""
SHOWN_OF_LETTER = 200


@dataclass(frozen=True, repr=False)
class Replayed:
    """A chunk that was run once more, and went well."""

    task: str
    index: int
    box: Box
    seconds: float

    def __repr__(self) -> str:
        return f"{self.task} chunk {self.index} ({self.box}) is well: {in_words(self.seconds)}."


@dataclass(frozen=True, repr=False)
class Checked:
    """The result of a check: all that is missing or damaged of what a job has made."""

    work: str
    chunks: int
    """The finished chunks that were looked at."""
    faults: tuple[Fault, ...]
    repaired: int | None = None
    """How many chunks will be done again by the next run; None where that was not asked for."""

    @property
    def title(self) -> str:
        """What was looked at, and how many faults were found, in a line."""
        return f"{counted(self.chunks, 'finished chunk')} of {self.work}: {self._verdict}"

    def __repr__(self) -> str:
        return "\n".join([self.title, *map(str, self.faults)])

    @property
    def _verdict(self) -> str:
        if not self.faults and not self.repaired:
            return "nothing is missing, nothing is damaged."
        found = f"{counted(len(self.faults), 'fault')}."
        if self.repaired is None:
            return found
        return f"{found} {counted(self.repaired, 'chunk')} will be done again by the next run."


def check(
    location: str | Path,
    deep: bool = False,
    repair: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Checked:
    """Check that all that a job's ledger answers for is there, and is what was written.

    The ledger itself, parts, tables, meshes and shards are read and held against their checksums; of storage
    chunks it is seen whether they are there, and with `deep` they are read, too. `repair` lets the chunks
    whose files are missing or damaged be done again by the next run, and takes damaged files of the ledger
    out of it; no run may be at work. `say` is told where a run that was killed is waited for.

    >>> check(work.url, deep=True).faults
    ()
    """
    work = Work.open(location, tolerant=True)
    plan, ledger = work.plan(), work.ledger
    if not repair:
        chunks = sum(record.done for record in ledger.stages.values())
        return Checked(plain(work.url), chunks, tuple(faults_of(plan, ledger, deep)))
    with ledger.take(plan.job.heartbeat, say=say):
        chunks = sum(record.done for record in ledger.stages.values())
        faults, repaired = repair_all(ledger, work.known_plan, deep)
    return Checked(plain(work.url), chunks, faults, repaired)


@dataclass(frozen=True, repr=False)
class Work:
    """The work folder of a job: its status, its tables and volumes, and the way to stop its run."""

    url: str
    ledger: Ledger
    runs_before: int = 0
    """The runs that `wait` takes no notice of: those before the job was submitted."""

    @classmethod
    def open(cls, location: str | Path, tolerant: bool = False) -> Self:
        """The work folder at a path or URL, in which a job has run; `tolerant` passes over what is damaged of
        its ledger."""
        url = full_url(str(location))
        ledger = Ledger.load(Folder(url), tolerant=tolerant)
        if ledger.state.job is None:
            if ledger.damaged:
                raise DamagedInput(
                    f"The record of the job in {plain(url)} is lost: {' '.join(ledger.damaged)} "
                    "Run the job in another work folder, and name other places for what it makes, or delete "
                    "what it made."
                )
            raise BadInput(f"{plain(url)} is not a work folder: no job has run there yet.")
        return cls(url, ledger)

    def __repr__(self) -> str:
        return repr(self.status()) if self.ledger.refresh().job else self._not_begun

    def _repr_html_(self) -> str:
        begun = self.ledger.refresh().job
        return self.status()._repr_html_() if begun else f"<p>{html.escape(self._not_begun)}</p>"

    @property
    def _not_begun(self) -> str:
        return f"No job has run in {plain(self.url)} yet."

    @property
    def folder(self) -> Path:
        """Where the job file lies, beside which the user's own tasks are; of a job that was submitted from
        this machine its place here, as the folder that it ran from is gone."""
        ran_from = Path(str(self.ledger.state.versions.get("folder", ".")))
        if ran_from.is_dir():
            return ran_from
        lay = (Path(str(known.get("folder", ""))) for known in notes(self.url))
        return next((folder for folder in lay if folder.is_dir()), ran_from)

    def record(self) -> JobRecord:
        """The job as its last run had it, read from the ledger now."""
        record = self.ledger.refresh().job
        if record is None:
            raise BadInput(self._not_begun)
        return record

    def job(self) -> Job:
        return self.record().plan.job

    def box(self) -> Box | None:
        return self.record().plan.box

    def plan(self) -> Plan:
        """The plan as it was recorded; the user's own tasks are found where the job file lay."""
        self.record()
        return self.known_plan()

    def known_plan(self) -> Plan:
        """The same without another look at the ledger, which its writer must not take."""
        assert self.ledger.state.job is not None
        return plan_of_spec(self.ledger.state.job.plan, Modules(self.folder))

    def status(self) -> Status:
        """The status of the job's run, read from its ledger now."""
        self.record()
        return Status.of(self.ledger.state)

    def stop(self) -> bool:
        """Ask the run to begin nothing new and finish what is in flight; False where none is at work."""
        if not alive(self.ledger.refresh()):
            return False
        Folder(self.url).put(STOP, b"")
        return True

    def until_ended(self) -> Iterator[int]:
        """The number of chunks in flight, every second until the run has ended or is silent."""
        followed = Followed(self.ledger, heard=True)
        followed.look()
        while followed.goes_on:
            yield sum(record.running for record in followed.state.stages.values())
            time.sleep(POLL_SECONDS)
            followed.look()

    def wait(self, timeout: float = float("inf")) -> Status:
        """Wait until a run elsewhere has ended, at most `timeout` seconds; raises as `Job.run` does."""
        followed, until = Followed(self.ledger, heard=True), time.monotonic() + timeout
        ask = time.monotonic() + ASK_SECONDS
        followed.look()  # another run may have come since the work folder was opened
        while followed.goes_on or not self._has_begun:
            if not self._has_begun and time.monotonic() > ask:
                self._refuse_lost(followed)
                ask = time.monotonic() + ASK_SECONDS
            if time.monotonic() >= until:
                said = f"The run in {plain(self.url)} has not ended within {timeout:g} seconds."
                raise TimeoutError(said)
            time.sleep(min(POLL_SECONDS, max(until - time.monotonic(), 0)))
            followed.look()
        return self.status().complete(self.url)

    @property
    def _has_begun(self) -> bool:
        """Whether the run that is waited for has opened the work folder."""
        return len(self.ledger.state.runs) > self.runs_before

    def _refuse_lost(self, followed: Followed) -> None:
        """Raise Interrupted where the cluster has ended the submission before its run began."""
        found = from_cluster("submission")(self.url)
        followed.look()  # it may have begun and ended meanwhile
        if found is not None and found[1].has_ended and not self._has_begun:
            raise Interrupted(
                f"The job that was submitted to {found[0].address} ended ({found[1].state.lower()}) before "
                f"its run began. See: chunkflow logs {plain(self.url)}"
            )

    def replay(self, task: str, index: int) -> Replayed:
        """Run one chunk of a task again, in this process; what it makes is not written.

        Raises Incomplete where it fails, whose cause is what the task raised.
        """
        plan = self.plan()
        stage = plan.stage_index(task)
        grid = plan.stages[stage].grid
        if not 0 <= index < len(grid):
            raise BadInput(f"{task} has chunks 0 to {len(grid) - 1}, not {index}.")
        begin = time.perf_counter()
        try:
            Worker(plan, "replay", writes=False).do(stage, index)
        except Exception as error:
            said = " ".join(str(error).split())
            raise Incomplete(f"{task} chunk {index} failed: {type(error).__name__}: {said}") from error
        return Replayed(task, index, grid.box(index), time.perf_counter() - begin)

    def unread(self) -> list[str]:
        """Sentences on what pools and runner could not read of what came over the job's queue."""
        url = self.job().queue
        if not url:
            return []
        try:
            letters = dead_letters(url)
        except ChunkflowError as error:
            return [f"What could not be read of {url} cannot be listed. {error}"]
        return [f"Not read from {url}: {reason}: {body[:SHOWN_OF_LETTER]}" for reason, body in letters]

    def table(self, name: str = "objects") -> Table:
        """A table that the job reads or made, by its name there; it must be finished."""
        return Table(self.table_info(name))

    def volume(self, name: str, mip: int = 0) -> Volume:
        """An image or labels that the job reads or makes, by its name there."""
        layers = self.volumes()
        if name not in layers:
            known = ", ".join(layers) or "none"
            raise BadInput(f"The job in {plain(self.url)} has no image or labels {name}; it has {known}.")
        return Volume(layer_at(layers[name], mip))

    def volumes(self) -> dict[str, str]:
        """The URLs of all images and labels that the job reads or makes, by their names there."""
        products = self.plan().products.values()
        return {p.name: p.info.url for p in products if isinstance(p.info, VoxelsInfo)}

    def tables(self) -> dict[str, str]:
        """The URLs of all tables that the job reads or makes, by their names there."""
        products = self.plan().products.values()
        return {p.name: p.info.url for p in products if isinstance(p.info, TableInfo) and "." not in p.name}

    def table_info(self, name: str) -> TableInfo:
        """The description of a table of the job, which must be finished if the job makes it."""
        plan = self.plan()
        records = self.ledger.stages  # as they were read for the plan, just now
        product = plan.products.get((name, 0))
        if product is None or not isinstance(product.info, TableInfo):
            named = sorted(self.tables())
            said = f"has no table {name}; its tables" if name else "is meant: name one of its tables"
            raise BadInput(f"The job in {self.url} {said}: {', '.join(named) or 'none'}.")
        stages = [stage for stage in plan.stages if stage.step == product.maker]
        if not all(stage.name in records and records[stage.name].is_complete for stage in stages):
            raise Incomplete(f"The table {name} of {self.url} is not finished: run the job to its end first.")
        return product.info
