"""Thumbnails of data sets: the middle section of a coarse mip, in the contrast of the viewer.

They are kept in the user's cache, under a name that follows from what they show, so that several processes
and the next start have them at once.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from chunkflow.chunk import Array
from chunkflow.data.atomic import write_whole
from chunkflow.data.describe import layer_at
from chunkflow.data.volume import Volume
from chunkflow.errors import ChunkflowError
from chunkflow.geometry import Box, vec
from chunkflow.people.viewing.looks import Shown, extent_of
from chunkflow.people.viewing.state import channel_colours

WIDTH = 320
"""Pixels of the longer side."""
LARGEST = 1024
"""Voxels of a section's side that are read at most: of a layer without coarse mips the middle is shown."""
Pixels = npt.NDArray[np.float64]


def thumbnail(shown: Sequence[Shown], cache: Path | None = None) -> bytes | None:
    """A PNG of the images of a data set, added up, else of its first labels; None where there is neither.

    Images that cover another part of space than the first one are left out.
    """
    layers = [layer for layer in shown if layer.kind == "image"]
    layers = [layer for layer in layers if _covers(layer) == _covers(layers[0])]
    layers = layers or [layer for layer in shown if layer.kind == "segmentation"][:1]
    if not layers:
        return None
    folder = cache or Path.home() / ".cache" / "chunkflow" / "thumbnails"
    colours = channel_colours(shown)
    said = [
        [layer.url, dict(layer.info), layer.contrast, layer.ids[:8], colours.get(layer.name)]
        for layer in layers
    ]
    digest = hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()
    file = folder / f"{digest[:32]}.png"
    with suppress(OSError):
        return file.read_bytes()
    try:
        content = _drawn(layers, colours)
    except ChunkflowError:  # it is still being made, or storage is away: another time
        return None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, content)
    return content


def _covers(layer: Shown) -> tuple[tuple[float, ...], ...]:
    """The part of space that a layer covers, in micrometres: its first and its last place."""
    extent = extent_of([layer])
    return tuple(tuple((end * extent.voxel_size / 1000).round(1)) for end in (extent.start, extent.stop))


def _drawn(layers: Sequence[Shown], colours: Mapping[str, Sequence[str]]) -> bytes:
    sections = [_section(layer) for layer in layers]
    sides = [np.array(array.shape[:2]) * voxel_size[:2] for array, voxel_size in sections]
    width, height = (max(round(WIDTH * float(n / sides[0].max())), 1) for n in sides[0])
    total = np.zeros((height, width, 3))
    for layer, (section, voxel_size), side in zip(layers, sections, sides, strict=True):
        if (abs(side - sides[0]) <= voxel_size[:2]).all():  # else it has no coarse mips, and this is a part
            named = colours.get(layer.name)
            pixels = _of_image(section, layer, named) if named else _of_labels(section)
            total += _resized(pixels, (width, height))
    buffer = io.BytesIO()
    Image.fromarray(_bytes(total)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _resized(colours: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels of x and y as rows of a picture of this size, from 0 to 1."""
    picture = Image.fromarray(np.ascontiguousarray(_bytes(colours).transpose(1, 0, 2)))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR), float) / 255


def _bytes(colours: Pixels) -> npt.NDArray[np.uint8]:
    return (255 * np.clip(colours, 0, 1)).round().astype(np.uint8)


def _section(layer: Shown) -> tuple[Array, Array]:
    """The middle section (x, y, channel) of the coarsest mip that has enough voxels, and their size."""
    scales = layer.info["scales"]
    fine = [mip for mip, scale in enumerate(scales) if max(scale["size"][:2]) >= WIDTH]
    info = layer_at(layer.url, fine[-1] if fine else 0)
    start, stop = info.bounds.start, info.bounds.stop
    middle = [(a + b) // 2 for a, b in zip(start, stop, strict=True)]
    box = Box.of_size(
        (LARGEST, LARGEST, 1), vec((middle[0] - LARGEST // 2, middle[1] - LARGEST // 2, middle[2]))
    )
    array = Volume(info).read(box.clip(info.bounds)).array
    return (array if array.ndim == 4 else array[..., np.newaxis])[:, :, 0], np.array(info.voxel_size)


def _of_image(section: Array, layer: Shown, colours: Sequence[str]) -> Pixels:
    total = np.zeros((*section.shape[:2], 3))
    for channel, ((low, high), colour) in enumerate(zip(layer.contrast, colours, strict=True)):
        light = np.clip((np.nan_to_num(section[..., channel].astype(float)) - low) / (high - low), 0, 1)
        total += light[..., np.newaxis] * np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return total


def _of_labels(section: Array) -> Pixels:
    """A colour for each id, black where there is none."""
    ids = section[..., 0].astype(np.uint64)
    mixed = ids * np.uint64(0x9E3779B97F4A7C15)
    parts = [(mixed >> np.uint64(shift) & np.uint64(255)).astype(float) for shift in (24, 36, 48)]
    colours = 0.25 + 0.75 * np.stack(parts, axis=-1) / 255
    return np.where((ids != 0)[..., np.newaxis], colours, 0.0)
