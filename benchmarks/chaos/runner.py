"""Process that runs a job, to be stopped, continued and killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Self

import cloudfiles.interfaces

import chunkflow.engine.ledger.chain
import chunkflow.engine.ledger.ledger
import tasks.cells.measure
import tasks.cells.segment  # noqa: F401  loaded once, for all forks
from chunkflow.engine.planning.job import Job
from chunkflow.errors import ChunkflowError
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run

BLOCK, PACE = 4, 0.05


class Runner:
    """A process that runs a job in itself; it is ended with the `with` block."""

    def __init__(
        self, forks: ForkServerContext, job: Mapping[str, Any], restart: str, environment: Mapping[str, str]
    ) -> None:
        self._told, sender = forks.Pipe(duplex=False)
        self._process = forks.Process(target=_work, args=(job, restart, environment, sender), daemon=True)
        self._process.start()
        sender.close()

    def stop(self) -> None:
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    @property
    def has_ended(self) -> bool:
        return not self._process.is_alive()

    def wait(self, seconds: float) -> tuple[str, str]:
        """How it ended, `complete` or the name of an error, and what was said."""
        if not self._told.poll(seconds):
            return "nothing", f"after {seconds:.0f} s it is still at work"
        try:
            ended, said = self._told.recv()
        except EOFError:
            return "nothing", "it ended without a word"
        self._process.join(seconds)
        return str(ended), str(said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self.kill()
        self._process.join()
        self._told.close()

    def _send(self, number: signal.Signals) -> None:
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, number)


@contextmanager
def short_blocks() -> Iterator[None]:
    """Let the ledger of a small job have the segments and snapshots of a long one."""
    chain, ledger = chunkflow.engine.ledger.chain, chunkflow.engine.ledger.ledger
    before = chain.BLOCK, ledger.PACE
    chain.BLOCK, ledger.PACE = BLOCK, PACE
    try:
        yield
    finally:
        chain.BLOCK, ledger.PACE = before


def _work(job: Mapping[str, Any], restart: str, environment: Mapping[str, str], told: Connection) -> None:
    os.environ |= environment
    cloudfiles.interfaces.reset_connection_pools()
    with short_blocks():
        try:
            run = Run.of(Job.from_document(dict(job), Path("/")), Means(serial=True), restart=restart)
            run.start()
            told.send((run.wait(), ""))
        except ChunkflowError as error:
            told.send((type(error).__name__, str(error)))
