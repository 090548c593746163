"""Inference: no cut, batch, worker or kill changes a byte; the answer is that of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.networks.normalisation import ZScore
from chunkflow.networks.placement import Patches, bump_weights
from chunkflow.networks.weights import load_model
from tests.support.files.networks import VOXEL_SIZE, blobs, document_of, make_model
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.same import Way, same_everywhere

SIZE = (37, 29, 22)
OFFSET = (5, -3, 7)
STORAGE = (8, 8, 8)
WHOLE = (40, 32, 24)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two images, a mask, and models."""
    folder = tmp_path_factory.mktemp("given")
    mask = np.zeros(SIZE, np.uint64)
    mask[9:20, 3:12, 2:9] = 7
    mask[30, 20, 20] = 1
    layers = {"em": blobs(SIZE), "other": blobs(SIZE, 1)}
    places = {
        name: make_layer(folder / name, array, voxel_size=VOXEL_SIZE, offset=OFFSET)
        for name, array in layers.items()
    }
    places["mask"] = make_layer(folder / "mask", mask, "segmentation", VOXEL_SIZE, OFFSET)
    places["one"] = make_model(folder / "one.safetensors")
    places["two"] = make_model(folder / "two.safetensors", document_of(3, images=2, overlap=(5, 9, 3)))
    return places


def a_job(given: dict[str, str], folder: Path, chunk: Vec, model: str = "one", **parameters: Any) -> Job:
    images = ["em", "other"] if model == "two" else ["em"]
    task = {"images": images, "model": given[model], "made": "made", **parameters}
    layers = {name: given[name] for name in ("em", "other", "mask")} | {"made": str(folder / "made")}
    return make_job(folder, layers, [{"infer": task}], chunk=list(chunk), storage=list(STORAGE))


def made_by(job: Job, box: Box | None = None) -> np.ndarray:
    assert run_job(job, box) == "complete"
    return read_layer(open_plan(job, box).products["made", 0].info.url)


WAYS = [
    Way((8, 8, 8), 2, shuffled=True),  # smaller than a patch
    Way((24, 16, 8), shuffled=True),
    Way((8, 32, 24)),
]


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("one", {}),
        ("one", {"batch": 3}),
        ("one", {"precision": "bf16", "dtype": "uint16"}),
        ("two", {"mask": "mask", "flips": "xy", "batch": 2, "dtype": "float32"}),
    ],
    ids=["one", "batch of 3", "bf16", "mask, flips, two images"],
)
def test_no_cut_changes_a_byte(
    given: dict[str, str], tmp_path: Path, model: str, parameters: dict[str, Any]
) -> None:
    same_everywhere(
        tmp_path, lambda folder, chunk: a_job(given, folder, chunk, model, **parameters), WHOLE, WAYS
    )
    made = read_layer(tmp_path / "whole" / "made")
    if made.dtype == np.uint8:
        assert made.max() - int(made.min()) >= 200  # a flat answer would prove nothing


def test_workers_and_kills_change_nothing(given: dict[str, str], tmp_path: Path, ray_here: None) -> None:
    ways = [Way((16, 16, 8), 2, ray=True, shuffled=True, kills=2), Way((16, 32, 16), 1, ray=True)]
    same_everywhere(tmp_path, lambda folder, chunk: a_job(given, folder, chunk), WHOLE, ways)


def test_a_run_that_ends_half_way_goes_on(given: dict[str, str], tmp_path: Path) -> None:
    job, done = a_job(given, tmp_path / "stopped", (8, 16, 8), batch=3), 0

    def stop(event: Event) -> None:
        nonlocal done
        done += isinstance(event, CellDone)
        if done == 9:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_job(job, listeners=[stop])
    whole = made_by(a_job(given, tmp_path / "whole", WHOLE, batch=3))
    np.testing.assert_array_equal(made_by(job), whole)


def test_two_threads_give_what_one_gives_patch_by_patch(given: dict[str, str], tmp_path: Path) -> None:
    one = made_by(a_job(given, tmp_path / "one", WHOLE))
    two = made_by(a_job(given, tmp_path / "two", (16, 8, 8), threads=2))
    np.testing.assert_array_equal(one, two)


def test_a_part_has_the_voxels_of_the_whole(given: dict[str, str], tmp_path: Path) -> None:
    box = Box((14, 2, 9), (29, 17, 20))
    parameters: dict[str, Any] = {"model": "two", "flips": "xyz", "mask": "mask"}
    part = made_by(a_job(given, tmp_path / "part", (8, 16, 8), **parameters), box)
    whole = made_by(a_job(given, tmp_path / "all", WHOLE, **parameters))
    np.testing.assert_array_equal(part, whole[box.slices(OFFSET)])
    assert part.any()


@pytest.mark.parametrize("size", [(9, 29, 5), (30, 1, 22), (16, 16, 8), (1, 1, 1)])
def test_thin_and_small_volumes(tmp_path: Path, given: dict[str, str], size: Vec) -> None:
    em = make_layer(tmp_path / "em", blobs(size), voxel_size=VOXEL_SIZE, offset=OFFSET)
    places = {**given, "em": em}
    first = made_by(a_job(places, tmp_path / "a", (32, 32, 24)))
    second = made_by(a_job(places, tmp_path / "b", (8, 8, 8)))
    np.testing.assert_array_equal(first, second)
    assert first.shape == size


def test_the_answer_is_the_weighted_mean_of_the_patches(given: dict[str, str], tmp_path: Path) -> None:
    """The same in floating point, patch by patch, from the plain network."""
    made = made_by(a_job(given, tmp_path, (16, 16, 16), dtype="uint16"))
    model, image = load_model(given["one"]), blobs(SIZE)
    volume, document = Box.of_size(SIZE, OFFSET), model.document
    normaliser = ZScore()
    numbers = normaliser.decide([(image, volume, volume)], volume, VOXEL_SIZE)
    array = (image - numbers["mean"]) / numbers["deviation"]
    sums, weights = np.zeros(SIZE), np.zeros(SIZE)
    bump = bump_weights(document.patch, document.overlap).astype(float)
    for patch in Patches(volume, document.patch, document.overlap).meeting(volume):
        where = patch.slices(volume.start)
        with torch.inference_mode():
            answer = torch.sigmoid(model.network(torch.tensor(array[where], dtype=torch.float32)[None, None]))
        sums[where] += bump * answer[0, 0].double().numpy()
        weights[where] += bump
    np.testing.assert_allclose(made / 65535, sums / weights, atol=2.5 / 65535)


def test_outside_of_the_mask_nothing_is_computed(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chunkflow.networks.inference import TorchPredictor

    computed: list[int] = []
    submit = TorchPredictor.submit

    def counting(self: Any, patches: np.ndarray, batch: int) -> Any:
        computed.append(len(patches))
        return submit(self, patches, batch)

    monkeypatch.setattr(TorchPredictor, "submit", counting)
    everywhere = made_by(a_job(given, tmp_path / "everywhere", WHOLE))
    all_patches, computed[:] = sum(computed), []
    masked = made_by(a_job(given, tmp_path / "masked", WHOLE, mask="mask"))
    mask = read_layer(given["mask"]) != 0
    np.testing.assert_array_equal(masked, np.where(mask, everywhere, 0))
    assert sum(computed) < all_patches / 2


def test_flips_are_averaged(given: dict[str, str], tmp_path: Path) -> None:
    """An image that is its own mirror image has an answer that is, too."""
    half = blobs((8, 16, 8))
    image = np.concatenate([half, half[::-1]])
    em = make_layer(tmp_path / "em", image, voxel_size=VOXEL_SIZE)
    made = made_by(a_job({**given, "em": em}, tmp_path / "flipped", (16, 16, 8), flips="xy"))
    plain = made_by(a_job({**given, "em": em}, tmp_path / "plain", (16, 16, 8)))
    np.testing.assert_array_equal(made, made[::-1])
    assert (plain != plain[::-1]).any()


def test_outputs_are_described_beside_the_layer(given: dict[str, str], tmp_path: Path) -> None:
    outputs = [
        {"name": "x", "kind": "affinity", "offset": [-1, 0, 0]},
        {"name": "inside", "kind": "class"},
        {"name": "outside", "kind": "class"},
    ]
    model = make_model(tmp_path / "m.safetensors", document_of(outputs=outputs))
    job = a_job({**given, "one": model}, tmp_path, WHOLE, dtype="float32")
    made = made_by(job)
    np.testing.assert_allclose(made[..., 1] + made[..., 2], 1, atol=2e-5)
    contents = open_plan(job).steps[0].layout.images("made")[0].contents
    assert [(c.name, c.kind, c.offset) for c in contents][:2] == [
        ("x", "affinity", (-1, 0, 0)),
        ("inside", "class", None),
    ]
    with pytest.raises(BadInput, match="take flips: none"):
        open_plan(a_job({**given, "one": model}, tmp_path / "flips", WHOLE, flips="xy"))
