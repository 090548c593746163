"""The database of a review: killed writers, and places that cannot hold one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chunkflow.errors import BadInput, StorageError
from chunkflow.people import database
from chunkflow.people.database import Database, file_system
from chunkflow.people.review.log.edits import Refused
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.review_log import ReviewLog

NAN = float("nan")
APPENDING = """
import sys
from chunkflow.people.review.log.review_log import ReviewLog
from chunkflow.people.review.log.proposed import ProposedEdit
log = ReviewLog.open(sys.argv[1])
table = log.table("w", "cells", "1")
for n in range(100_000):
    key = f"{sys.argv[2]}-{n}"
    log.append(table, "ann", ProposedEdit.parse(
        {"key": key, "operation": "reject", "object": str(int(sys.argv[2]) * 1_000_000 + n + 1)}))
    print(key, flush=True)
"""


def test_what_was_acknowledged_outlasts_a_kill(tmp_path: Path) -> None:
    place = str(tmp_path / "review.sqlite")
    ReviewLog.open(place).close()
    command = [sys.executable, "-c", APPENDING, place]
    writers = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for n in range(3)
    ]
    acknowledged: list[str] = []
    for writer in writers:
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(30)]
    for writer in writers:
        writer.kill()
        acknowledged += writer.communicate()[0].split()
    log = ReviewLog.open(place)
    keys = [edit.key for edit in log.edits(log.table("w", "cells", "1"))]
    assert len(keys) == len(set(keys))
    assert set(filter(None, acknowledged)) <= set(keys)
    assert log.check() == []
    log.close()


def test_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "review.sqlite"
    monkeypatch.setattr(database, "VERSION", 2)
    Database.open(place).close()
    monkeypatch.undo()
    with pytest.raises(BadInput, match=r"was written by a later chunkflow \(its format is 2"):
        Database.open(place)


def test_places_that_hold_no_database_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but some text that is long enough" * 9)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE places (id INTEGER)")
    before = (tmp_path / "other.sqlite").read_bytes()
    for place, said in (
        (tmp_path / "other.sqlite", "is a database of another program"),
        (tmp_path, "is a folder: give the path of a file in it"),
        (tmp_path / "text", "is no database of chunkflow, or it is damaged"),
        (tmp_path / "no" / "review.sqlite", "There is no folder"),
        ("mysql://lab@host/reviews", "is no database: give the path of a file, or postgresql://"),
        ("postgresql://", "lacks a user, a host or a name"),
        ("postgresql://lab:secret@127.0.0.1:1/reviews", "did not do as asked"),
    ):
        with pytest.raises((BadInput, StorageError), match=said) as refused:
            Database.open(place)
        assert "secret" not in str(refused.value)
    assert (tmp_path / "other.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named() -> None:
    """Nobody can make a file in /proc, not even root."""
    with pytest.raises(BadInput, match=r"/proc/review\.sqlite cannot be written"):
        Database.open("/proc/review.sqlite")


@pytest.mark.parametrize(("kind", "name"), [("nfs4", "a b"), ("lustre", "Großhirn"), ("fuse.sshfs", "a\\b")])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    mounts = tmp_path / "mountinfo"
    at = str(tmp_path / name).replace("\\", "\\134").replace(" ", "\\040")
    (tmp_path / name).mkdir()
    mounts.write_text(
        "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda rw\n"
        f"30 22 0:30 / {at} rw - {kind} server:/export rw\n"
    )
    assert file_system(tmp_path, mounts) == "ext4"
    with pytest.raises(BadInput, match=rf"network file system \({kind}\).*postgresql://"):
        Database.open(tmp_path / name / "review.sqlite", mounts)
    assert list((tmp_path / name).iterdir()) == []


def test_a_database_that_is_held_is_said_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    place = tmp_path / "review.sqlite"
    log = ReviewLog.open(str(place))
    table = log.table("w", "cells", "1")
    edit = ProposedEdit.parse({"key": "a", "operation": "reject", "object": "7"})
    holder = sqlite3.connect(place, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="is locked by another process: try again"):
        log.append(table, "ann", edit)
    holder.execute("ROLLBACK")
    holder.close()
    assert log.append(table, "ann", edit).seq == 1
    with pytest.raises(Refused):
        log.append(table, "bo", edit)
    log.close()
    with pytest.raises(StorageError, match="is closed"):
        log.append(table, "ann", edit)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"operation": "accept", "object": "0", "class": ""}, "2\\^64"),
        ({"operation": "accept", "object": str(2**64), "class": ""}, "2\\^64"),
        ({"operation": "accept", "object": "1"}, "accept needs class"),
        ({"operation": "reject", "object": "1", "note": "x"}, "reject takes no note"),
        ({"operation": "explode", "object": "1"}, "operation"),
        ({"operation": "reject", "object": "1", "more": 1}, "more"),
        ({"operation": "note", "object": "1", "note": "x" * 2**20}, "10000"),
        ({"operation": "note", "object": "1", "note": "\x00"}, "control characters"),
        ({"operation": "class", "object": "1", "class": ""}, "not empty"),
        ({"operation": "class", "object": "1", "class": "a" * 201}, "200"),
        ({"operation": "move", "object": "1", "shape": {"kind": "point", "points": []}}, "must have 1 point"),
        (
            {
                "operation": "move",
                "object": "1",
                "shape": {"kind": "point", "points": [[0, 0, NAN]]},
            },
            "finite",
        ),
        (
            {"operation": "move", "object": "1", "shape": {"kind": "polygon", "points": [[0, 0, 0]] * 2}},
            "at least 3",
        ),
    ],
)
def test_what_is_no_edit_is_refused_in_a_sentence(document: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        ProposedEdit.parse({"key": "a", **document})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
