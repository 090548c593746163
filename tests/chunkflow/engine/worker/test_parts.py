"""Parts written and read again, and rows of many streams merged in the order of their ids."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.data.checksums import unseal
from chunkflow.data.folder import Folder
from chunkflow.engine.worker.parts import Parts, by_whole_keys, in_order, merged_streams
from chunkflow.engine.worker.reducer import in_key_order, outer_faces
from chunkflow.errors import DamagedInput
from chunkflow.geometry import Box


def rows(ids: list[int], note: str = "") -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.uint64()), "note": pa.array([note] * len(ids), pa.string())})


streams = st.lists(
    st.tuples(st.sets(st.integers(0, 40), max_size=20), st.lists(st.integers(0, 20), max_size=4)),
    min_size=1,
    max_size=5,
)


def cut(ids: set[int], places: list[int]) -> list[list[int]]:
    """Sorted ids in pieces, some of them empty."""
    ordered, edges = sorted(ids), [0, *sorted(min(p, len(ids)) for p in places), len(ids)]
    return [ordered[a:b] for a, b in pairwise(edges)]


@given(streams)
def test_all_rows_come_once_in_order_and_no_id_is_in_two_pieces(
    given: list[tuple[set[int], list[int]]],
) -> None:
    pieces = list(merged_streams([iter([rows(p, str(i)) for p in cut(*s)]) for i, s in enumerate(given)]))
    found = [(row["id"], row["note"]) for piece in pieces for row in piece.to_pylist()]
    assert sorted(found) == sorted((n, str(i)) for i, (ids, _) in enumerate(given) for n in ids)
    assert [n for n, _ in found] == sorted(n for n, _ in found)
    seen = [set(piece["id"].to_pylist()) for piece in pieces]
    assert sum(map(len, seen)) == len(set().union(*seen)), "an id lies in two pieces"


def test_ids_beyond_63_bits_keep_their_order() -> None:
    ids = [1, 2**63 - 1, 2**63, 2**64 - 1]
    (first, *others) = merged_streams([iter([rows(ids)]), iter([rows([2**63 + 5])])])
    assert not others
    assert first["id"].to_pylist() == sorted([*ids, 2**63 + 5])


def test_columns_that_only_some_have() -> None:
    bare = pa.table({"id": pa.array([], pa.uint64())})
    (merged,) = merged_streams([iter([bare]), iter([rows([3, 4], "n")])])
    assert merged.to_pylist() == [{"id": 3, "note": "n"}, {"id": 4, "note": "n"}]


def test_a_part_in_pieces(tmp_path: Path) -> None:
    parts = Parts(Folder(str(tmp_path)))
    table = rows(list(range(10)))
    size = parts.put("count", 12_345, in_order([table], 4), {"meshes": ["a", "b"]})
    files = {str(f.relative_to(tmp_path)): f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()}
    ((own, beside),) = parts.written("count", [3, 12_345])
    assert (set(own), beside) == (set(files), {"meshes": ["a", "b"]})
    assert sum(files.values()) == size
    assert [len(piece) for piece in parts.rows("count", 12_345)] == [4, 4, 2]
    assert pa.concat_tables(parts.rows("count", 12_345)).equals(table)


def test_a_part_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    parts = Parts(Folder(str(tmp_path)))
    parts.put("count", 0, in_order([rows([])]))
    (piece,) = parts.rows("count", 0)
    assert piece.column_names == ["id", "note"]


def test_what_a_cell_sent_is_known_without_reading_its_rows(tmp_path: Path) -> None:
    """Every cell that gathers reads the heads of all senders, many together."""
    parts = Parts(Folder(str(tmp_path)))
    table = rows(list(range(10)))
    size = parts.put("count", 0, in_order([table], 4), sent=[(7, rows([20]))])
    parts.put("count", 1, in_order([rows([])]), sent=[])
    for index in (0, 1):
        data = unseal((tmp_path / f"parts/count/0000/{index}.arrow").read_bytes(), "part")
        assert len(pa.ipc.open_file(data).read_all()) == 0
    files = {str(f.relative_to(tmp_path)): f.stat().st_size for f in tmp_path.rglob("*0*.arrow")}
    ((own, _), (alone, _)) = parts.written("count", [0, 1])
    assert (set(own), sum(files.values())) == (set(files), size)
    assert alone == ["parts/count/0000/1.arrow"]
    assert pa.concat_tables(parts.rows("count", 0)).equals(table)
    assert pa.concat_tables(parts.rows("count", 1)).equals(table.slice(0, 0))
    assert parts.gathered("count", 2, 7).equals(rows([20]))


@given(st.lists(st.tuples(st.sampled_from([1, 2, 2**64 - 1, None]), st.sampled_from(["a", "b"]))), st.data())
def test_rows_of_one_key_are_in_one_piece(keys: list[tuple[int | None, str]], data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, 8))
    types = pa.schema({"one": pa.uint64(), "two": pa.string()})
    named = [{"one": one, "two": two} for one, two in keys]
    table = in_key_order(pa.Table.from_pylist(named, types), ("one", "two"))
    with mock.patch("chunkflow.engine.worker.parts.BATCH", batch):
        pieces = list(by_whole_keys(table, ("one", "two")))
    assert pa.concat_tables(pieces).equals(table)
    found = [{tuple(row.values()) for row in piece.to_pylist()} for piece in pieces]
    assert sum(map(len, found)) == len(set(keys)), "a key lies in two pieces"
    assert all(len(piece) <= batch or len(inside) == 1 for piece, inside in zip(pieces, found, strict=True))
    assert all(len(a) + len(b) > batch for a, b in pairwise(pieces)), "pieces are filled"
    assert pieces, "there is a piece, if of no rows"


def test_a_part_that_is_missing_or_cut_is_never_a_silent_gap(tmp_path: Path) -> None:
    parts = Parts(Folder(str(tmp_path)))
    with pytest.raises(DamagedInput, match="missing"):
        list(parts.rows("count", 3))
    assert list(parts.written("count", [3])) == []
    parts.put("count", 3, in_order([rows(list(range(10)))], 4))
    second = tmp_path / next(parts.written("count", [3]))[0][1]
    data = second.read_bytes()
    second.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedInput, match="damaged"):
        list(parts.rows("count", 3))
    second.unlink()
    with pytest.raises(DamagedInput, match="missing"):
        list(parts.rows("count", 3))


def test_values_that_were_decided(tmp_path: Path) -> None:
    parts = Parts(Folder(str(tmp_path)))
    with pytest.raises(DamagedInput, match="what was decided is not known"):
        parts.values("segment.prepare")
    parts.put_values("segment.prepare", {"threshold": 0.1, "levels": [1, 2]})
    assert parts.values("segment.prepare") == {"threshold": 0.1, "levels": [1, 2]}


def test_outer_faces() -> None:
    block = Box((0, 0, 0), (8, 8, 8))
    assert outer_faces(block, block) == 0b111111
    assert outer_faces(Box((0, 0, 0), (4, 4, 4)), block) == 0b010101
    assert outer_faces(Box((4, 4, 0), (8, 8, 8)), block) == 0b111010
    assert outer_faces(Box((2, 2, 2), (4, 4, 4)), block) == 0
    assert np.uint8(outer_faces(Box((4, 2, 2), (8, 4, 4)), block)) == 0b000010
