"""The cells of a synthetic block of brain tissue: the same ones whichever box of it is asked for.

1. Space is cut into cubes of 32 µm counted from nanometre 0. A hash of the seed and the cube gives each a few
   sites: single cells, or two that touch.
2. Sites that would overlap compete: one is dropped if a site near it has the higher priority, itself
   dropped or not, so that only the cubes next to it need to be known.
3. What a cell is follows from a hash of its own: neurons (kind 0) are larger, paler and smoother, glia
   (kind 1) smaller, brighter and grainier, as a DNA stain shows them. Each of the three is drawn from a
   bell curve, and those of the two kinds overlap: who knew radius, brightness and grain of every cell, and
   the curves, would tell the kinds apart with an area under the ROC curve of 0.988. Some neurons are
   active, and a sixth of that share of the glia.

All of it is integer arithmetic (nanometres, thousandths), and square roots, which every processor rounds
alike: exp, log and sums in floating point may differ in their last bit, and a voxel with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.hashing import bell, draw, hash_of, hash_of_place

Cells = NDArray[np.int64]
"""One row a cell, with the columns X to KEY: centre and radius in nanometres, kind, whether
active, widths in thousandths, grey values in both channels, depth of its texture in thousandths, and the
texture's key."""
X, Y, Z, RADIUS, KIND, ACTIVE, WIDE_X, WIDE_Y, WIDE_Z, DAPI, CFOS, GRAIN, KEY = range(13)
COLUMNS = 13
KINDS = ("neuron", "glia")

_CUBE = 32_000  # nm; more than two sites' reach and the gap, so that only adjacent cubes compete
_GAP = 2_000  # nm between the cells of two sites, at least
_NEAR = 16_000  # nm from a site's centre to the furthest voxel that its cells can light, rounded up
# mm³ that a site keeps others out of: one cell, and how much more two that touch; measured
_KEPT_OUT, _KEPT_OUT_BY_TWO = 6.0e-6, 1.5e-5
# Middle and deviation by kind: radius in nm, grey value of the stain, depth of the texture in thousandths
RADIUS_CURVES = ((4_800, 450), (4_150, 420))
BRIGHT_CURVES = ((1_050, 140), (1_450, 200))
GRAIN_CURVES = ((350, 110), (550, 140))
_GLIA_ACTIVE = 6  # times less often than neurons


@dataclass(frozen=True)
class Tissue:
    """What the block is made of; lengths in nanometres, shares in thousandths."""

    seed: int
    start: tuple[int, int, int]
    """The volume's first voxel."""
    size: tuple[int, int, int]
    voxel: tuple[int, int, int]
    sites: int
    """Thousandths of a site in a cube of 32 µm, before those that overlap are dropped."""
    glia: int
    active: int
    touching: int
    """Share of the sites that are two cells."""
    noise: int
    """Thousandths of the square root of the grey value."""


def sites_for_density(cells_per_mm3: float, touching: float) -> int:
    """Thousandths of a site a cube that leave about so many cells once overlapping sites are dropped;
    `touching` is the share of sites that are two cells."""
    kept_out = _KEPT_OUT + _KEPT_OUT_BY_TWO * touching
    share = cells_per_mm3 / (1 + touching) * kept_out
    if not 0 <= share <= 0.8:
        raise ValueError(f"{cells_per_mm3:g} cells a mm³ do not fit without overlapping")
    # Of x sites in the space that one of them keeps others out of, 1 - exp(-x) stay: x is found by the
    # series of the logarithm, which is the same on every machine.
    made = sum(share**n / n for n in range(1, 80)) / kept_out
    return round(made * (_CUBE / 1e6) ** 3 * 1000)


def cells_near(tissue: Tissue, start: Sequence[int], stop: Sequence[int]) -> Cells:
    """The cells that can light a voxel of the box, in no particular order; all centres lie in the volume."""
    voxel = tissue.voxel
    low = [(a * v - _NEAR) // _CUBE - 1 for a, v in zip(start, voxel, strict=True)]
    high = [(b * v + _NEAR) // _CUBE + 2 for b, v in zip(stop, voxel, strict=True)]
    shape = (high[0] - low[0], high[1] - low[1], high[2] - low[2])
    cubes = np.array(low, np.int64)
    sites, keys, first = _draw_sites(
        np.uint64(tissue.seed), cubes, shape, tissue.sites, tissue.glia, tissue.touching
    )
    cells = _draw_cells(sites, keys, _kept(sites, keys, first, shape), tissue.glia, tissue.active)
    centres = centre_voxels(tissue, cells)
    first_voxel = np.array(tissue.start)
    inside = ((centres >= first_voxel) & (centres < first_voxel + np.array(tissue.size))).all(axis=1)
    near = np.ones(len(cells), bool)
    for axis in range(3):
        place = cells[:, axis]
        near &= (place > start[axis] * voxel[axis] - _NEAR) & (place < stop[axis] * voxel[axis] + _NEAR)
    chosen: Cells = cells[inside & near]
    return chosen


def centre_voxels(tissue: Tissue, cells: Cells) -> NDArray[np.int64]:
    """The voxels (rows of x, y, z) that the cells' centres lie in."""
    centres: NDArray[np.int64] = cells[:, :3] // np.array(tissue.voxel)
    return centres


@compiled
def _kind(key: Any, glia: Any) -> Any:
    return 1 if draw(key, 1, 0, 1000) < glia else 0


@compiled
def _radius(key: Any, glia: Any) -> Any:
    return _bell(key, 2, RADIUS_CURVES[_kind(key, glia)])


@compiled
def _bell(key: Any, n: Any, curve: Any) -> Any:
    """The nth number of a key on a bell curve, at most 3.4 deviations from its middle."""
    return curve[0] + bell(hash_of(key, n)) * curve[1] // 148


@compiled
def _draw_sites(seed: Any, cubes: Any, shape: Any, count: Any, glia: Any, touching: Any) -> Any:
    """The sites of all cubes, in the cubes' order: x, y, z, reach, whether they are two cells; their keys."""
    most = shape[0] * shape[1] * shape[2] * (count // 1000 + 1)
    sites, keys = np.empty((most, 5), np.int64), np.empty(most, np.uint64)
    first = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int64)
    made, cube = 0, 0
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                key = hash_of_place(seed, cubes[0] + i, cubes[1] + j, cubes[2] + k)
                for n in range((count + draw(key, 0, 0, 1000)) // 1000):
                    own = hash_of(key, n + 1)
                    sites[made, 0] = (cubes[0] + i) * _CUBE + draw(own, 1, 0, _CUBE)
                    sites[made, 1] = (cubes[1] + j) * _CUBE + draw(own, 2, 0, _CUBE)
                    sites[made, 2] = (cubes[2] + k) * _CUBE + draw(own, 3, 0, _CUBE)
                    one, two = _radius(hash_of(own, 10), glia), _radius(hash_of(own, 11), glia)
                    pair = draw(own, 4, 0, 1000) < touching
                    sites[made, 3] = (one + two) // 2 + max(one, two) if pair else one
                    sites[made, 4] = pair
                    keys[made] = own
                    made += 1
                cube += 1
                first[cube] = made
    return sites[:made], keys[:made], first


@compiled
def _kept(sites: Any, keys: Any, first: Any, shape: Any) -> Any:
    """Which sites of the inner cubes stay; those of the outermost cubes only compete."""
    kept = np.zeros(len(sites), np.bool_)
    for i in range(1, shape[0] - 1):
        for j in range(1, shape[1] - 1):
            for k in range(1, shape[2] - 1):
                cube = (i * shape[1] + j) * shape[2] + k
                for one in range(first[cube], first[cube + 1]):
                    kept[one] = not _beaten(one, sites, keys, first, shape, i, j, k)
    return kept


@compiled
def _beaten(one: Any, sites: Any, keys: Any, first: Any, shape: Any, i: Any, j: Any, k: Any) -> Any:
    for a in range(i - 1, i + 2):
        for b in range(j - 1, j + 2):
            for c in range(k - 1, k + 2):
                cube = (a * shape[1] + b) * shape[2] + c
                for two in range(first[cube], first[cube + 1]):
                    if keys[two] <= keys[one]:  # a key is a hash: it serves as the priority, too
                        continue
                    apart = sites[one, 3] + sites[two, 3] + _GAP
                    distance = 0
                    for axis in range(3):
                        distance += (sites[one, axis] - sites[two, axis]) ** 2
                    if distance < apart * apart:
                        return True
    return False


@compiled
def _draw_cells(sites: Any, keys: Any, kept: Any, glia: Any, active: Any) -> Any:
    """One row for each cell of the sites that stay; two that touch lie on a line of random direction."""
    cells, made = np.zeros((2 * len(sites), COLUMNS), np.int64), 0
    for site in range(len(sites)):
        if not kept[site]:
            continue
        key = keys[site]
        for n in range(1 + sites[site, 4]):
            own = hash_of(key, 10 + n)
            _fill(cells[made], own, glia, active)
            if sites[site, 4]:
                other = _radius(hash_of(key, 11 - n), glia)
                apart = (cells[made, RADIUS] + other) * draw(key, 5, 950, 1050) // 1000
                dx, dy, dz = (draw(key, 6, -500, 501), draw(key, 7, -500, 501), draw(key, 8, 1, 501))
                length = np.int64(np.sqrt(np.float64(dx * dx + dy * dy + dz * dz) * 1e6))
                half = (apart // 2) * (1 - 2 * n)
                cells[made, X], cells[made, Y] = half * dx * 1000 // length, half * dy * 1000 // length
                cells[made, Z] = half * dz * 1000 // length
            for axis in range(3):
                cells[made, axis] += sites[site, axis]
            made += 1
    return cells[:made]


@compiled
def _fill(cell: Any, key: Any, glia: Any, active: Any) -> None:
    """What a cell is, all but its place."""
    kind = _kind(key, glia)
    cell[KIND], cell[RADIUS] = kind, _radius(key, glia)
    share = active if kind == 0 else active // _GLIA_ACTIVE
    cell[ACTIVE] = 1 if draw(key, 3, 0, 1000) < share else 0
    for axis in range(3):
        cell[WIDE_X + axis] = draw(key, 4 + axis, 900, 1100)
    cell[DAPI] = _bell(key, 7, BRIGHT_CURVES[kind])
    cell[GRAIN] = _bell(key, 10, GRAIN_CURVES[kind])
    cell[CFOS] = draw(key, 8, 700, 1800) if cell[ACTIVE] else draw(key, 8, 10, 40)
    cell[KEY] = np.int64(hash_of(key, 9) >> np.uint64(1))
