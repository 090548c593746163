"""Thumbnails show all images of a data set together, in the colours of the viewer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chunkflow.people.service.catalogue.thumbnails import thumbnail
from chunkflow.people.viewing.looks import look
from tests.support.jobs import make_layer

CYAN, MAGENTA, WHITE, BLACK = (0, 255, 255), (255, 0, 255), (255, 255, 255), (0, 0, 0)


def half(folder: Path, name: str, side: int, bright: int, voxel: int, first: int = 0) -> str:
    """An image of which one half of x is bright, from `bright` on."""
    array = np.zeros((side, side, 4), np.uint16)
    array[bright : bright + side // 2] = 1000
    return make_layer(folder / name, array, voxel_size=(voxel, voxel, 1000), offset=(first, 0, 0))


def picture(folder: Path, *urls: str) -> Image.Image:
    content = thumbnail([look(str(number), url) for number, url in enumerate(urls)], folder / "kept")
    assert content is not None
    return Image.open(io.BytesIO(content))


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Left half of fine voxels, right half of coarse ones, and an image of another place."""
    return [
        half(tmp_path, "left", 64, 0, 1000),
        half(tmp_path, "right", 32, 16, 2000),
        half(tmp_path, "elsewhere", 64, 32, 1000, 500),
    ]


def test_images_of_one_place_are_added_up_in_their_colours(images: list[str], tmp_path: Path) -> None:
    shown = picture(tmp_path, *images)
    assert shown.size == (320, 320)
    assert [shown.getpixel((x, 160)) for x in (60, 260)] == [CYAN, MAGENTA]


def test_one_image_alone_is_grey(images: list[str], tmp_path: Path) -> None:
    shown = picture(tmp_path, images[0])
    assert [shown.getpixel((x, 160)) for x in (60, 260)] == [WHITE, BLACK]
