"""Files of microscopes: Zeiss .czi, Nikon .nd2 and Leica .lif, read plane by plane by a library for each.

The libraries are the extra `microscopes`. FILE:NAME names one of several images in a .lif, a scene of a .czi
or a position of an .nd2 by its number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.extras import optional_import
from chunkflow.formats.stacks.arrays import chosen
from chunkflow.formats.stacks.axes import Axes
from chunkflow.formats.stacks.facts import Facts, sizes_of
from chunkflow.formats.stacks.stack import refuse_unreadable
from chunkflow.geometry import Box, Vec

Plane = Callable[[int, int, Box], Array]
"""The voxels x, y of a section of the plane z, in a channel."""
CZI_TYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}
CZI_TILE = 2048
"""About the largest tile of a .czi, which says nothing of them beforehand."""


class PlanesStack:
    """Planes that a library gives one at a time."""

    def __init__(
        self,
        path: Path,
        shape: tuple[Vec, int],
        dtype: str,
        facts: Facts,
        opened: Callable[[], AbstractContextManager[Plane]],
        block: Vec | None = None,
    ) -> None:
        """`shape` is the size and the channels; `block` what of a plane is decoded at once, if not all."""
        self.path, self.dtype, self.facts, self._opened = path, dtype, facts, opened
        self.size, self.channels = shape
        self.block: Vec = block or (*self.size[:2], 1)

    def check(self) -> None:
        """The last plane can only be read of a file that is whole."""
        x, y, z = self.size
        for k in (0, z - 1):
            refuse_unreadable(self, Box((x - 1, y - 1, k), (x, y, k + 1)))

    def read(self, box: Box, channel: int | None = None) -> Array:
        wanted = range(self.channels) if channel is None else [channel]
        result = np.empty((*box.size, len(wanted)), dtype=self.dtype, order="F")
        section = Box((box.start[0], box.start[1], 0), (box.stop[0], box.stop[1], 1))
        try:
            with self._opened() as plane:
                for k in range(box.size[2]):
                    for number, c in enumerate(wanted):
                        result[:, :, k, number] = plane(box.start[2] + k, c, section)
        except (OSError, ValueError, RuntimeError, KeyError, IndexError, EOFError) as error:
            raise DamagedInput(f"{self.path}: {box} cannot be read: {error}") from error
        return result


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """What the libraries raise on a file that is damaged, as one sentence."""
    try:
        yield
    except Exception as error:
        raise BadInput(f"{path} is damaged or no {path.suffix} file: {error}.") from error


def one_of(path: Path, name: str, count: int, what: str) -> int:
    """The number of a scene or position."""
    if not name and count == 1:
        return 0
    if not name.isdecimal() or int(name) >= count:
        raise BadInput(f"{path} holds {count} {what}: say which one from 0, as in {path}:0.")
    return int(name)


def open_czi(path: Path, name: str, axes: str, time: int | None) -> PlanesStack:
    """A scene of a .czi, its tiles merged."""
    czi = optional_import("pylibCZIrw.czi", f"Reading {path}")
    with whole(path), czi.open_czi(str(path)) as document:
        extent = document.total_bounding_box_no_pyramid
        scenes = document.scenes_bounding_rectangle_no_pyramid
        types = document.pixel_types
        root = ElementTree.fromstring(document.raw_metadata)
        frame = document.total_bounding_rectangle_no_pyramid
    scene = sorted(scenes)[one_of(path, name, len(scenes), "scenes")] if scenes else None
    left, top, width, height = frame if scene is None else scenes[scene]
    length = {axis: extent.get(axis, (0, 1)) for axis in "TZC"}
    t, z, c = (stop - start for start, stop in length.values())
    moment = Axes.of(path, "tzyx", (t, z, height, width), time).time
    if len(set(types.values())) != 1 or types[0] not in CZI_TYPES:
        raise BadInput(f"{path} holds {', '.join(types.values())}; {', '.join(CZI_TYPES)} can be read.")

    @contextmanager
    def opened() -> Iterator[Plane]:
        with czi.open_czi(str(path)) as document:

            def plane(k: int, channel: int, section: Box) -> Array:
                (x, y, _), (wide, high, _) = section.start, section.size
                roi = (left + x, top + y, wide, high)
                at = {"T": length["T"][0] + moment, "Z": length["Z"][0] + k, "C": length["C"][0] + channel}
                found: Array = document.read(roi=roi, plane=at, scene=scene)
                return found[..., 0].T

            yield plane

    block = (min(CZI_TILE, width), min(CZI_TILE, height), 1)
    return PlanesStack(
        path, ((width, height, z), c), CZI_TYPES[types[0]], _czi_facts(root, z, c), opened, block
    )


def _czi_facts(root: ElementTree.Element, planes: int, channels: int) -> Facts:
    """Distances are in metres; a single plane has none along z."""
    told = {item.get("Id"): item.findtext("Value") for item in root.findall(".//Scaling/Items/Distance")}
    sizes = [told.get(axis) for axis in "XYZ"]
    named = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = tuple(channel.get("Name") or "" for channel in named)
    return Facts(sizes_of(sizes, ["m"] * 3), names=names if len(names) == channels else ())


def open_nd2(path: Path, name: str, axes: str, time: int | None) -> PlanesStack:
    """A position of an .nd2."""
    nd2 = optional_import("nd2", f"Reading {path}")
    with whole(path), nd2.ND2File(path) as file:
        sizes, dtype = dict(file.sizes), str(file.dtype)
        frames = file.attributes.sequenceCount
        found = file.metadata.channels or []
        names = tuple(str(channel.channel.name) for channel in found)
        volume = found[0].volume if found else None
    loops = [axis for axis in sizes if axis not in "CYXS"]
    position = one_of(path, name, sizes.get("P", 1), "positions")
    x, y, z = (sizes.get(axis, 1) for axis in "XYZ")
    inner = (sizes.get("C", 1), sizes.get("S", 1))
    moment = Axes.of(path, "tzyx", (sizes.get("T", 1), z, y, x), time).time
    shape = [sizes[axis] for axis in loops]
    if not set(loops) <= set("TPZ") or frames < np.prod(shape):
        raise BadInput(
            f"{path} holds {frames} planes of the {int(np.prod(shape))} that its loops {sizes} need."
        )

    @contextmanager
    def opened() -> Iterator[Plane]:
        with nd2.ND2File(path) as file:

            def plane(k: int, channel: int, section: Box) -> Array:
                at = {"T": moment, "P": position, "Z": k}
                number = np.ravel_multi_index([at[axis] for axis in loops], shape) if loops else 0
                frame = file.read_frame(int(number)).reshape((inner[0], y, x, inner[1]))
                rows, columns = section.slices((0, 0, 0))[1::-1]
                part: Array = frame[channel // inner[1], rows, columns, channel % inner[1]]
                return part.T

            yield plane

    size = None
    if volume is not None and all(volume.axesCalibrated):
        size = sizes_of(list(volume.axesCalibration), ["um"] * 3)
    channels = inner[0] * inner[1]
    facts = Facts(size, names=names if len(names) == channels else ())
    return PlanesStack(path, ((x, y, z), channels), dtype, facts, opened)


def open_lif(path: Path, name: str, axes: str, time: int | None) -> PlanesStack:
    """One image of a .lif, the only volume if it has no other; tiles must have been merged."""
    reader = optional_import("readlif.reader", f"Reading {path}")
    with whole(path), warnings.catch_warnings(action="ignore"):
        images = {image.name: image for image in reader.LifFile(path).get_iter_image()}
    image = images[chosen(path, name, {n: (i.dims.z, i.dims.y, i.dims.x) for n, i in images.items()})]
    x, y, z, t, tiles = (int(n) for n in image.dims)
    moment = Axes.of(path, "tzyx", (t, z, y, x), time).time
    if tiles > 1 or image.display_dims != (1, 2):
        raise BadInput(f"{path}: {image.name} is {tiles} tiles, or no planes x, y: merge it first.")
    start, length = image.offsets  # no length is what readlif gives of an image that is cut off
    if not length or start + length > path.stat().st_size:
        raise BadInput(f"{path} is cut short: {image.name} is not whole.")

    @contextmanager
    def opened() -> Iterator[Plane]:
        def plane(k: int, channel: int, section: Box) -> Array:
            columns, rows, _ = section.slices((0, 0, 0))
            frame: Array = np.asarray(image.get_frame(z=k, t=moment, c=channel))
            return frame[rows, columns].T

        yield plane

    sizes = [abs(1 / scale) if scale else None for scale in image.scale[:3]]
    dtype = "uint8" if image.bit_depth[0] == 8 else "uint16"
    facts = Facts(sizes_of(sizes, ["um"] * 3))
    return PlanesStack(path, ((x, y, z), int(image.channels)), dtype, facts, opened)
