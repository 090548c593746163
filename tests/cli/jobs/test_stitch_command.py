"""Stitch as a command: several images are named, one for each channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.commands import Command
from tests.support.files.tile_stacks import held, tile_set, truth, write
from tests.support.jobs import read_layer


def test_tiles_become_the_images_that_are_named(tmp_path: Path, command: Command) -> None:
    tiles = tile_set()
    images = [word for name in ("dapi", "cfos") for word in ("--images", str(tmp_path / name))]
    given = ("--tiles", write(tmp_path / "tiles", tiles), "--voxel-size", "500,500,2000nm", "--serial")
    refused = command("stitch", *given, *images, "--work", str(tmp_path / "work"))
    assert refused.code == 2
    assert "1 channels in 1 files, but 2 images are named (dapi, cfos)" in refused.err
    small = ("--shading", "none", "--storage", "32,32,8", "--chunk", "64,64,8", "--encoding", "crackle")
    done = command(
        "stitch", *given, *images[:2], "--work", str(tmp_path / "work"), "--jitter", "[4, 4, 1]", *small
    )
    assert done.code == 0, done.err
    wanted, shown = truth(tiles)
    assert np.array_equal(held(read_layer(tmp_path / "dapi"), wanted)[shown], wanted[shown])
