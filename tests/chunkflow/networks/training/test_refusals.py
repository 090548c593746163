"""Recipes that cannot be trained: one sentence each, before anything is trained or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.errors import BadInput
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.training import fit_network
from tests.support.jobs import make_layer
from tests.support.models.training import SIZE, make_tissue, recipe_document


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tissue")
    made = make_tissue(folder)
    labels = np.zeros(SIZE, np.uint8)
    labels[:] = 3
    labels[10:20] = 7
    voxels = (1000.0, 1000.0, 2000.0)
    made["one-sided"] = make_layer(folder / "one-sided", labels, "segmentation", voxels).removeprefix(
        "file://"
    )
    coarse = make_layer(folder / "coarse", labels, "segmentation", (2000.0, 1000.0, 2000.0))
    return made | {"coarse": coarse.removeprefix("file://")}


def refused(tissue: dict[str, str], tmp_path: Path, said: str, kind: str = "points", **changes: Any) -> None:
    volume = changes.pop("volume", {})
    document = recipe_document(tissue, kind, **changes)
    document["volumes"][0] |= {key: tissue.get(str(value), value) for key, value in volume.items()}
    with pytest.raises(BadInput, match=said):
        fit_network(NetworkRecipe.of(document, tmp_path), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stepps": 3}, "the key 'stepps' is unknown; known are architecture"),
        ({"volume": {"trueth": "x"}}, "the key 'volumes.0.trueth' is unknown"),
        ({"patch": [16, 16, 0]}, "patch.2"),
        ({"patch": [15, 16, 8]}, r"no whole multiples of \[2, 2, 1\]"),
        ({"architecture": "resnet"}, "resnet, which is none of"),
        ({"parameters": {"width": [4]}}, "the key 'width' is unknown"),
        ({"truth": {"kind": "spots"}}, "truth"),
        ({"freeze": ["down"]}, "give that too"),
        ({"volume": {"candidates": "points"}}, "go with a truth of the kind candidates"),
        (
            {
                "truth": {"kind": "candidates"},
                "volume": {"candidates": "points"},
                "architecture": "patches",
                "parameters": {},
                "batch": 1,
            },
            "batch is at least 2",
        ),
        ({"truth": {"kind": "candidates"}}, "and there are none: give a file of points"),
        ({"volume": {"validation": "5-5,0-1,0-1"}}, "from a smaller to a larger number"),
        ({"volume": {"validation": "all"}}, "none is left to learn from"),
        ({"volume": {"validation": "90-99,0-9,0-9"}}, "lies outside of it"),
        ({"volume": {"images": "/no/such/layer"}}, "/no/such/layer"),
        ({"volume": {"truth": "/no/points.csv"}}, "There is no /no/points.csv"),
        ({"volume": {"validation": "54-55,0-1,0-1"}}, "No point lies in the boxes of validation"),
        ({"volume": {"boxes": ["60-72,0-56,0-24"]}}, "has no truth where it is learnt from"),
        ({"volume": {"annotated": "coarse"}}, "coarse has voxels of 2000 x 1000 x 2000 nm, and"),
        ({"start": "/no/model.safetensors"}, "There is no model /no/model.safetensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_sentence_says_what_is_wrong(
    tissue: dict[str, str], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    refused(tissue, tmp_path, said, **changes)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (
            "classes",
            {"volume": {"truth": "one-sided"}},
            "nothing of cell: choose boxes",
        ),
        ("labels", {"volume": {"truth": "coarse"}}, "coarse has voxels of 2000 x 1000 x 2000 nm, and"),
        ("points", {"truth": {"kind": "points", "of_class": "neuron"}}, "no column `class` to take neuron"),
    ],
)
def test_truth_that_does_not_serve_is_refused(
    tissue: dict[str, str], tmp_path: Path, kind: str, changes: dict[str, Any], said: str
) -> None:
    refused(tissue, tmp_path, said, kind, **changes)


def test_other_voxels_than_the_recipe_says_are_refused(tissue: dict[str, str], tmp_path: Path) -> None:
    given = {"channels": [{"normalise": {"kind": "zscore"}}], "voxel_size": [500, 500, 1000]}
    refused(tissue, tmp_path, "the network has learnt at 500 x 500 x 1000 nm", input=given)


def test_a_model_is_written_only_where_it_may(tissue: dict[str, str], tmp_path: Path) -> None:
    recipe = NetworkRecipe.of(recipe_document(tissue), tmp_path)
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    for name, said in (
        ("m.pt", "must end in .safetensors"),
        ("no/m.safetensors", "There is no folder"),
        ("there.safetensors", "exists already"),
    ):
        with pytest.raises(BadInput, match=said):
            fit_network(recipe, tmp_path / name)
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
