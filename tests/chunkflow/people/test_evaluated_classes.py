"""Points of one class are compared: what was found has classes, what people marked often has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
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


def test_a_class_that_nobody_tells_is_refused(tmp_path: Path, image: str) -> None:
    found = marks(tmp_path / "found.csv", ["cell"] * 5 + ["no cell"] * 3)
    plain = marks(tmp_path / "plain.csv", [""] * 6)
    with pytest.raises(BadInput, match="has no class 'axon'; it has cell, no cell"):
        cf.evaluate(found, plain, like=image, of_class="axon")
    with pytest.raises(BadInput, match="Neither what was found nor the truth tells classes"):
        cf.evaluate(plain, plain, like=image, of_class="cell")
    with pytest.raises(BadInput, match=r"several classes \(cell, no cell\): name one of them"):
        cf.evaluate(found, plain, like=image)
