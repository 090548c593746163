"""A ledger and a chain in a folder and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger
from tests.support.ledgers import CELLS, JOB
from tests.support.servers import s3_bucket


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(chain_module, "BLOCK", 5)
    return 5


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("chains") as url:
        yield url


@pytest.fixture
def ledger(folder: Folder) -> Iterator[Ledger]:
    with Ledger.load(folder).take() as opened:
        opened.record_job(JOB, {"chunkflow": "1"}, CELLS)
        opened.flush(now=True)
        yield opened
