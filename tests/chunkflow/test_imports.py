"""The vocabulary and the tasks import no client of any storage, cluster, terminal or picture."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chunkflow.task import Task
from tasks.annotate.annotate import Annotate
from tasks.cells.classify import Classify
from tasks.cells.measure import Measure
from tasks.cells.segment import Segment
from tasks.stitch.stitch import Stitch
from tasks.volumes.ingest import Ingest

CLIENTS = {"boto3", "google.cloud", "matplotlib", "neuroglancer", "ray", "rich", "typer"}
VOCABULARY_LACKS = CLIENTS | {"botocore", "cloudfiles", "cloudvolume", "tensorstore", "torch"}


def loaded_by(module: str) -> set[str]:
    """The modules that a new interpreter has once it has imported one."""
    script = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("module", ["chunkflow.geometry", "chunkflow.roles", "chunkflow.task"])
def test_the_vocabulary_imports_no_client(module: str) -> None:
    assert loaded_by(module) & VOCABULARY_LACKS == set()


@pytest.mark.parametrize("task", [Annotate, Classify, Ingest, Measure, Segment, Stitch])
def test_a_task_imports_no_client(task: type[Task]) -> None:
    assert loaded_by(task.__module__) & CLIENTS == set()
