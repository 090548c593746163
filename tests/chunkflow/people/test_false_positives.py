"""What reviewers say of false positives is kept, whichever program saved their table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.cells import AskedPlaces
from chunkflow.people.learning.networks.false_positives import Reviewed
from chunkflow.people.learning.networks.scores import Counted
from tests.support.models.training import make_tissue, recipe_document, recipe_of

PLACES = [("12.500", "3.000", "4.250"), ("20.000", "3.500", "4.000"), ("30.000", "3.500", "4.000")]


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


@pytest.fixture
def twice(tissue: dict[str, str]) -> NetworkRecipe:
    """Two volumes of the same images."""
    [volume] = recipe_document(tissue)["volumes"]
    halves = [volume | {"boxes": ["0-40,0-56,0-12"]}, volume | {"boxes": ["0-40,0-56,12-24"]}]
    return recipe_of(tissue, volumes=halves)


def wrong_in(recipe: NetworkRecipe) -> Counted:
    flags = np.zeros(3, bool)
    cells = AskedPlaces(np.full(3, 0.9), flags, ~flags)
    return Counted({}, cells=cells, wrong=[(recipe.volumes[0].images[0], place, 0.9) for place in PLACES])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_was_said_is_found_again_and_kept(twice: NetworkRecipe, tmp_path: Path, encoding: str) -> None:
    model = tmp_path / "m.safetensors"
    found = [("validation", wrong_in(twice)), ("fold 1", wrong_in(twice))]
    Reviewed.read(twice, model).write(twice, model, found)
    [file] = (tmp_path / "m.false-positives").iterdir()
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["found_by"] for row in rows] == ["validation"] * 3 + ["fold 1"] * 3
    lines = ["x,y,z,class,comment", "12.5,3,4.25, cell ,bright", "1,2,3,vessel,", "20,3.5,4,,"]
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    said = Reviewed.read(twice, model)
    cells = said.applied(wrong_in(twice)).cells
    assert cells is not None
    assert cells.called == 1
    said.write(twice, model, found)
    kept = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["class"] for row in kept] == ["cell", "", "", "cell", "", "", "vessel"]
    assert [row["comment"] for row in kept] == ["bright", "", "", "bright", "", "", ""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x;y;z;class\n1;2;3;cell\n", "no column x: save it with commas"),
        (b"x,y,z,class\n1,2,a,cell\n", "line 2: x, y and z are numbers"),
        ("x,y,z,class\n1,2,3,Gefäß\n".encode("latin-1"), "save it as CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_before_anything_is_trained(
    twice: NetworkRecipe, tmp_path: Path, content: bytes, said: str
) -> None:
    model = tmp_path / "m.safetensors"
    file = tmp_path / "m.false-positives" / "1-tissue.csv"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        cf.train_network(twice, model)
    assert not model.exists()
    assert file.read_bytes() == content
