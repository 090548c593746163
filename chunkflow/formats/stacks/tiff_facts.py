"""What a TIFF says of its voxels: OME-XML, or ImageJ's tags; other TIFFs know no distance of planes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import tifffile

from chunkflow.formats.stacks.facts import Facts, sizes_of
from chunkflow.geometry import vec

OFFSET = re.compile(r"voxel_offset=(-?\d+),(-?\d+),(-?\d+)")
"""How an exported layer tells in its description where it begins."""


def facts_of(file: tifffile.TiffFile, channels: int) -> Facts:
    description = str(file.pages[0].description)
    found = OFFSET.search(description)
    offset = vec(found.groups()) if found else (0, 0, 0)
    if file.is_ome:
        return _of_ome(file, offset, channels)
    if file.is_imagej:
        return _of_imagej(file, offset, channels)
    return Facts(offset=offset)


def _of_ome(file: tifffile.TiffFile, offset: tuple[int, int, int], channels: int) -> Facts:
    try:
        root = ElementTree.fromstring(file.ome_metadata or "")
    except ElementTree.ParseError:
        return Facts(offset=offset)
    pixels = root.find(".//{*}Image/{*}Pixels")
    if pixels is None:
        return Facts(offset=offset)
    sizes = [pixels.get(f"PhysicalSize{axis}") for axis in "XYZ"]
    units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XYZ"]
    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    return Facts(sizes_of(sizes, units), offset, names if len(names) == channels else ())


def _of_imagej(file: tifffile.TiffFile, offset: tuple[int, int, int], channels: int) -> Facts:
    """ImageJ keeps pixels for each unit in tags, and the distance of planes in its description."""
    tags, said = file.pages[0].tags, file.imagej_metadata or {}
    sizes: list[object] = []
    for name in ("XResolution", "YResolution"):
        tag = tags.get(name)
        pixels, units = tag.value if tag is not None else (0, 0)
        sizes.append(units / pixels if pixels else None)
    sizes.append(said.get("spacing"))
    labels = [str(label) for label in said.get("Labels") or []]
    names = tuple(labels) if len(labels) == channels > 1 else ()
    return Facts(sizes_of(sizes, [said.get("unit", "")] * 3), offset, names)
