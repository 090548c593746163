"""Settings of inference: what decides a result beside the model, the images and the size of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
DeviceKind = Literal["cpu", "cuda"]
Flips = Literal["none", "xy", "xyz"]

FLIPPED: dict[Flips, tuple[int, ...]] = {"none": (), "xy": (0, 1), "xyz": (0, 1, 2)}
"""The axes along which patches are flipped."""
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "tf32": 0.03, "bf16": 0.03, "fp16": 0.03}
"""How much of its range the test of a model may differ by, where the device is right."""
HALF = ("bf16", "fp16")


@dataclass(frozen=True)
class InferenceSetting:
    """DeviceKind, precision, number of threads and flips."""

    device: DeviceKind = "cpu"
    precision: Precision = "fp32"
    threads: int = 1
    flips: Flips = "none"
    compiled: bool = False


def flips_of(flips: Flips) -> list[tuple[int, ...]]:
    """All combinations of the axes along which patches are flipped, none at first."""
    axes = FLIPPED[flips]
    return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]
