"""The first bytes of a model file: pickles are refused, and nothing that only begins like one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from chunkflow.networks.loading import open_model
from chunkflow.networks.model_file import KEY
from tests.support.files.networks import document_of


@pytest.mark.parametrize("length", [0x0E80, 0x4B50])
def test_a_header_may_be_as_long_as_the_first_bytes_of_a_pickle_say(tmp_path: Path, length: int) -> None:
    header = json.dumps({"__metadata__": {KEY: document_of().model_dump_json(exclude_none=True)}}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length))
    assert open_model(path).document == document_of()


@pytest.mark.parametrize("head", [b"\x80\x02}q\x00", b"\x80\x05\x95" + bytes(8), b"PK\x03\x04" + bytes(12)])
def test_a_pickle_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(head)
    with pytest.raises(BadInput, match="pickle"):
        open_model(path)
