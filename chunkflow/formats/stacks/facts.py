"""What a file says of itself beside its voxels: their size, where they lie, the names of its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chunkflow.errors import BadInput
from chunkflow.geometry import Vec, VoxelSize

_UNITS = {
    1e-1: ("å", "angstrom", "angstroms", "ångström"),
    1.0: ("nm", "nanometer", "nanometre", "nanometers", "nanometres"),
    1e3: ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"),
    1e6: ("mm", "millimeter", "millimetre", "millimeters", "millimetres"),
    1e7: ("cm", "centimeter", "centimetre", "centimeters", "centimetres"),
    1e9: ("m", "meter", "metre", "meters", "metres"),
}
NANOMETRES = {name: factor for factor, names in _UNITS.items() for name in names}


def nanometres(unit: object) -> float | None:
    """How many nanometres a unit is; None where it is none that is known."""
    text = str(unit).strip().replace("\\u00B5", "µ")
    return NANOMETRES.get(text) or NANOMETRES.get(text.lower())


@dataclass(frozen=True)
class Facts:
    """What a file says of itself; nothing where it does not."""

    voxel_size: VoxelSize | None = None
    """Nanometres along x, y, z, as the file has it, sensible or not."""
    offset: Vec = (0, 0, 0)
    """The first voxel, counted in voxels from the origin of space."""
    names: tuple[str, ...] = ()
    """The channels, in their order."""


def sizes_of(values: Sequence[object], units: Sequence[object]) -> VoxelSize | None:
    """Voxel sizes x, y, z in nanometres; None where a number or a unit is not given."""
    factors = [nanometres(unit) for unit in units]
    if len(values) != 3 or len(factors) != 3:
        return None
    found = []
    for value, factor in zip(values, factors, strict=True):
        if value is None or factor is None:
            return None
        try:
            number = float(str(value)) * factor
        except ValueError:
            return None
        found.append(round(number, 6) if math.isfinite(number) else number)
    return found[0], found[1], found[2]


def is_sensible(size: VoxelSize) -> bool:
    return all(math.isfinite(s) and 0 < s < 1e9 for s in size)


def size_of_voxels(source: str, facts: Facts, given: VoxelSize | None) -> VoxelSize:
    """Nanometres along x, y, z: as given, else as the source says, where that can be."""
    if given is not None:
        return given
    found = facts.voxel_size
    ask = "give voxel_size along x, y, z, as in 0.227,0.227,1um."
    if found is None:
        raise BadInput(f"{source} does not say how large its voxels are: {ask}")
    if not is_sensible(found):
        raise BadInput(f"{source} says that its voxels are {found} nm large, which cannot be: {ask}")
    return found


def offset_of(place: Sequence[float], size: VoxelSize | None) -> Vec:
    """The whole voxel nearest to a place in nanometres; 0 where the sizes or the place are no numbers."""
    if size is None or not is_sensible(size) or not all(math.isfinite(p) for p in place):
        return 0, 0, 0
    x, y, z = (round(p / s) for p, s in zip(place, size, strict=True))
    return x, y, z
