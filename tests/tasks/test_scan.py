"""A volume scanned in tiles: each shows its own place of the volume, and the truth says which."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.formats.stacks.stack import open_stack
from chunkflow.geometry import Box, Vec
from chunkflow.kernels.synthetic.tiles import expose
from tasks.synthetic.scan import Scan
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.same import Way, same_everywhere

SIZE, START, VOXEL = (120, 90, 20), (10, -20, 5), (1000.0, 1250.0, 2000.0)
TILES: dict[str, Any] = {
    "columns": 3,
    "rows": 2,
    "size": [40, 36, 12],
    "jitter": [4, 4, 3],
    "overlap": [0.1, 0.2],
    "seed": 4,
}
EVEN: dict[str, Any] = {"vignetting": 0, "gain": 0, "offset": 0, "noise": 0}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two channels in which every voxel is another."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(2)
    arrays = {name: rng.integers(100, 4000, SIZE).astype(np.uint16) for name in ("dapi", "cfos")}
    for name, array in arrays.items():
        make_layer(folder / name, array, voxel_size=VOXEL, offset=START, chunk=(32, 32, 16))
    return folder, arrays


def scan_job(folder: Path, volumes: Path, chunk: Vec = (64, 64, 64), **parameters: Any) -> Job:
    layers = {name: str(volumes / name) for name in ("dapi", "cfos")}
    layers["tiles"] = str(folder / "tiles")
    scan = {"images": ["dapi", "cfos"], "tiles": "tiles", **TILES, **parameters}
    return make_job(folder, layers, [{"scan": scan}], chunk=list(chunk))


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "tiles" / "truth.csv").open() as file:
        return list(csv.DictReader(file))


def test_each_tile_shows_the_place_that_the_truth_names(
    tmp_path: Path, volumes: tuple[Path, dict[str, Any]]
) -> None:
    assert run_job(scan_job(tmp_path, volumes[0], **EVEN)) == "complete"
    rows = truth(tmp_path)
    assert [row["path"][5:7] for row in rows] == ["00", "01", "02", "05", "04", "03"]  # to and fro
    assert [(row["row"], row["column"]) for row in rows] == [(r, c) for r in "01" for c in "012"]
    assert len({(row["x"], row["y"], row["z"]) for row in rows}) == 6
    for row in rows:
        stack = open_stack(str(tmp_path / "tiles" / row["path"]))
        assert (stack.size, stack.channels, stack.dtype) == ((40, 36, 12), 2, "uint16")
        assert stack.facts.voxel_size == pytest.approx(VOXEL)
        box = Box.of_size((40, 36, 12), (int(row["x"]), int(row["y"]), int(row["z"])))
        for channel, name in enumerate(("dapi", "cfos")):
            shown = stack.read(Box.of_size((40, 36, 12)), channel)[..., 0]
            assert np.array_equal(shown, volumes[1][name][box.slices(START)])


def test_light_is_as_the_truth_says(tmp_path: Path, volumes: tuple[Path, dict[str, Any]]) -> None:
    assert run_job(scan_job(tmp_path, volumes[0])) == "complete"
    fields = np.load(tmp_path / "tiles" / "truth.npz")
    assert sorted(fields) == ["dark_0", "dark_1", "flat_0", "flat_1"]
    scan = Scan(images=["dapi", "cfos"], tiles="tiles", **TILES)
    for tile, row in enumerate(truth(tmp_path)):
        box = Box.of_size((40, 36, 12), (int(row["x"]), int(row["y"]), int(row["z"])))
        stack = open_stack(str(tmp_path / "tiles" / row["path"]))
        for channel, name in enumerate(("dapi", "cfos")):
            light = volumes[1][name][box.slices(START)]
            gain, offset = float(row[f"gain_{channel}"]), float(row[f"offset_{channel}"])
            assert 0.8 <= gain <= 1.2
            assert abs(offset) <= 10
            key = scan.microscope.noise_key(channel, tile)
            expected = expose(light, fields[f"flat_{channel}"], gain, offset, 3.0, key)
            shown = stack.read(Box.of_size((40, 36, 12)), channel)[..., 0]
            assert np.array_equal(shown, expected.T)
            exact = light * fields[f"flat_{channel}"][:, :, None] * gain + offset
            assert abs((shown - exact).mean()) < 8


def test_the_same_tiles_whatever_the_chunks(tmp_path: Path, volumes: tuple[Path, dict[str, Any]]) -> None:
    def job_of(folder: Path, chunk: Vec) -> Job:
        return scan_job(folder, volumes[0], chunk)

    same_everywhere(tmp_path, job_of, (128, 96, 32), [Way((32, 32, 16)), Way((64, 32, 32), workers=3)])


def test_a_part_of_the_volume_has_the_tiles_that_lie_there(
    tmp_path: Path, volumes: tuple[Path, dict[str, Any]]
) -> None:
    layers = {"dapi": str(volumes[0] / "dapi")}
    job = make_job(tmp_path, layers, [{"scan": {"images": ["dapi"], **TILES}}])
    part = Box((90, 30, 5), (100, 40, 10))
    assert run_job(job) == run_job(job, part) == "complete"
    whole = tmp_path / "work" / "reports" / "scan"
    (made,) = (tmp_path / "work" / "try" / str(part) / "reports" / "scan").iterdir()
    assert made.name == "tile_03.tif"  # the last column and row
    assert made.read_bytes() == (whole / made.name).read_bytes()


def test_without_a_place_the_tiles_go_among_the_reports(
    tmp_path: Path, volumes: tuple[Path, dict[str, Any]]
) -> None:
    layers = {"dapi": str(volumes[0] / "dapi")}
    job = make_job(tmp_path, layers, [{"scan": {"images": ["dapi"], **TILES}}])
    assert run_job(job) == "complete"
    made = sorted(path.name for path in (tmp_path / "work" / "reports" / "scan").iterdir())
    assert made == [*(f"tile_{n:02d}.tif" for n in range(6)), "truth.csv", "truth.npz"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"columns": 4}, "4 x 2 tiles may take"),
        ({"size": [40, 36, 16]}, "voxels, but dapi has 120 x 90 x 20"),
        ({"overlap": [0.2, 0.1]}, "the smaller one first"),
        ({"overlap": [-0.1, 0.1]}, "two shares"),
        ({"size": [0, 36, 12]}, "at least one voxel"),
        ({"jitter": [4, -1, 3]}, "at least 0"),
        ({"size": [40_000, 40_000, 2]}, "smaller than 4 GiB"),
        ({"images": []}, "name one at least"),
        ({"images": ["gfp"]}, "No layer is named 'gfp'"),
        ({"gain": float("nan")}, "gain"),
    ],
)
def test_what_cannot_be_scanned_is_refused(
    tmp_path: Path, volumes: tuple[Path, dict[str, Any]], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises((BadInput, ValidationError), match=said):
        run_job(scan_job(tmp_path, volumes[0], **parameters))
    assert not (tmp_path / "tiles").exists()


@pytest.mark.parametrize(("dtype", "channels"), [("float32", 1), ("uint16", 2)])
def test_an_image_of_another_kind_is_refused(tmp_path: Path, dtype: str, channels: int) -> None:
    make_layer(tmp_path / "dapi", np.ones((*SIZE, channels), dtype))
    job = make_job(tmp_path, {"dapi": str(tmp_path / "dapi")}, [{"scan": {"images": ["dapi"], **TILES}}])
    with pytest.raises(BadInput, match="dapi is an image of"):
        run_job(job)
