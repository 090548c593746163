"""Uneven light is found once and divided out of every chunk alike, however the job was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.images.pooling import pool
from tests.support.jobs import hide_package, make_job, make_layer, read_layer, run_job
from tests.support.same import Way, same_everywhere

pytest.importorskip("SimpleITK")

SIZE = (75, 61, 37)
OFFSET = (13, -9, 5)
VOXEL = (2000.0, 2000.0, 5000.0)
CORRECT = {"image": "dapi", "corrected": "even"}
QUICK = {"iterations": 8}


def planted(size: tuple[int, ...] = SIZE) -> np.ndarray:
    """A field of 0.2 rms in the logarithm, of mean 0."""
    x, y, z = (
        np.linspace(-1, 1, n).reshape(-1, *[1] * (2 - axis)) if n > 1 else np.zeros((1, *[1] * (2 - axis)))
        for axis, n in enumerate(size)
    )
    field = 0.8 * x + 0.5 * y - 0.6 * x * y + 0.5 * x * x + 0.3 * z
    field = field - field.mean()
    return np.asarray(field * 0.2 / field.std())


def brain(size: tuple[int, ...] = SIZE, dtype: str = "uint16", dark: float = 0) -> np.ndarray:
    """Tissue of uneven light within a dark border."""
    tissue = np.random.default_rng(0).normal(800, 120, size)
    border = np.random.default_rng(1).normal(40, 8, size)
    tissue[:8], tissue[:, :6] = border[:8], border[:, :6]
    return np.asarray((tissue * np.exp(planted(size)) + dark).astype(dtype))


def unevenness(image: np.ndarray) -> float:
    """By how much the mean of tissue changes along x, in its logarithm."""
    return float(np.ptp(np.log(image[10:, 8:].astype(float).mean(axis=(1, 2)))))


def layers(folder: Path, image: np.ndarray, **arrays: Any) -> dict[str, str]:
    made = {"dapi": make_layer(folder / "dapi", image, voxel_size=VOXEL, offset=OFFSET)}
    return made | {name: str(folder / name) for name in ("even", "other", "light")} | arrays


def job_of(
    folder: Path, image: np.ndarray, *tasks: dict[str, Any], chunk: Vec = (32, 32, 16), **keys: Any
) -> Job:
    entries = [{"correct": task} for task in tasks or [CORRECT | QUICK]]
    keys = {"chunk": list(chunk), "storage": [16, 16, 16]} | keys
    return make_job(folder, layers(folder, image, **keys.pop("layers", {})), entries, **keys)


def averaged_fewer(monkeypatch: pytest.MonkeyPatch, most: int = 6000, side: int = 24) -> None:
    """Averages of some voxels each, in several cells, of a volume as small as that of a test."""
    monkeypatch.setattr("tasks.volumes.light_field.MOST_VOXELS", most)
    monkeypatch.setattr("tasks.volumes.light_field.SIDE", side)


def field(folder: Path, name: str = "even.field") -> np.ndarray:
    return read_layer(folder / "work" / "layers" / name)


def test_a_planted_field_is_found_and_divided_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged_fewer(monkeypatch, most=30_000)
    image = brain()
    assert run_job(job_of(tmp_path, image, CORRECT)) == "complete"
    wanted = pool(planted().astype(np.float32), OFFSET, (4, 4, 2), "mean")
    found = field(tmp_path)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    error = (found - wanted)[3:, 3:]
    error = np.abs(error - error.mean())
    assert np.sqrt(np.mean(error**2)) < 0.04
    assert np.percentile(error, 95) < 0.08
    corrected = read_layer(tmp_path / "even")
    assert corrected.dtype == image.dtype
    assert unevenness(corrected) < 0.1 < 0.4 < unevenness(image)
    assert (tmp_path / "work/reports/correct/field.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [SIZE, (75, 61, 1)], ids=["odd", "thin"])
def test_every_cut_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Vec) -> None:
    """Also those of a field that is kept, of the averages and the picture."""
    averaged_fewer(monkeypatch, most=6000 if size[2] > 1 else 2000)
    image = brain(size)
    share = {"image": "dapi", "corrected": "other", "field": "even.field"}
    ways = [Way((16, 16, 16)), Way((48, 32, 16), workers=2, shuffled=True)]

    def cut(folder: Path, chunk: Vec) -> Job:
        folder.mkdir(exist_ok=True)
        return job_of(folder, image, CORRECT | QUICK, share, chunk=chunk)

    same_everywhere(tmp_path, cut, (80, 64, 48), ways)
    kept = read_layer(tmp_path / "whole" / "even")
    assert not np.array_equal(kept, image)
    assert np.array_equal(read_layer(tmp_path / "whole" / "other"), kept)


def test_a_part_is_that_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its field is fitted to the whole volume."""
    averaged_fewer(monkeypatch)
    job = job_of(tmp_path, brain())
    box = Box((40, 10, 9), (61, 33, 30))
    assert run_job(job, box) == "complete"
    assert run_job(job) == "complete"
    part, whole = (
        read_layer(tmp_path / "work" / "try" / str(box) / "layers" / "even"),
        read_layer(tmp_path / "even"),
    )
    assert part.tobytes() == whole[box.slices(OFFSET)].tobytes()


def test_channels_share_the_field_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of its own, kept where the job says; nothing is fitted to the second channel."""
    averaged_fewer(monkeypatch)
    cfos = np.full(SIZE, 500, np.uint16)
    made = make_layer(tmp_path / "cfos", cfos, voxel_size=VOXEL, offset=OFFSET)
    first = CORRECT | QUICK | {"fitted": "light"}
    second = {"image": "cfos", "corrected": "other", "field": "light"}
    job = job_of(tmp_path, brain(), first, second, layers={"cfos": made})
    assert [step.name for step in open_plan(job).steps] == [
        *("correct/average", "correct/fit", "correct/divide"),
        "correct-2/divide",
    ]
    assert run_job(job) == "complete"
    light = read_layer(tmp_path / "light")
    middle = 500 / np.exp(light[light.shape[0] // 2, light.shape[1] // 2, light.shape[2] // 2])
    assert abs(float(read_layer(tmp_path / "other")[37, 30, 18]) - middle) < 15
    assert not (tmp_path / "work" / "layers").exists()


def test_a_field_of_a_coarser_mip_serves_the_finest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged_fewer(monkeypatch, most=30_000)
    coarse = pool(brain(), OFFSET, (2, 2, 1), "mean")
    start = (OFFSET[0] // 2, OFFSET[1] // 2, OFFSET[2])
    made = make_layer(tmp_path / "coarse", coarse, voxel_size=(4000, 4000, 5000), offset=start)
    tasks = [
        {"image": "coarse", "corrected": "other"},
        {"image": "dapi", "corrected": "even", "field": "other.field"},
    ]
    assert run_job(job_of(tmp_path, brain(), *tasks, layers={"coarse": made})) == "complete"
    assert unevenness(read_layer(tmp_path / "even")) < 0.1


def test_a_mask_of_other_voxels_says_where_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no tissue does not count, nor does what the mask does not reach."""
    averaged_fewer(monkeypatch, most=30_000)
    image = brain()
    image[8:27] = np.geomspace(8000, 100, 19).reshape(19, 1, 1)
    kept = np.zeros((8, 12, 8), np.uint8)
    kept[3:8, 1:12] = 7
    mask = make_layer(tmp_path / "mask", kept, "segmentation", (20000, 10000, 25000), (1, -1, 1))
    job = job_of(tmp_path, image, CORRECT | {"mask": "mask"}, layers={"mask": mask})
    assert run_job(job) == "complete"
    before, after = (unevenness(array[17:]) for array in (image, read_layer(tmp_path / "even")))
    assert after < 0.1 < 0.3 < before


def test_floats_and_channels_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged_fewer(monkeypatch)
    image = np.stack([np.zeros(SIZE, np.float32), brain(dtype="float32")], axis=3)
    assert run_job(job_of(tmp_path, image, CORRECT | QUICK | {"channel": 1})) == "complete"
    found = read_layer(tmp_path / "even")
    assert found.dtype == np.float32
    assert not found[..., 0].any()
    ratio = image[..., 1] / found[..., 1]
    assert 0.15 < np.std(np.log(ratio)) < 0.25


def test_what_the_camera_shows_in_the_dark_is_not_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged_fewer(monkeypatch, most=30_000)
    image = brain(dark=600)
    image[0] = 600
    assert run_job(job_of(tmp_path, image, CORRECT | {"dark": 600})) == "complete"
    corrected = read_layer(tmp_path / "even")
    assert (corrected[0] == 600).all()
    assert unevenness(corrected.astype(float) - 600) < 0.1


def test_a_constant_image_stays_as_it_is(tmp_path: Path) -> None:
    image = np.full(SIZE, 77, np.uint8)
    assert run_job(job_of(tmp_path, image)) == "complete"
    assert np.array_equal(read_layer(tmp_path / "even"), image)
    assert not field(tmp_path).any()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "dapi, averaged, has no voxel that is brighter than 0"),
        ({"mask": "mask"}, "dapi, averaged, has no voxel within the mask that is brighter than 0"),
    ],
)
def test_an_image_without_tissue_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    image = brain() if more else np.zeros(SIZE, np.uint16)
    mask = make_layer(tmp_path / "mask", np.zeros(SIZE, np.uint8), "segmentation", VOXEL, OFFSET)
    heard: list[Any] = []
    job = job_of(tmp_path, image, CORRECT | more, layers={"mask": mask})
    assert run_job(job, listeners=[heard.append]) == "incomplete"
    assert any(said in str(event) for event in heard)


def test_a_field_of_too_little_or_of_something_else_is_refused(tmp_path: Path) -> None:
    light = make_layer(
        tmp_path / "small", np.zeros((10, 10, 10), np.float32), voxel_size=VOXEL, offset=OFFSET
    )
    grey = make_layer(tmp_path / "grey", np.zeros(SIZE, np.uint16), voxel_size=VOXEL, offset=OFFSET)
    for given, said in (
        ("small", "covers 26000 to 46000 nm, and dapi 26000 to 176000 nm"),
        ("grey", "is no field"),
    ):
        job = job_of(tmp_path, brain(), CORRECT | {"field": given}, layers={"small": light, "grey": grey})
        with pytest.raises(BadInput, match=said):
            open_plan(job)


def test_parameters_that_would_mean_nothing_are_refused(tmp_path: Path) -> None:
    for more, said in (
        ({"field": "light", "levels": 3}, "levels: nothing is fitted where a field is given"),
        ({"channel": 2}, "dapi has one channel"),
        ({"corrected": ""}, "name a layer of the job"),
    ):
        with pytest.raises(BadInput, match=said):
            open_plan(job_of(tmp_path, brain(), CORRECT | more))


def test_without_simpleitk_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But a field that is there is divided by."""
    hide_package(monkeypatch, "SimpleITK")
    with pytest.raises(BadInput) as told:
        run_job(job_of(tmp_path, brain()))
    assert str(told.value) == (
        "Fitting a field of uneven light needs the package SimpleITK: pip install 'chunkflow-ray[correct]'."
    )
    assert not (tmp_path / "work").exists()
    light = make_layer(tmp_path / "given", np.zeros(SIZE, np.float32), voxel_size=VOXEL, offset=OFFSET)
    job = job_of(tmp_path, brain(), CORRECT | {"field": "given"}, layers={"given": light})
    assert run_job(job) == "complete"
    assert np.array_equal(read_layer(tmp_path / "even"), brain())
