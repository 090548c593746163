"""Tasks that fail as a test says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.errors import StorageError
from chunkflow.task import Cell, Image, Labels, Out, Result, Task


class Faulty(Task):
    """Labels what is bright; in some cells something goes wrong, until `marks` holds a file `mended`. Every
    cell waits while it holds a file `hold`, and says there whose process it is that waits."""

    image: Image
    labels: Labels = Out()
    marks: str
    faults: dict[int, str] = Field(default_factory=dict)
    pause: float = 0.0

    def map(self, cell: Cell, image: Chunk) -> Result:
        time.sleep(self.pause)
        marks = Path(self.marks)
        while (marks / "hold").exists():
            (marks / f"held-{os.getpid()}").touch()
            time.sleep(0.02)
        fault = self.faults.get(cell.index, "")
        if fault and not (marks / "mended").exists():
            tries = len(list(marks.glob(f"{cell.index}.*")))
            (marks / f"{cell.index}.{tries}").touch()
            go_wrong(fault, tries)
        return image.like((image.array >= 500).astype(np.uint64))


def go_wrong(fault: str, tries: int) -> None:
    """One fault of each kind that a map can have."""
    if fault == "raise":
        raise ValueError("this cell cannot be done")
    if fault == "memory":
        np.zeros(2**55)
    if fault == "exit":
        os._exit(7)
    if fault == "sys.exit":
        sys.exit(7)
    if fault == "hang":
        time.sleep(3600)
    if fault == "storage" or (fault == "flaky" and tries < 3):
        raise StorageError("the store does not answer")


class WrongType(Task):
    """Returns what is no label."""

    image: Image
    labels: Labels = Out()

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image.like(image.array.astype(np.float64))
