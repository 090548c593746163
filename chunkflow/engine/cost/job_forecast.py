"""Forecast of a job by task, as data, as plain text and as a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from chunkflow.engine.cost.measures import Measures
from chunkflow.engine.cost.throughput import throughputs
from chunkflow.engine.planning.forecast import StepForecast, forecast, worker_memory
from chunkflow.engine.planning.plan import Plan
from chunkflow.geometry import Vec
from chunkflow.words import html_table, in_words, text_table

SIZES = ("chunks", "reads", "writes", "files", "requests", "memory a worker")
TIMES = ("s a chunk", "time")


@dataclass(frozen=True, repr=False)
class JobForecast:
    """Chunks, bytes, files and memory that a job takes, and the time where it was measured."""

    chunk: Vec
    """Voxels along x, y, z."""
    workers: int
    memory: int
    """Bytes that one worker takes at most."""
    tasks: tuple[StepForecast, ...]
    seconds: Mapping[str, float]
    """Seconds a chunk on this machine, of the tasks that were measured."""
    throughputs: Mapping[str, float]
    """Thousands of voxels a second of a node like this machine, by task."""
    speeds: Mapping[str, list[str]]
    """What tasks measured of themselves on this machine, a line each."""

    @property
    def total_seconds(self) -> float | None:
        """Seconds to the end with all workers, of the tasks that were measured; None where none was."""
        if not self.seconds:
            return None
        return sum(self.seconds.get(task.name, 0.0) * task.cells for task in self.tasks) / self.workers

    @property
    def unmeasured(self) -> list[str]:
        """The tasks whose time is not known."""
        return [task.name for task in self.tasks if task.name not in self.seconds]

    @property
    def head(self) -> tuple[str, ...]:
        """The columns of the table."""
        return ("task", *SIZES, *(TIMES if self.seconds else ()))

    def rows(self) -> list[tuple[str, ...]]:
        """The table as texts, a row for each task."""
        return [self._row(task) for task in self.tasks]

    def _row(self, task: StepForecast) -> tuple[str, ...]:
        each = self.seconds.get(task.name)
        unknown = ("",) * len(TIMES) if self.seconds else ()
        return (
            task.name,
            f"{task.cells:,}",
            f"{task.bytes_in / 1e9:,.2f} GB",
            f"{task.bytes_out / 1e9:,.2f} GB",
            f"{task.files:,}",
            f"{task.requests:,}",
            _gibibytes(task.memory, task.most_memory),
            *((f"{each:.2f}", in_words(each * task.cells / self.workers)) if each else unknown),
        )

    @property
    def summary(self) -> str:
        """The size of the chunks, the number of workers and their memory in a sentence."""
        memory = self.memory / 2**30
        return (
            f"Chunks of {list(self.chunk)} voxels; {self.workers} workers of at most {memory:.2f} GiB each."
        )

    def remarks(self) -> list[str]:
        """Sentences on tasks that read much more than they make, and on the time in all."""
        said = [
            f"{task.name} reads {task.read_factor:.1f} voxels for each of its chunks' own; larger chunks "
            "(by more `memory` a worker in the job) read fewer."
            for task in self.tasks
            if task.read_factor > 2
        ]
        said += [f"{task.name}: {text}" for task in self.tasks for text in task.remarks]
        said += [f"{name}, {text}." for name, lines in self.speeds.items() for text in lines]
        if self.total_seconds is not None:
            rest = ", ".join(self.unmeasured)
            without = f", without {rest}, which read what is not made yet" if rest else ""
            said.append(f"About {in_words(self.total_seconds)} in all{without}.")
        return said

    def __repr__(self) -> str:
        return "\n".join([self.summary, text_table(self.head, self.rows()), *self.remarks()])

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self.remarks())
        return f"<p>{html.escape(self.summary)}</p>{html_table(self.head, self.rows())}{said}"


def forecast_job(plan: Plan, workers: int, measures: Measures | None = None) -> JobForecast:
    """Forecast a plan with so many workers on this machine; `measures` are of chunks that were tried here.

    forecast = forecast_job(open_plan(job), workers=8)
    print(forecast.total_seconds, [task.files for task in forecast.tasks])
    """
    found = measures or {}
    return JobForecast(
        plan.chunk,
        workers,
        worker_memory(plan),
        tuple(forecast(plan)),
        {name: one.mean for name, one in found.items()},
        throughputs(plan, found, lambda _: workers),
        {name: one.speeds for name, one in found.items()},
    )


def _gibibytes(usual: int, most: int) -> str:
    """The usual amount, and the largest where that differs."""
    said = f"{usual / 2**30:,.2f} GiB"
    return said if most < 1.05 * usual else f"{usual / 2**30:,.2f} to {most / 2**30:,.2f} GiB"
