"""NIfTI: x, y, z as they are stored, whichever way the brain lay; .nii is mapped, .nii.gz first unpacked."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.formats.stacks.arrays import ArrayStack, PackedStack
from chunkflow.formats.stacks.axes import Axes
from chunkflow.formats.stacks.facts import Facts, nanometres, offset_of, sizes_of
from chunkflow.formats.stacks.stack import Stack
from chunkflow.geometry import Box

UNITS = {"meter": "m", "mm": "mm", "micron": "um"}


def open_nifti(path: Path, name: str, axes: str, time: int | None) -> Stack:
    nibabel = optional_import("nibabel", f"Reading {path}")
    malformed = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)
    try:
        image: Any = nibabel.load(path)
    except (*malformed, OSError, EOFError, ValueError, zlib.error) as error:
        raise BadInput(f"{path} is damaged or no NIfTI: {error}.") from error
    header, voxels = (
        image.header,
        image.dataobj,
    )  # which knows the offset and scale; the header, once read, does not
    shape = tuple(int(n) for n in voxels.shape)
    order = Axes.of(path, axes or "xyztc"[: len(shape)], shape, time)
    layout = {
        "shape": shape,
        "dtype": header.get_data_dtype(),
        "offset": int(voxels.offset),
        "order": "F",
    }
    stack = _packed(path, order, facts_of(header), layout)
    scaled = (voxels.slope, voxels.inter) != (1.0, 0.0)
    return ScaledStack(stack, voxels.slope, voxels.inter) if scaled else stack


def _packed(path: Path, order: Axes, facts: Facts, layout: dict[str, Any]) -> Stack:
    if path.name.lower().endswith(".gz"):
        return PackedStack(path, order, facts, lambda: cast("IO[bytes]", gzip.open(path)), layout)
    needed = layout["offset"] + int(np.prod(order.shape)) * layout["dtype"].itemsize
    if path.stat().st_size < needed:
        raise BadInput(f"{path} is cut short: it has {path.stat().st_size:,} bytes of {needed:,}.")
    return ArrayStack(path, np.memmap(os.fspath(path), mode="r", **layout), order, facts)


def facts_of(header: Any) -> Facts:
    """The sizes of voxels; and where the first one lies, if no axis is turned or mirrored."""
    unit = UNITS.get(header.get_xyzt_units()[0], "")
    # float32's shortest decimal: 0.000227 mm is 227 nm, not 226.99999
    zooms = [str(np.float32(zoom)) for zoom in header.get_zooms()[:3]]
    zooms += [zooms[-1]] * (3 - len(zooms))
    size = sizes_of(zooms, [unit] * 3)
    affine = header.get_best_affine()
    turned = (affine[:3, :3] != np.diag(np.diag(affine[:3, :3]))).any() or (np.diag(affine) <= 0).any()
    told = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    factor = nanometres(unit)
    if turned or not told or factor is None:
        return Facts(size)
    return Facts(size, offset_of([float(p) * factor for p in affine[:3, 3]], size))


class ScaledStack:
    """Voxels that the header says to multiply and shift, which makes them float32."""

    dtype = "float32"

    def __init__(self, stack: Stack, slope: float, intercept: float) -> None:
        self._stack, self._slope, self._intercept = stack, slope, intercept
        self.size, self.channels, self.block = stack.size, stack.channels, stack.block
        self.facts = stack.facts

    def check(self) -> None:
        self._stack.check()

    def read(self, box: Box, channel: int | None = None) -> Array:
        values = self._stack.read(box, channel).astype("float64")
        return np.asfortranarray((values * self._slope + self._intercept).astype("float32"))
