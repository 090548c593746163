"""Points of one class are compared: what was found has classes, what people marked often has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from tests.support.files.annotation_layers import write_table
from tests.support.jobs import make_layer

PLACES = [(4 + 6 * n, 10 + n, 8) for n in range(8)]


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_layer(tmp_path / "image", np.zeros((64, 32, 16), np.uint8), "image", (1000, 1000, 1000))


def marks(path: Path, kinds: list[str]) -> Path:
    """Points of these classes, without a column of them where all are empty."""
    head = "x,y,z,class" if any(kinds) else "x,y,z"
    rows = [
        ",".join([*map(str, place), *([kind] if any(kinds) else [])])
        for place, kind in zip(PLACES, kinds, strict=False)
    ]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_a_side_without_classes_is_of_the_class_that_is_compared(tmp_path: Path, image: str) -> None:
    found = marks(tmp_path / "found.csv", ["cell"] * 5 + ["no cell"] * 3)
    plain = marks(tmp_path / "plain.csv", [""] * 6)
    scores = cf.evaluate(found, plain, like=image, of_class="cell", tolerance_um=2).values
    assert [scores[name] for name in ("found", "true", "matched")] == [5, 6, 5]
    turned = cf.evaluate(plain, found, like=image, of_class="cell", tolerance_um=2).values
    assert [turned[name] for name in ("found", "true", "matched")] == [6, 5, 5]


def test_where_nothing_was_taken_for_the_class_nothing_is_found(tmp_path: Path, image: str) -> None:
    rows = pa.table({axis: np.array(PLACES, float)[:, n] for n, axis in enumerate("xyz")})
    ids = pa.array(np.arange(1, len(rows) + 1), pa.uint64())
    judged = rows.add_column(0, "id", ids).append_column("class", pa.array(["no cell"] * len(rows)))
    judged = judged.append_column("p_cell", pa.array(np.zeros(len(rows), np.float32)))
    table = write_table(tmp_path / "judged", judged, None, Box((0, 0, 0), (64, 32, 16)))
    plain = marks(tmp_path / "plain.csv", [""] * 6)
    scores = cf.evaluate(table, plain, of_class="cell", tolerance_um=2).values
    assert [scores[name] for name in ("found", "true", "F1")] == [0, 6, 0]


def test_a_class_that_nobody_tells_is_refused(tmp_path: Path, image: str) -> None:
    found = marks(tmp_path / "found.csv", ["cell"] * 5 + ["no cell"] * 3)
    plain = marks(tmp_path / "plain.csv", [""] * 6)
    with pytest.raises(BadInput, match="has no class 'axon'; it has 'cell', 'no cell'"):
        cf.evaluate(found, plain, like=image, of_class="axon")
    with pytest.raises(BadInput, match="Neither what was found nor the truth tells classes"):
        cf.evaluate(plain, plain, like=image, of_class="cell")
    with pytest.raises(BadInput, match=r"several classes \(cell, no cell\): name one of them"):
        cf.evaluate(found, plain, like=image)
