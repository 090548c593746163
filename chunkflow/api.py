"""Jobs and what they made, as a notebook has them: planned, run, submitted, opened and shown."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chunkflow.data.documents import read_document
from chunkflow.data.folder import Folder
from chunkflow.data.info import full_url
from chunkflow.engine.cost.estimate import Wanted
from chunkflow.engine.cost.job_forecast import JobForecast, forecast_job
from chunkflow.engine.cost.prices import PACKAGED, load_prices
from chunkflow.engine.cost.quote import Quote, quote
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning import job as planning
from chunkflow.engine.planning.settings import set_key, set_place
from chunkflow.engine.run.events import Listener
from chunkflow.errors import ChunkflowError
from chunkflow.geometry import Box, Vec, VoxelSize
from chunkflow.jobs import work as jobs
from chunkflow.jobs.budget import measured_plan
from chunkflow.jobs.ingesting import ingest_job
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.jobs.notebook import notebook_progress
from chunkflow.jobs.run import Run
from chunkflow.modules import Modules
from chunkflow.people.reports.report import write_report
from chunkflow.registry import from_cluster
from chunkflow.resources import Resources
from chunkflow.task import Task

if TYPE_CHECKING:
    from chunkflow.people.service.local.viewer import Viewer


class Job(planning.Job):
    """A job: layers, and the tasks to run over them.

    `layers` are paths or URLs by name, `tasks` objects, names with their parameters, or both:

    >>> job = Job(
    ...     name="rat",
    ...     work=folder / "work",
    ...     layers={"dapi": folder / "dapi", "found": folder / "found"},
    ...     tasks=[Segment(image="dapi", labels="found", diameter=9)],
    ...     chunk=(64, 64, 64),
    ... )
    >>> job.plan().tasks[0].cells
    8
    >>> work = job.run(serial=True)
    >>> work.status().ended
    'complete'
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            work: str | Path,
            tasks: Sequence[Task | Mapping[str, Any] | tuple[str, Task] | str],
            layers: Mapping[str, str | Path | Mapping[str, Any]] = ...,
            chunk: Vec | None = None,
            storage: Vec = (64, 64, 64),
            mask: str | None = None,
            memory: float = 2.0,
            resources: Mapping[str, Resources] = ...,
            queue: str = "",
            fill_missing: bool = False,
            heartbeat: float = 5.0,
        ) -> None: ...

    @classmethod
    def read(
        cls,
        file: str | Path,
        layers: Mapping[str, str | Path] | None = None,
        work: str | Path = "",
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read a job file. Paths in it count from the file, those given here from the working folder.

        `layers` and `work` say where these are for another brain; `settings` sets other keys by dotted name.

        >>> job = Job.read(folder / "job.yaml", work=folder / "w2", settings={"tasks.segment.diameter": 8})
        >>> job.tasks[0].parameters["diameter"]
        8
        """
        path = Path(file)
        document = read_document(path, "job file", "keys such as job, work, layers and tasks")
        for key, value in (settings or {}).items():
            set_key(document, key, value)
        for name, place in (layers or {}).items():
            set_place(document, name, full_url(str(place)))
        if work:
            document["work"] = full_url(str(work))
        return cls.from_document(document, path.resolve().parent)

    def plan(self, box: Box | None = None, workers: int = 0, sample: int = 0) -> JobForecast:
        """What the job would take on this machine: chunks, bytes, files, memory; nothing is written.

        `box` is a part of the volume, in voxels of mip 0. The time is told by earlier runs, or by `sample`
        chunks of each task, which are measured now.
        """
        means = Means(workers, money=Money(sample=sample))
        plan, measures = measured_plan(self, means, box)
        return forecast_job(plan, means.local_workers, measures.get(HERE))

    def quote(
        self,
        prices: str | Path = PACKAGED,
        nodes: int | None = None,
        deadline: float | None = None,
        box: Box | None = None,
        workers: int = 0,
        address: str = "",
        sample: int = 0,
    ) -> Quote:
        """What the job would take and cost on each device of the table `prices`; nothing is written.

        `nodes` is how many nodes of a device there are; or `deadline`, in seconds, chooses the cheapest pool
        in time. Devices without figures in the table are measured by earlier runs, or by `sample` chunks of
        each task on the Ray cluster at `address`. `box` and `workers` are those of `Job.plan`.

        >>> quote = Job.read(folder / "job.yaml").quote(folder / "prices.yaml", deadline=3600)
        >>> quote.pool().device, quote.pool().nodes
        ('t4', 1)
        """
        wanted = Wanted(nodes, deadline)
        means = Means(workers, address, money=Money(Path(prices), sample=sample))
        table = load_prices(means.money.prices)
        return quote(*measured_plan(self, means, box), table, wanted)

    def run(
        self,
        workers: int = 0,
        address: str = "",
        serial: bool = False,
        box: Box | None = None,
        restart: str | Sequence[str] = "",
        budget: float | None = None,
        prices: str | Path = PACKAGED,
        sample: int = 0,
        listeners: Sequence[Listener] = (),
    ) -> Work:
        """Run the job to its end, or go on with it; returns its work folder.

        It runs in `workers` processes (0: as many as cores) of this machine, on the Ray cluster at `address`,
        or `serial` in this process. `box` is a part to try first, in voxels of mip 0: it is made in a work
        folder of its own. `restart` names a task, or several, cleared first, with all after it, without being
        asked. `budget` is dollars by the table `prices`; `sample` chunks of each task are measured for it.
        `listeners` hear what happens; a notebook shows a bar besides.

        Raises Incomplete, Interrupted, Overtaken or StorageError; running again goes on from what is done.
        """
        means = Means(workers, address, serial, Money(Path(prices), budget, sample))
        return _to_end(Run.of(self, means, box, restart), listeners)


@dataclass(frozen=True, repr=False)
class Work(jobs.Work):
    """The work folder of a job: its status, its tables and volumes, and the way to go on or stop.

    >>> work = open(folder / "made")
    >>> work.volume("nuclei")[8:12, 8:12, 8].dtype
    dtype('uint64')
    >>> work.status().stages["segment"].done
    8
    """

    def job(self) -> Job:
        """The job as it was run last."""
        return Job.model_validate(super().job().model_dump()).beside(Modules(self.folder))

    def run(
        self,
        workers: int = 0,
        address: str = "",
        serial: bool = False,
        budget: float | None = None,
        prices: str | Path = PACKAGED,
        listeners: Sequence[Listener] = (),
    ) -> Work:
        """Go on with the job from its work folder alone; chunks that failed get new attempts.

        The parameters are those of `Job.run`.
        """
        means = Means(workers, address, serial, Money(Path(prices), budget))
        return _to_end(Run(self.plan(), means, ledger=Ledger.load(Folder(self.url))), listeners)

    def report(self) -> str:
        """Write the report of the job's run; returns the URL of the page."""
        return write_report(self.url)

    def view(self, port: int = 0) -> Viewer:
        """Show all layers of the job in Neuroglancer; in a notebook in a frame."""
        from chunkflow.people.service.local.viewer import view  # with it comes a web server

        return view(self, port=port)


def open(location: str | Path) -> Work:
    """The work folder at a path or URL, in which a job has run.

    >>> sorted(open(folder / "made").tables())
    ['objects']
    """
    return Work.open(location)


def submit(
    job: planning.Job,
    address: str,
    workers: int = 0,
    box: Box | None = None,
    restart: str | Sequence[str] = "",
    budget: float | None = None,
    prices: str | Path = "",
) -> Work:
    """Give a job to a Ray cluster by the address of its dashboard; it runs there without this machine.

    The parameters are those of `Job.run`. The work folder that is returned tells of the run.

    >>> work = submit(job, address, workers=1)
    >>> work.wait(timeout=300).ended
    'complete'
    """
    url = job.work_for(box)
    before = len(Ledger.load(Folder(url)).state.runs)
    table = Path(prices) if prices else None
    from_cluster("submit")(
        job, address, workers=workers, box=box, restart=restart, budget=budget, prices=table
    )
    return Work(url, Ledger.load(Folder(url)), before)


def ingest(
    source: str | Path,
    to: str | Path,
    voxel_size: VoxelSize | None = None,
    kind: str = "image",
    axes: str = "",
    channel: str = "",
    time: int | None = None,
    work: str | Path = "",
    workers: int = 0,
    address: str = "",
    serial: bool = False,
    restart: bool = False,
    listeners: Sequence[Listener] = (),
) -> Work:
    """Write a stack of a microscope or another program as a layer, or as one for each of its channels.

    `source` is a file or folder, or FILE:NAME for one of several arrays; `to` the path or URL of the layer,
    or of a folder of layers. `voxel_size` is in nanometres along x, y, z, where the source does not say it.
    `kind` is image or labels; `axes` the order of the source's axes (as in "zyx"); `channel` and `time`
    choose one. `restart` clears what an earlier run made there, as of a source that has changed. The other
    parameters are those of `Job.run`.

    >>> work = ingest(folder / "stack.npy", folder / "stack", (500, 500, 1000), axes="xyz", serial=True)
    >>> work.volume("layer").bounds.size
    (20, 30, 10)
    """
    size = "" if voxel_size is None else ",".join(str(float(length)) for length in voxel_size) + "nm"
    parameters = {"voxel_size": size, "kind": kind, "axes": axes, "channel": channel, "time": time}
    ingestion = ingest_job(str(source), str(to), parameters, str(work))
    cleared = [entry.name for entry in ingestion.job.tasks if restart]
    return _to_end(Run.of(ingestion.job, Means(workers, address, serial), restart=cleared), listeners)


def _to_end(run: Run, listeners: Sequence[Listener]) -> Work:
    """Run to the end, and leave a report; one that cannot be written is warned of."""
    with notebook_progress() as shown:
        run.listeners += [*listeners, *shown]
        run.start()
        try:
            run.wait()
        finally:
            if run.status:
                try:
                    write_report(run.plan.work)
                except ChunkflowError as error:
                    warnings.warn(f"The report could not be written: {error}", stacklevel=3)
    return Work.open(run.plan.work)
