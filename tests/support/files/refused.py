"""What is said of a stack that is not brought in."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from chunkflow.jobs.ingesting import ingest_job
from tests.support.files.stack_files import SIZE


def refusal(tmp_path: Path, source: Path | str) -> str:
    """What is said to who brings the stack in, and nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput) as refused:
        ingest_job(str(source), str(tmp_path / "to" / "layer"), {"voxel_size": SIZE})
    assert sorted(tmp_path.rglob("*")) == before
    return str(refused.value)
