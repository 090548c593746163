"""Nuclei: a difference of Gaussians, then a watershed by steepest ascent.

1. `prepare` decides the threshold once, from the peaks and the noise in a fixed sample of the whole volume.
2. The response is computed for as much of the window as the window determines.
3. Every voxel above the threshold climbs to its peak; the peak names it.
4. Where a path or a small object goes on beyond the window, the engine is asked for a larger one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor, prod
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.images.gaussian import (
    blob_sigma,
    difference_of_gaussians,
    filter_radius,
    white_noise_gain,
)
from chunkflow.kernels.images.threshold import (
    BLOCK_DIAMETERS,
    PEAK_RATIO,
    SampledBlock,
    decide_threshold,
    sample_block,
)
from chunkflow.kernels.objects.watershed import steepest_ascent
from chunkflow.task import Cell, Counts, Image, Labels, Layout, Out, Task, WindowTooSmall

FEW_NUCLEI = 10
GUESS = "so the automatic threshold is a guess: look at a part (box), and give `threshold`"
SORT = (
    "{above} peaks of the sample were taken for nuclei, of which a third or more may be none. Let `classify` "
    "sort them, or tune `segment` on some 20 marked nuclei"
)
DOUBTS = {
    "apart": f"only {{above}} nuclei stand out in the sample, {GUESS}",
    "mixed": f"nuclei do not stand apart from other bright spots, so no threshold tells them well: {SORT}",
    "uneven": f"some spots are far brighter than the rest, so no threshold tells nuclei well: {SORT}",
    "dense": "hardly a peak stands out, though the image is more than noise: nuclei touch, or have another "
    "`diameter`. Tune `segment` on some 20 marked nuclei, or give `threshold`",
    "none": f"the sample is as uneven as the noise of single voxels makes it, {GUESS}",
}
"""Why the classes of peaks leave the threshold in doubt, and what to do."""
SAMPLE_BOXES = 64
SAMPLE_VOXELS = 2**27
LARGEST_BOX = 2**24
ONE_VOXEL: Vec = (1, 1, 1)


class Segment(Task):
    """Label every nucleus of `image`; a nucleus is named by the voxel of its peak.

    The image is filtered for blobs of the diameter given (a difference of Gaussians, by the size of the
    voxels along each axis), and the response is cut into objects by watershed. A nucleus is a voxel whose
    response is a local maximum of at least `contrast`, and all above `threshold` from which one gets there by
    climbing. With `threshold: auto` both are decided once for the whole volume, from a sample of it, and
    recorded. Where the peaks of the sample fall into two classes, nuclei and all else, they are cut between
    the two; else at five times the noise, and a warning says why the threshold is in doubt, and what to do:
    nuclei do not stand apart from other bright spots (`classes: mixed`), some are far brighter than the rest
    (`uneven`), they touch (`dense`), or there are none (`none`).
    """

    connected: ClassVar[bool] = True
    working_bytes: ClassVar[float] = 20.0

    image: Image = Field(description="the image, best one in which nuclei are bright")
    labels: Labels = Out("the nuclei, uint64")
    diameter: float = Field(8.0, gt=0, description="of a nucleus, micrometres")
    threshold: float | Literal["auto"] = Field(
        "auto", description="least response of a voxel that belongs to a nucleus, in grey values"
    )
    contrast: float | None = Field(
        None, ge=0, description="least response at the peak of a nucleus; twice the threshold if left out"
    )
    reach: float = Field(
        2.0,
        gt=0,
        le=20,
        description="how far from its peak a nucleus may extend along each axis, in diameters",
    )
    minimum_volume: float = Field(0.0, ge=0, description="smaller nuclei are left out, cubic micrometres")
    channel: int = Field(0, ge=0, description="which channel, where the image has several")

    def result_version(self) -> int:
        """2 with an automatic threshold, which is decided by another rule than before."""
        return 2 if self.threshold == "auto" else 1

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        layout.refuse_channel("segment", "image", self.image, self.channel)
        return super().outputs(layout)

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        """One diameter is enough for nearly every window; twice the reach always is."""
        radius = filter_radius(self._sigma(voxel_size))
        reach = self._reach(voxel_size)
        near = [
            min(ceil(self.diameter * 1000 / size), far) for size, far in zip(voxel_size, reach, strict=True)
        ]
        return [
            vec(r + n + 1 for r, n in zip(radius, near, strict=True)),
            vec(r + 2 * far + 1 for r, far in zip(radius, reach, strict=True)),
        ]

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        if self.threshold != "auto":
            return []
        radius = filter_radius(self._sigma(layout.main.voxel_size))
        volume = layout.main.volume
        return [
            ("image", box.grow(ONE_VOXEL).grow(radius).clip(volume)) for box in self._sample_boxes(layout)
        ]

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any] | None:
        if self.threshold != "auto":
            return None
        decision = decide_threshold(self._sampled(layout, samples))
        doubtful = decision.classes != "apart" or decision.above < FEW_NUCLEI
        return {
            "threshold": decision.threshold / PEAK_RATIO,
            "warning": DOUBTS[decision.classes].format(above=decision.above) if doubtful else "",
            "classes": decision.classes,
            "sampled_peaks": decision.peaks,
            "sampled_nuclei": decision.above,
            "noise": decision.noise,
            "separability": round(decision.separability, 3),
            "histogram": {"first": decision.first, "counts": decision.counts},
        }

    def _sampled(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> Iterator[SampledBlock]:
        """The blocks of the sample, and what the rule has to know of each."""
        gain = white_noise_gain(self._sigma(layout.main.voxel_size))
        for box, chunk in zip(self._sample_boxes(layout), samples, strict=True):
            seen = box.grow(ONE_VOXEL).clip(layout.main.volume)
            response = self._response(chunk, seen)
            for block in _cut(box, self._block(layout.main.voxel_size)):
                x, y, z = ((part.start, part.stop) for part in block.slices(seen.start))
                image = self._channel(chunk.crop(block))
                yield sample_block(image, response, (x, y, z), gain)

    def map(self, cell: Cell, image: Chunk) -> tuple[Chunk, Counts]:
        threshold = float(cell.values["threshold"]) if self.threshold == "auto" else self.threshold
        seen = determined(image.box, cell.volume, filter_radius(self._sigma(image.voxel_size)))
        if not seen.contains(cell.box):
            raise WindowTooSmall
        basins = steepest_ascent(
            self._response(image, seen),
            origin=seen.start,
            volume=(cell.volume.start, cell.volume.stop),
            core=(cell.box.start, cell.box.stop),
            threshold=threshold,
            contrast=PEAK_RATIO * threshold if self.contrast is None else self.contrast,
            reach=self._reach(image.voxel_size),
            minimum_volume=ceil(self.minimum_volume * 1e9 / prod(image.voxel_size)),
        )
        if basins is None:
            raise WindowTooSmall
        left_out = {
            "peaks too faint": basins.too_faint,
            "objects too small": basins.too_small,
            "voxels out of reach": basins.voxels_out_of_reach,
        }
        return Chunk(basins.labels, cell.box, image.voxel_size), Counts(left_out)

    def _response(self, image: Chunk, seen: Box) -> npt.NDArray[np.float32]:
        array = self._channel(image)
        x, y, z = ((part.start, part.stop) for part in seen.slices(image.box.start))
        response = difference_of_gaussians(array, self._sigma(image.voxel_size), (x, y, z))
        if array.dtype.kind == "f" and np.isnan(response).any():
            raise ValueError(f"the image has voxels that are not numbers within {image.box}")
        return response

    def _channel(self, image: Chunk) -> npt.NDArray[Any]:
        return image.array if image.array.ndim == 3 else image.array[..., self.channel]

    def _sigma(self, voxel_size: VoxelSize) -> tuple[float, float, float]:
        return blob_sigma(self.diameter * 1000, voxel_size)

    def _reach(self, voxel_size: VoxelSize) -> Vec:
        return vec(max(1, floor(self.reach * self.diameter * 1000 / size)) for size in voxel_size)

    def _block(self, voxel_size: VoxelSize) -> Vec:
        return vec(max(1, ceil(BLOCK_DIAMETERS * self.diameter * 1000 / size)) for size in voxel_size)

    def _sample_boxes(self, layout: Layout) -> list[Box]:
        """Boxes of two blocks along each axis, or of one where voxels are fine, spread evenly."""
        block = self._block(layout.main.voxel_size)
        side = block if 8 * prod(block) > LARGEST_BOX else vec(2 * n for n in block)
        wanted = min(max(SAMPLE_VOXELS // prod(side), 8), SAMPLE_BOXES)
        boxes = _cut(layout.main.volume, side)
        if len(boxes) <= wanted:
            return boxes
        return [boxes[(2 * n + 1) * len(boxes) // (2 * wanted)] for n in range(wanted)]


def determined(window: Box, volume: Box, radius: Vec) -> Box:
    """Where the response does not depend on what lies beyond the window. Beyond the volume is its mirror."""
    start = vec(
        a if a <= first else a + r for a, first, r in zip(window.start, volume.start, radius, strict=True)
    )
    stop = vec(b if b >= last else b - r for b, last, r in zip(window.stop, volume.stop, radius, strict=True))
    return Box(start, vec(max(a, b) for a, b in zip(start, stop, strict=True)))


def _cut(box: Box, side: Vec) -> list[Box]:
    """A box cut into equal ones of about the size `side`."""
    counts = [max(1, round(n / s)) for n, s in zip(box.size, side, strict=True)]
    edges = [
        [a + i * n // count for i in range(count + 1)]
        for a, n, count in zip(box.start, box.size, counts, strict=True)
    ]
    return [
        Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))
        for z in zip(edges[2], edges[2][1:], strict=False)
        for y in zip(edges[1], edges[1][1:], strict=False)
        for x in zip(edges[0], edges[0][1:], strict=False)
    ]
