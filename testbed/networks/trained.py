"""Networks that learn to find cells of real volumes, each tested on what it has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cloudvolume import CloudVolume
from numpy.typing import NDArray
from scipy import ndimage

from chunkflow.kernels.scoring.scores import ranked_matches
from chunkflow.networks.loading import read_model
from chunkflow.networks.placement import FULL
from chunkflow.networks.training.folds import Fold
from chunkflow.networks.training.recipe import LearntVolume, NetworkRecipe
from chunkflow.networks.training.regions import JudgedCandidates, Predicted, judged_regions
from chunkflow.networks.training.training import predict_over
from chunkflow.networks.training.truths import CellsTruth
from chunkflow.people.learning.networks.cells import AskedPlaces, asked_places, control_places
from chunkflow.people.learning.networks.side_by_side import fit_unless_made
from testbed.classification import Candidates, permissive_candidates
from testbed.detection import TOLERANCE_UM, VOXEL_NM, Points, Tissue

COMMON = {
    "input": {"channels": [{"normalise": {"kind": "percentiles"}}], "voxel_size": VOXEL_NM},
    "patch": [48, 48, 16],
    "augment": {"gain": 2, "offset": 0.2, "noise": 0.05},
    "precision": "bf16",
}
HEATMAP = {
    "architecture": "unet",
    "parameters": {"widths": [8, 16, 32], "pooling": [[2, 2, 1], [2, 2, 2]], "norm": "batch"},
    "overlap": [12, 12, 4],
    "truth": {"kind": "points", "diameter": 10},
    "steps": 300,
    "every": 100,
}
PATCHES = {
    "architecture": "patches",
    "parameters": {"field": [16, 16, 8], "pooling": [2, 2, 1]},
    "truth": {"kind": "candidates", "diameter": 10},
    "steps": 600,
    "every": 150,
    "batch": 32,
    "rate": 0.01,
}
NETWORKS: dict[str, dict[str, Any]] = {"heatmap": HEATMAP, "patches": PATCHES}
NEAR = (5, 5, 3)
"""In a box of so many voxels around a candidate the highest value of a heatmap is taken."""


@dataclass(frozen=True)
class Prepared:
    """A volume as a layer and files of points, and its candidates."""

    name: str
    tissue: Tissue
    found: Candidates
    files: LearntVolume

    @property
    def asked(self) -> Points:
        """The candidates in continuous voxels, as the file has them."""
        return np.round(np.stack([self.found.rows[axis].to_numpy() for axis in "xyz"], 1), 3)


def prepare(tissue: Tissue, folder: Path) -> Prepared:
    """Write a volume as networks read it."""
    image, truth = tissue.load()
    name = tissue.path.stem
    place = folder / name
    CloudVolume.from_numpy(
        image,
        f"file://{place}",
        resolution=VOXEL_NM,
        chunk_size=(64, 64, 64),
        layer_type="image",
        progress=False,
    )
    places = {"truth": f"{place}.csv", "candidates": f"{place}.candidates.csv"}
    files = LearntVolume.model_validate({"images": (str(place),), **places})
    made = Prepared(name, tissue, permissive_candidates(tissue), files)
    _write_points(Path(files.truth), truth / (np.array(VOXEL_NM) / 1000) + 0.5)
    _write_points(Path(files.candidates), made.asked)
    return made


def _write_points(to: Path, points: Points) -> None:
    rows = [",".join(f"{place:.3f}" for place in point) for point in points]
    to.write_text("\n".join(["x,y,z", *rows]) + "\n")


def recipe_of(kind: str, volumes: Sequence[Prepared], seed: int) -> NetworkRecipe:
    """What a kind of network learns from volumes, and how."""
    own = NETWORKS[kind]
    files = [one.files.model_dump() for one in volumes]
    if kind != "patches":
        files = [file | {"candidates": ""} for file in files]
    return NetworkRecipe.of(COMMON | own | {"volumes": files, "seed": seed}, Path("/"))


def without(folds: Sequence[Fold], numbers: Sequence[int]) -> Fold:
    """One training without what several folds by volume are tested on, tested on all of that."""
    kept = [set(folds[number].recipe.volumes) for number in numbers]
    first = folds[numbers[0]].recipe
    volumes = tuple(volume for volume in first.volumes if all(volume in ones for ones in kept))
    tests = tuple(volume for number in numbers for volume in folds[number].tests)
    return Fold(numbers[0], first.model_copy(update={"volumes": volumes}), tests)


@dataclass(frozen=True)
class Tested:
    """What a network says of the volumes that it is tested on, by their names."""

    chances: Mapping[str, Points]
    """Of each candidate; no number where it lies outside of what is tested."""
    cells: Mapping[str, AskedPlaces]
    """All that it found, or was asked about."""
    controls: Mapping[str, AskedPlaces]
    threshold: float
    seconds: float
    """Of computing."""


def train_and_test(fold: Fold, model: str, asked: Mapping[str, Points]) -> Tested:
    """Train the network of a fold, and ask it about the candidates (in continuous voxels) of its tests."""
    began, recipe, path = time.process_time(), fold.recipe, Path(model)
    fit_unless_made(recipe, path, False)
    truth, threshold = recipe.truth, read_model(path).outputs[0].taken_from
    assert isinstance(truth, CellsTruth)
    chances, cells, controls = {}, {}, {}
    for one in predict_over(recipe, path, judged_regions(fold.opened_tests())):
        name = Path(one.region.volume.name).name
        chances[name] = chances_at(one, asked[name])
        cells[name] = asked_places(one, truth, threshold)[0]
        controls[name] = control_places(one, threshold)
    return Tested(chances, cells, controls, threshold, time.process_time() - began)


def chances_at(one: Predicted, places: Points) -> Points:
    """What a network says of candidates, no number outside of its region."""
    chances, inside = np.full(len(places), np.nan), one.region.has(places)
    if isinstance(one, JudgedCandidates):
        chances[inside] = one.steps / FULL
        return chances
    highest = ndimage.maximum_filter(one.steps[..., 0], NEAR)
    voxels = np.floor(places[inside]).astype(np.int64) - one.region.box.start
    chances[inside] = highest[tuple(voxels.T)] / FULL
    return chances


def judged_candidates(found: Candidates, chances: Points, taken: NDArray[np.bool_]) -> AskedPlaces:
    """By the honest protocol: all candidates of a volume, paired one to one with all of its cells."""
    order = np.lexsort((-chances, ~taken))
    is_cell = ranked_matches(found.places[order], found.truth, TOLERANCE_UM)
    return AskedPlaces(chances[order], is_cell, taken[order], len(found.truth) - int(is_cell.sum()))
