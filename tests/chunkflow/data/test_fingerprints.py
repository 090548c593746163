"""Fingerprints of files: of their content and nothing else, at a cost that does not grow with them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.data import fingerprints
from chunkflow.data.fingerprints import BLOCK, fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files, one of them deeper."""
    (tmp_path / "planes" / "more").mkdir(parents=True)
    for n in range(6):
        (tmp_path / "planes" / f"p{n}.tif").write_bytes(bytes([n]) * (500 + n))
    (tmp_path / "planes" / "more" / "p.tif").write_bytes(b"more")
    return tmp_path / "planes"


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as large files: what is more than 2 MiB is sampled."""
    monkeypatch.setattr(fingerprints, "WHOLE", 2**21)


@given(data=st.binary(min_size=1, max_size=200), at=st.integers(0, 199), other=st.integers(1, 255))
@settings(max_examples=50, deadline=None)
def test_any_byte_of_a_small_file_counts(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, other: int
) -> None:
    path = tmp_path_factory.mktemp("small") / "model"
    path.write_bytes(data)
    before = fingerprint([path])
    assert before == hashlib.sha256(data).hexdigest()
    changed = bytearray(data)
    changed[at % len(data)] ^= other
    path.write_bytes(changed)
    assert fingerprint([path]) != before
    path.write_bytes(data)
    assert fingerprint([path]) == before


def test_neither_times_nor_the_place_of_a_copy_count(folder: Path, tmp_path: Path) -> None:
    before = fingerprint([folder]), fingerprint([folder / "p1.tif"]), fingerprint(folder.glob("*.tif"))
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    (folder / ".DS_Store").write_bytes(b"of a file browser")
    copied = tmp_path / "elsewhere" / "planes"
    shutil.copytree(folder, copied)
    for place in (folder, copied):
        found = fingerprint([place]), fingerprint([place / "p1.tif"]), fingerprint(place.glob("*.tif"))
        assert found == before


def test_the_order_in_which_files_are_listed_does_not_count(folder: Path) -> None:
    files = sorted(folder.glob("*.tif"))
    assert fingerprint(files) == fingerprint(reversed(files)) == fingerprint([*files, files[0]])


@pytest.mark.parametrize("change", ["rename", "grow", "byte", "new", "gone", "swap", "deeper"])
def test_names_sizes_and_bytes_in_a_folder_count(folder: Path, change: str) -> None:
    before, file = fingerprint([folder]), folder / "p2.tif"
    data = file.read_bytes()
    match change:
        case "rename":
            file.rename(folder / "p7.tif")
        case "grow":
            file.write_bytes(data + b"x")
        case "byte":
            file.write_bytes(data[:99] + b"x" + data[100:])
        case "new":
            (folder / "p6.tif").write_bytes(data)
        case "gone":
            file.unlink()
        case "swap":
            file.write_bytes((folder / "p3.tif").read_bytes())
            (folder / "p3.tif").write_bytes(data)
        case "deeper":
            (folder / "more" / "p.tif").write_bytes(b"less")
    assert fingerprint([folder]) not in ("", before)


@pytest.mark.parametrize("place", [0, 3 * 2**22 // 2, 3 * 2**22 - 1])
def test_the_first_last_and_middle_blocks_of_a_large_file_count(
    tmp_path: Path, small_bounds: None, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(fingerprints, "MOST", 5)
    path = tmp_path / "large.czi"
    data = bytearray(3 * 2**22)
    path.write_bytes(data)
    before = fingerprint([path])
    data[place] = 1
    path.write_bytes(data)
    assert fingerprint([path]) != before
    data[place] = 0
    path.write_bytes(data + b"\0")
    assert fingerprint([path]) != before, "its size counts"
    path.write_bytes(data)
    assert fingerprint([path]) == before


def test_no_more_than_some_blocks_of_large_sources_are_read(
    tmp_path: Path, small_bounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "SAMPLED", 4)
    for n in range(9):
        with (tmp_path / f"{n}.raw").open("wb") as file:
            file.truncate(2**28)  # which takes no room on the disk
    read: list[int] = []
    blocks = fingerprints._blocks

    def counted(path: str, count: int) -> list[bytes]:
        found = list(blocks(path, count))
        read.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(fingerprints, "_blocks", counted)
    assert fingerprint([tmp_path]).startswith("files:")
    assert read == [fingerprints.MOST * BLOCK] * 4


def test_what_is_missing_has_no_fingerprint(folder: Path) -> None:
    assert fingerprint([]) == fingerprint([folder / "p9.tif"]) == fingerprint([folder / "nothing"]) == ""
    assert fingerprint([folder / "p1.tif", folder / "p9.tif"]) == ""
