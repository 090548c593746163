"""Points edited in other programs, brought back into the log: of these, the missing ones are deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import chunkflow as cf
from chunkflow.people.review.reviewing import open_log
from tests.support.people.reviews import decide

ALONG = np.array([1, 0, 0])


@pytest.mark.parametrize(
    ("form", "name"), [("napari", "p.csv"), ("cellfinder", "p.xml"), ("neuroglancer", "p.json")]
)
def test_points_that_are_missing_among_drawn_ones_are_deleted(
    reviewed_work: str, ids: list[int], database: str, tmp_path: Path, form: str, name: str
) -> None:
    classes = {"operation": "class", "class": "cell"}
    decide(reviewed_work, *({**classes, "object": str(id)} for id in ids), database=database)
    made = cf.export_review(reviewed_work, tmp_path / name, database=database, form=form)
    same = cf.import_review(reviewed_work, tmp_path / name, database=database, dry_run=True)
    assert same.counts == {**dict.fromkeys(same.counts, 0), "unchanged": len(ids)}
    where = cf.open(reviewed_work).table("classified").to_arrow().to_pylist()
    gone, moved = (next(row for row in where if row["id"] == id) for id in ids[:2])
    text = (tmp_path / name).read_text()
    edited = edit_points(form, text, place_of(gone), place_of(moved))
    assert edited != text
    (tmp_path / name).write_text(edited)
    found = cf.import_review(reviewed_work, tmp_path / name, database=database, edit=made.edit)
    assert found.conflicts == ()
    assert found.counts == {
        **dict.fromkeys(found.counts, 0),
        "moved": 1,
        "deleted": 1,
        "added": 1,
        "unchanged": len(ids) - 2,
    }
    log = open_log(database)
    states = {id: held.state for id, held in log.current(1).items()}
    log.close()
    assert states[ids[0]].deleted
    assert states[ids[1]].shape is not None
    assert np.allclose(states[ids[1]].shape.points[0], place_of(moved) + ALONG, atol=0.51)
    again = cf.import_review(reviewed_work, tmp_path / name, database=database, edit=made.edit)
    assert again.counts == {**dict.fromkeys(found.counts, 0), "unchanged": len(ids) + 1}


def place_of(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array([row[axis] for axis in "xyz"])


def edit_points(form: str, text: str, gone: Any, moved: Any) -> str:
    """A file of points without one, with another a voxel further along x, and with a new one at 1, 1, 1."""
    if form == "neuroglancer":
        document = json.loads(text)
        points = document["annotations"]
        (lost,) = (point for point in points if np.allclose(point["point"], gone))
        (far,) = (point for point in points if np.allclose(point["point"], moved))
        points.remove(lost)
        far["point"] = (moved + ALONG).tolist()
        points.append({**far, "id": "9f3", "point": [1.0, 1.0, 1.0], "segments": [[]]})
        return json.dumps(document)
    lines = text.splitlines()
    if form == "napari":
        split = [line.split(",") for line in lines]
        at = {tuple(line[1:4]): n for n, line in enumerate(split)}
        keys = {tuple(float(v) for v in key): n for key, n in at.items() if key[0][0] != '"'}
        lost, far = (
            keys[min(keys, key=lambda k: np.abs(np.array(k) - (p[::-1] - 0.5)).sum())] for p in (gone, moved)
        )
        split[far][3] = str(float(split[far][3]) + 1)
        split.append([str(len(split)), "0.5", "0.5", "0.5", *split[-1][4:]])
        return "\n".join(",".join(line) for n, line in enumerate(split) if n != lost) + "\n"
    marker = "   <Marker><MarkerX>%d</MarkerX><MarkerY>%d</MarkerY><MarkerZ>%d</MarkerZ></Marker>"
    lost, far = (lines.index(marker % tuple(np.floor(p).astype(int))) for p in (gone, moved))
    lines[far] = marker % tuple(np.floor(moved + ALONG).astype(int)) + "\n" + marker % (1, 1, 1)
    del lines[lost]
    return "\n".join(lines)


def test_without_a_number_nothing_that_was_edited_is_overwritten(
    reviewed_work: str, ids: list[int], database: str, tmp_path: Path
) -> None:
    """cellfinder's file does not say as of which edit it is: what anybody edited is a conflict."""
    file = tmp_path / "p.xml"
    cf.export(
        cf.open(reviewed_work).table("classified"), file, form="cellfinder", columns=["id", "x", "y", "z"]
    )
    decide(reviewed_work, {"operation": "reject", "object": str(ids[0])}, database=database)
    decide(
        reviewed_work,
        {"operation": "add", "object": "7", "shape": {"kind": "point", "points": [[1, 1, 1]]}},
        database=database,
    )
    cf.export(cf.open(reviewed_work).table("classified"), tmp_path / "few.parquet")
    rows = pq.read_table(tmp_path / "few.parquet").to_pylist()
    gone = next(row for row in rows if row["id"] == ids[0])
    marker = "   <Marker><MarkerX>%d</MarkerX><MarkerY>%d</MarkerY><MarkerZ>%d</MarkerZ></Marker>\n"
    file.write_text(file.read_text().replace(marker % tuple(np.floor(place_of(gone)).astype(int)), ""))
    made = cf.import_review(reviewed_work, file, database=database)
    assert made.conflicts == (f"Object {ids[0]} (delete) was changed since by ann (reject, edit 1).",)
    assert made.counts["deleted"] == 0
    assert cf.import_review(reviewed_work, file, database=database, edit=2).counts["deleted"] == 2
