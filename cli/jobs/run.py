"""The commands that run a job, or go on with one."""

from __future__ import annotations

from rich.console import Console

from chunkflow.engine.cost.prices import PACKAGED
from chunkflow.engine.planning.job import Job
from chunkflow.errors import ChunkflowError
from chunkflow.jobs.means import Means, Money
from chunkflow.jobs.run import Run
from chunkflow.jobs.work import Work
from chunkflow.people.reports.report import write_report
from chunkflow.words import parse_box, plain
from cli.jobs.interrupts import Interrupts
from cli.jobs.progress import TerminalProgress
from cli.options import (
    Address,
    BoxOption,
    Budget,
    JobFile,
    Prices,
    Restart,
    SampleOption,
    Serial,
    Settings,
    Until,
    WorkersOption,
    WorkUrl,
    Yes,
    agreed,
    parse_names,
)

STOPPING = "Stopping: what is in flight is being finished. Once more to stop at once."


def follow(run: Run, console: Console) -> None:
    """Start a run and show it to its end; write its report. Ctrl-C interrupts it."""
    progress = TerminalProgress(console)
    run.listeners.append(progress)
    try:
        run.start()
        with Interrupts(run.interrupt, lambda: console.print(STOPPING, highlight=False)):
            run.wait()
    finally:
        progress.close()
        if run.status:
            _leave_report(run.plan.work, console)
    if run.plan.box is not None:
        work = plain(run.plan.work)
        console.print(f"The part's layers are in {work}/layers", highlight=False, soft_wrap=True)


def _leave_report(work: str, console: Console) -> None:
    """Write the report; an error of that is told only, as how the run ended matters more."""
    try:
        said = f"The report is at {write_report(work)}"
    except ChunkflowError as error:
        said = f"The report could not be written: {error}"
    console.print(said, highlight=False, soft_wrap=True)


def run(
    job: JobFile,
    box: BoxOption = "",
    until: Until = "",
    workers: WorkersOption = 0,
    address: Address = "",
    serial: Serial = False,
    restart: Restart = "",
    budget: Budget = None,
    prices: Prices = None,
    sample: SampleOption = 0,
    yes: Yes = False,
    set_: Settings = None,
) -> None:
    """Run a job, or go on with one that was interrupted.

    What is done already is not done again. The exit code is 0 only when every chunk is accounted for.

    Example: chunkflow run nuclei.yaml --workers 8 --set layers.dapi=/data/rat7/dapi
    """
    means = Means(workers, address, serial, Money(prices or PACKAGED, budget, sample))
    wanted = Job.from_file(job, set_ or [], until)
    cleared = parse_names(restart)
    follow(Run.of(wanted, means, parse_box(box), cleared, lambda what: yes or agreed(what)), Console())


def retry(
    work: WorkUrl,
    workers: WorkersOption = 0,
    address: Address = "",
    serial: Serial = False,
    budget: Budget = None,
    prices: Prices = None,
) -> None:
    """Go on with a job from its work folder alone: chunks that failed get new attempts.

    Example: chunkflow retry /data/jobs/rat-cortex
    """
    known, means = Work.open(work), Means(workers, address, serial, Money(prices or PACKAGED, budget))
    follow(Run(known.plan(), means, ledger=known.ledger), Console())
