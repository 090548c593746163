"""Uneven light is taken out of stitched tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.jobs.planned import open_plan
from testbed.tile_sets import TileSet
from tests.support.files.tile_stacks import held, places, report, stitch_job, tile_set, truth, write
from tests.support.jobs import read_layer, run_job


def uneven(size: Vec) -> np.ndarray:
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in size[:2]), indexing="ij")
    flat = 1 - 0.25 * (x**2 + y**2)
    return np.asarray(flat / flat.mean())


def unevenness(found: np.ndarray, tiles: TileSet) -> float:
    """How far the light of a made volume is from that of the tissue, whatever its unit and its dark."""
    wanted, shown = truth(tiles)
    only = held(found, wanted) * shown
    made, smooth = (gaussian_filter(array.astype(float), (4, 4, 1))[shown] for array in (only, wanted))
    return float(np.std(made - np.polyval(np.polyfit(smooth, made, 1), smooth)) / np.std(smooth))


def test_uneven_light_and_gains_are_taken_out(tmp_path: Path) -> None:
    """As it is found, as it is known, and as the report of one sample has it for the next."""
    light = uneven(tile_set().size)
    tiles = tile_set(noise=True, light=light)
    source, true = write(tmp_path / "tiles", tiles), tmp_path / "true.npz"
    np.savez(true, allow_pickle=False, flat_0=light.astype(np.float32), dark_0=np.zeros_like(light))
    left, of_report = {}, tmp_path / "found/work/reports/stitch/shading.npz"
    runs = {"none": "none", "found": "estimate", "known": str(true), "next": str(of_report)}
    for name, shading in runs.items():
        assert run_job(stitch_job(tmp_path / name, source, shading=shading)) == "complete"
        assert tiles.errors(places(tmp_path / name)).max() < 1
        left[name] = unevenness(read_layer(tmp_path / name / "image"), tiles)
    assert left["found"] < 0.6 * left["none"]
    assert left["known"] < 0.3 * left["none"]
    assert np.array_equal(read_layer(tmp_path / "next/image"), read_layer(tmp_path / "found/image"))
    found = [float(row["image_gain"]) for row in report(tmp_path / "known", "places.csv")]
    ratio = np.array(found) / list(tiles.gains.values())
    assert ratio.std() / ratio.mean() < 0.5 * np.std(list(tiles.gains.values()))


def test_light_of_a_file_must_be_such(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    fields = np.ones((4, 4), np.float32)
    for name, arrays, said in (
        ("few", {"flat_0": fields}, "dark_0 is not so"),
        ("nan", {"flat_0": fields * np.nan, "dark_0": fields}, "flat_0 is not so"),
        ("dark", {"flat_0": fields * 0, "dark_0": fields}, "must be larger than 0"),
    ):
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **arrays)
        with pytest.raises(BadInput, match=said):
            open_plan(stitch_job(tmp_path, tiles, shading=str(tmp_path / f"{name}.npz")))
    (tmp_path / "text.npz").write_text("no arrays")
    whole = (tmp_path / "dark.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "changed.npz").write_bytes(whole.replace(b"\0\0\x80\x3f", b"\0\0\x80\x40", 1))
    for name in ("text", "absent", "cut", "changed"):
        with pytest.raises(BadInput, match="cannot be read as an"):
            open_plan(stitch_job(tmp_path, tiles, shading=str(tmp_path / f"{name}.npz")))
