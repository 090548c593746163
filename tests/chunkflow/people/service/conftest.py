"""A layer of a few files, plain and packed, and a server for it; the service of a lab."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkflow.people.service.local.server import LocalServer
from tests.support.people.lab import Lab, lab_service
from tests.support.people.service import CONTENT, folder_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    (layer / "sub").mkdir(parents=True)
    (layer / "info").write_text("{}")
    (layer / "sub" / "plain").write_bytes(CONTENT)
    (layer / "sub" / "packed.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "layer-two").mkdir()
    (tmp_path / "layer-two" / "secret").write_text("secret")
    return layer


@pytest.fixture
def server(folder: Path) -> Iterator[LocalServer]:
    with folder_server({"a b": str(folder)}).start() as server:
        yield server


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_service(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
