"""A ledger of which files are damaged: an older snapshot is used, a segment is named."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import DamagedInput, StorageError
from tests.support.files.damage import DAMAGES, Damage, flip
from tests.support.ledgers import CELLS, JOB, done


@pytest.fixture
def long_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A ledger of several snapshots, with cells done before, between and after them."""
    monkeypatch.setattr(chain_module, "BLOCK", 4)
    folder = Folder(str(tmp_path / "work"))
    with Ledger.load(folder).take() as ledger:
        ledger.record_job(JOB, {}, CELLS)
        for index in range(9):
            done(ledger, "segment", index)
            ledger.flush(now=True)
    return folder


def newest(folder: Folder, ending: str) -> Path:
    assert folder.root is not None
    return sorted((folder.root / "ledger").glob(f"*.{ending}"))[-1]


def number_of(path: Path) -> int:
    return int(path.name.partition(".")[0])


@pytest.mark.parametrize("damage", DAMAGES[:4], ids=lambda damage: damage.__name__)
def test_a_file_that_is_no_longer_read_is_found_too(long_ledger: Folder, damage: Damage) -> None:
    first = newest(long_ledger, "json").with_name("0000000001.json")
    snapshot = newest(long_ledger, "snapshot")
    backup = snapshot.with_name(f"{number_of(snapshot) - 4:010d}.snapshot")
    damage(first)
    damage(backup)
    assert not Ledger.load(long_ledger).damaged
    found = Ledger.load(long_ledger, tolerant=True).damaged
    assert len(found) == 2
    assert f"file://{first} is " in found[0]
    assert f"file://{backup} is " in found[1]


def test_a_lost_file_that_is_no_longer_read_is_found_too(long_ledger: Folder) -> None:
    snapshot = newest(long_ledger, "snapshot")
    lost = snapshot.with_name(f"{number_of(snapshot) - 1:010d}.json")
    lost.unlink()
    assert not Ledger.load(long_ledger).damaged
    assert Ledger.load(long_ledger, tolerant=True).damaged == [f"file://{lost} is missing."]


def test_the_first_of_an_old_block_may_be_lost(long_ledger: Folder) -> None:
    newest(long_ledger, "json").with_name("0000000005.json").unlink()
    assert Ledger.load(long_ledger).stages["segment"].done == 9


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_an_older_snapshot_is_used_where_the_newest_is_damaged(long_ledger: Folder, damage: Damage) -> None:
    snapshot = newest(long_ledger, "snapshot")
    damage(snapshot)
    found = Ledger.load(long_ledger)
    assert found.stages["segment"].done == 9
    assert [str(snapshot) in said for said in found.damaged] == [True] * snapshot.exists()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_segment_is_named_and_its_chunks_are_done_again(
    long_ledger: Folder, damage: Damage
) -> None:
    segment = newest(long_ledger, "json").with_name("0000000010.json")
    there = damage is not Path.unlink
    damage(segment)
    with pytest.raises(DamagedInput, match=str(segment)):
        Ledger.load(long_ledger)
    tolerant = Ledger.load(long_ledger, tolerant=True)
    assert tolerant.stages["segment"].done == 8
    assert str(segment) in tolerant.damaged[0]
    with tolerant.take() as ledger:
        ledger.mend()
        for index in range(9, 12):  # on and on, past two snapshots
            done(ledger, "segment", index)
            for _ in range(4):
                ledger.record_ended("interrupted")
                ledger.flush(now=True)
    assert Ledger.load(long_ledger).stages["segment"].done == 11
    assert segment.with_name(f"{segment.name}.damaged").exists() == there


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_whichever_segment_is_lost_the_ledger_is_mended(tmp_path: Path, damage: Damage) -> None:
    """Also that which told of the job and its stages, of which others speak."""
    folder = Folder(str(tmp_path / "work"))
    for first in (0, 6):
        with Ledger.load(folder).take() as ledger:
            ledger.record_job(JOB, {}, CELLS)
            ledger.flush(now=True)
            for index in range(first, first + 3):
                done(ledger, "segment", index)
            ledger.record_ended("complete")
    segments = sorted((tmp_path / "work" / "ledger").iterdir())
    assert len(segments) == 8
    for segment in segments[:-1]:
        damage(segment)
        tolerant = Ledger.load(folder, tolerant=True)
        assert [str(segment) in said for said in tolerant.damaged] == [True]
        with tolerant.take(lease=0) as ledger:
            ledger.mend()
            expected = {name: stage.states.tolist() for name, stage in ledger.stages.items()}
        again = Ledger.load(folder)
        assert {name: stage.states.tolist() for name, stage in again.stages.items()} == expected
        assert not again.damaged


def test_a_snapshot_that_could_not_be_made_costs_no_other(
    long_ledger: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Folder, name: str, *given: object) -> None:
        raise StorageError("no connection")

    with Ledger.load(long_ledger).take() as ledger:
        for failing in (True, False):
            with monkeypatch.context() as patch, suppress(StorageError):
                if failing:
                    patch.setattr(Folder, "put", fail)
                for _ in range(4):
                    ledger.record_ended("interrupted")
                    ledger.flush(now=True)
    flip(newest(long_ledger, "snapshot"))
    assert Ledger.load(long_ledger).stages["segment"].done == 9
