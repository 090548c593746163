"""A ledger of which files are damaged: an older snapshot is used, a segment is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import DamagedInput
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


def test_a_segment_that_is_no_longer_read_is_found_too(long_ledger: Folder) -> None:
    first = newest(long_ledger, "json").with_name("0000000001.json")
    flip(first)
    assert not Ledger.load(long_ledger).damaged
    assert Ledger.load(long_ledger, tolerant=True).damaged == [
        f"file://{first} is damaged: its checksum does not match."
    ]


@pytest.mark.parametrize("damage", DAMAGES[:3], ids=lambda damage: damage.__name__)
def test_an_older_snapshot_is_used_where_the_newest_is_damaged(long_ledger: Folder, damage: Damage) -> None:
    damage(newest(long_ledger, "snapshot"))
    found = Ledger.load(long_ledger)
    assert found.stages["segment"].done == 9
    assert str(newest(long_ledger, "snapshot")) in found.damaged[0]


@pytest.mark.parametrize("damage", DAMAGES[:3], ids=lambda damage: damage.__name__)
def test_a_damaged_segment_is_named_and_its_chunks_are_done_again(
    long_ledger: Folder, damage: Damage
) -> None:
    segment = newest(long_ledger, "json").with_name("0000000010.json")
    damage(segment)
    with pytest.raises(DamagedInput, match=str(segment)):
        Ledger.load(long_ledger)
    tolerant = Ledger.load(long_ledger, tolerant=True)
    assert tolerant.stages["segment"].done == 8
    assert str(segment) in tolerant.damaged[0]
    with tolerant.take() as ledger:
        ledger.mend()
    assert Ledger.load(long_ledger).stages["segment"].done == 8
    assert segment.with_name(f"{segment.name}.damaged").exists()
