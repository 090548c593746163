"""Thumbnails of data sets: the middle section of a coarse mip, in the contrast of the viewer.

They are kept in the user's cache, under a name that follows from what they show, so that several processes
and the next start have them at once.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
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
from chunkflow.people.viewing.looks import Shown
from chunkflow.people.viewing.state import COLOURS, GREY

WIDTH = 320
"""Pixels of the longer side."""
LARGEST = 1024
"""Voxels of a section's side that are read at most: of a layer without coarse mips the middle is shown."""
Pixels = npt.NDArray[np.float64]


def thumbnail(shown: Sequence[Shown], cache: Path | None = None) -> bytes | None:
    """A PNG of the first image of a data set, else of its first labels; None where there is neither."""
    layers = [layer for layer in shown if layer.kind in ("image", "segmentation")]
    layer = next((layer for layer in layers if layer.kind == "image"), layers[0] if layers else None)
    if layer is None:
        return None
    folder = cache or Path.home() / ".cache" / "chunkflow" / "thumbnails"
    said = json.dumps([layer.url, dict(layer.info), layer.contrast, layer.ids[:8]], default=str)
    file = folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.png"
    with suppress(OSError):
        return file.read_bytes()
    try:
        content = _drawn(layer)
    except ChunkflowError:  # it is still being made, or storage is away: another time
        return None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, content)
    return content


def _drawn(layer: Shown) -> bytes:
    section, voxel_size = _section(layer)
    colours = _of_image(section, layer) if layer.kind == "image" else _of_labels(section)
    pixels = (255 * np.clip(colours, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2)))
    size = np.array(section.shape[:2]) * voxel_size[:2]
    width, height = (max(round(WIDTH * float(n / size.max())), 1) for n in size)
    buffer = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BILINEAR).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


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


def _of_image(section: Array, layer: Shown) -> Pixels:
    colours = (
        [GREY]
        if len(layer.contrast) == 1
        else [COLOURS[n % len(COLOURS)] for n in range(len(layer.contrast))]
    )
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
