"""Files that were edited, brought back into the log: as a difference to what was exported, and only once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from tests.support.people.reviews import decide

CHANGES = st.lists(
    st.tuples(
        st.integers(0, 39),
        st.sampled_from(("class", "accepted", "rejected", "deleted", "note", "move", "both")),
        st.sampled_from(("glia", "neuron", "dust", 'a, "b"')),
        st.integers(1, 9),
    ),
    max_size=12,
)
SHOWN = ("id", "x", "y", "z", "x_um", "class", "status", "note")
ENDINGS = ("csv", "json", "parquet", "h5")


def exported(reviewed_work: str, to: Path, database: str, **options: Any) -> pa.Table:
    """What an export has, as a table."""
    cf.export_review(reviewed_work, to.with_suffix(".parquet"), database=database, overwrite=True, **options)
    return pq.read_table(to.with_suffix(".parquet"))


def write(rows: list[dict[str, Any]], schema: pa.Schema, to: Path) -> Path:
    """Rows as any program would leave them in a file of this ending."""
    table = pa.Table.from_pylist(rows, schema)
    match to.suffix:
        case ".csv":
            pyarrow.csv.write_csv(table, to)
        case ".json":
            to.write_text(json.dumps(rows))
        case ".parquet":
            pq.write_table(table, to)
        case ".h5":
            with h5py.File(to, "w") as file:
                for name in table.column_names:
                    values = table[name].to_pylist()
                    file[name] = (
                        [v or "" for v in values] if pa.types.is_string(schema.field(name).type) else values
                    )
    return to


def shown(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What is compared of rows."""
    said = [
        tuple(row[name] or "" if name in ("class", "note") else row[name] for name in SHOWN) for row in rows
    ]
    return sorted(said)


def change(row: dict[str, Any], kind: str, word: str, number: int, size: float) -> None:
    """Change a row by hand as people do, and have it say what follows."""
    match kind:
        case "class":
            row |= {"class": word, "status": "accepted"}
        case "both":
            row |= {"class": word, "status": "rejected"}
        case "note":
            row["note"] = f"{word}\n{number}"
        case "move":
            row["x"] += number / 4 if row["x"] < 64 else -number / 4
            row["x_um"] = row["x"] * size
        case _:
            row["status"] = kind


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_changed_file_is_what_is_exported_again(
    reviewed_work: str, ending: str, tmp_path: Path, new_place: Callable[[], str]
) -> None:
    size = ReviewPlace.find(reviewed_work).info.voxel_size[0] / 1000

    @settings(
        max_examples=2 if "://" in new_place() else 5,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(first=CHANGES, second=CHANGES)
    @example(first=[(0, "rejected", "", 1)], second=[(0, "both", "glia", 1)])
    def whatever_is_changed(first: list[Any], second: list[Any]) -> None:
        database = new_place()
        open_log(database).close()
        for number, changes in enumerate((first, second)):
            table = exported(reviewed_work, tmp_path / "before", database)
            rows = table.to_pylist()
            for at, *changed in changes:
                change(rows[at % len(rows)], *changed, size)
            file = write(rows, table.schema, tmp_path / f"changed{number}.{ending}")
            made = cf.import_review(reviewed_work, file, database=database, person="ann")
            assert made.conflicts == ()
            after = exported(reviewed_work, tmp_path / "after", database)
            assert shown(after.to_pylist()) == shown([row for row in rows if row["status"] != "deleted"])
            log = open_log(database)
            last = log.last()
            again = cf.import_review(reviewed_work, file, database=database, person="bo")
            assert (again.counts["unchanged"], again.conflicts, log.last()) == (len(rows), (), last)
            assert log.check() == []
            log.close()

    whatever_is_changed()


def test_rows_without_an_id_are_added(reviewed_work: str, database: str, tmp_path: Path) -> None:
    open_log(database).close()
    table = exported(reviewed_work, tmp_path / "before", database)
    new = {**dict.fromkeys(table.column_names), "x": 3.5, "y": 4.5, "z": 5.5, "class": "dust", "note": "new"}
    own = {**new, "id": 2**63 + 5, "x": 9.5, "status": "added", "note": None}
    gone = {**new, "x": 20.5, "status": "rejected", "note": None, "class": None}
    file = write([*table.to_pylist()[:3], new, own, gone], table.schema, tmp_path / "new.csv")
    trial = cf.import_review(reviewed_work, file, database=database, dry_run=True)
    assert (trial.written, trial.counts["added"]) == (False, 3)
    made = cf.import_review(reviewed_work, file, database=database)
    assert (
        made.counts
        == trial.counts
        == {**dict.fromkeys(made.counts, 0), "added": 3, "rejected": 1, "notes": 1, "unchanged": 3}
    )
    added = exported(reviewed_work, tmp_path / "after", database).to_pylist()[-3:]
    said = sorted((row["x"], row["class"], row["status"], row["note"]) for row in added)
    assert said == [
        (3.5, "dust", "added", "new"),
        (9.5, "dust", "added", None),
        (20.5, None, "rejected", None),
    ]
    assert 2**63 + 5 in [row["id"] for row in added]
    for row in added:
        decide(
            reviewed_work,
            {"operation": "class", "object": str(row["id"]), "class": "glia"},
            person="bo",
            database=database,
        )
    again = cf.import_review(reviewed_work, file, database=database)
    assert again.counts == {**dict.fromkeys(made.counts, 0), "unchanged": 6}


def test_what_was_edited_since_is_a_conflict(
    reviewed_work: str, ids: list[int], database: str, tmp_path: Path
) -> None:
    open_log(database).close()
    table = exported(reviewed_work, tmp_path / "before", database)
    rows = table.to_pylist()
    of_id = {row["id"]: row for row in rows}
    for id in ids[:4]:
        of_id[id]["status"] = "rejected"
    file = write(rows, table.schema, tmp_path / "edited.csv")
    decide(
        reviewed_work,
        {"operation": "class", "object": str(ids[0]), "class": "glia"},
        person="bo",
        database=database,
    )
    decide(reviewed_work, {"operation": "reject", "object": str(ids[1])}, person="bo", database=database)
    decide(reviewed_work, {"operation": "delete", "object": str(ids[2])}, person="bo", database=database)
    made = cf.import_review(reviewed_work, file, database=database, person="ann")
    assert made.conflicts == (
        f"Object {ids[0]} (reject) was changed since by bo (class, edit 1).",
        f"Object {ids[2]} (reject) was changed since by bo (delete, edit 3).",
    )
    assert made.counts["rejected"] == 1
    assert (made.counts["unchanged"], made.counts["conflicts"]) == (len(rows) - 3, 2)
    log = open_log(database)
    states = {id: held.state for id, held in log.current(1).items()}
    assert (states[ids[0]].of_class, states[ids[2]].deleted) == ("glia", True)
    assert log.edits(1)[-1].key.startswith("import-")
    log.close()


BAD = [
    ({"id": 12345}, "line 2: the table has no object 12345; leave the id of a new point empty"),
    ({"status": "maybe"}, "line 2: the status is 'maybe'; it must be one of undecided, accepted"),
    ({"x": float("nan")}, "line 2: x has no number"),
    ({"x": 5000.0}, "1 of [0-9]+ points lie outside of the volume"),
    ({"edit": 99}, "has no edit 99: the file was exported from another log"),
    ({"class": "a\x01"}, "the class 'a.*' has more than 200 characters, or some that cannot be printed"),
    ({"id": 0, "status": "deleted", "x": 1.0}, "its status is deleted, but it names no object"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD)
def test_what_is_wrong_is_said_before_anything_is_written(
    reviewed_work: str, database: str, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    open_log(database).close()
    table = exported(reviewed_work, tmp_path / "before", database)
    rows = table.to_pylist()
    rows[0] |= wrong
    rows[1]["status"] = "rejected"
    with pytest.raises(BadInput, match=said):
        cf.import_review(reviewed_work, write(rows, table.schema, tmp_path / "wrong.csv"), database=database)
    log = open_log(database)
    assert log.last() == 0
    log.close()


def test_a_file_of_another_table_is_refused(reviewed_work: str, database: str, tmp_path: Path) -> None:
    open_log(database).close()
    table = exported(reviewed_work, tmp_path / "before", database)
    rows = [{**row, "id": row["id"] + 2**40} for row in table.to_pylist()]
    file = write(rows, table.schema, tmp_path / "other.csv")
    with pytest.raises(BadInput, match="has ids, but none of an object of the table"):
        cf.import_review(reviewed_work, file, database=database)
    file.write_text("x,y,z\n" + "\n".join(f"{n},1,1" for n in range(3)))
    cellfinder = tmp_path / "few.xml"
    cf.export(
        cf.open(reviewed_work).table("classified"),
        cellfinder,
        form="cellfinder",
        columns=["id", "x", "y", "z"],
    )
    lines = cellfinder.read_text().splitlines()
    cellfinder.write_text("\n".join(lines[:20] + lines[-3:]))
    with pytest.raises(BadInput, match="as a file of drawn points would delete all others"):
        cf.import_review(reviewed_work, cellfinder, database=database)
    with pytest.raises(BadInput, match="There is no edit 5: the last one is 0"):
        cf.import_review(reviewed_work, cellfinder, database=database, edit=5)
    trial = cf.import_review(reviewed_work, file, database=tmp_path / "none.sqlite", dry_run=True)
    assert trial.counts["added"] == 3
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize("kind", ["line", "box", "ellipsoid", "polygon"])
def test_a_drawn_shape_is_exported_at_its_middle_and_moved_as_a_whole(
    reviewed_work: str, database: str, tmp_path: Path, kind: str
) -> None:
    points = {"polygon": [[10, 10, 8], [20, 10, 8], [15, 25, 8]], "ellipsoid": [[15, 15, 8], [5, 6, 2]]}
    shape = {"kind": kind, "points": points.get(kind, [[10, 10, 8], [20, 20, 8]])}
    decide(reviewed_work, {"operation": "add", "object": str(2**62 + 5), "shape": shape}, database=database)
    before = exported(reviewed_work, tmp_path / "before", database)
    rows = before.to_pylist()
    assert [rows[-1][axis] for axis in "xyz"] == [15, 15, 8]
    file = write(rows, before.schema, tmp_path / "same.csv")
    assert cf.import_review(reviewed_work, file, database=database).counts["moved"] == 0
    rows[-1]["x"] += 3
    rows[-1]["x_um"] = None
    moved = cf.import_review(
        reviewed_work, write(rows, before.schema, tmp_path / "moved.csv"), database=database
    )
    assert moved.counts["moved"] == 1
    found = ReviewPlace.find(reviewed_work)
    log = open_log(database)
    held = log.current(found.opened(log).table)[2**62 + 5].state.shape
    log.close()
    assert held is not None
    assert held.kind == kind
    wanted = [[x + 3 * (n == 0 or kind != "ellipsoid"), y, z] for n, (x, y, z) in enumerate(shape["points"])]
    assert [list(point) for point in held.points] == wanted
