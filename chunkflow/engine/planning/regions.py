"""Regions: what each step must make for a run on a part; found backwards, from what later steps read."""

from __future__ import annotations

from chunkflow.data.info import LayerInfo
from chunkflow.engine.planning.steps import Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, around, scaled


def regions_for(steps: list[Step], reference: LayerInfo, box: Box) -> list[Box]:
    """What each step must make for a run on `box`, in voxels of `reference`."""
    if not box.meets(reference.volume):
        raise BadInput(f"The box {box} lies outside the volume {reference.volume}.")
    regions = []
    for step in steps:
        size = next((p.info for p in step.outputs.values()), step.layout.main).voxel_size
        regions.append(scaled(box, reference.voxel_size, size).clip(step.volume))
    for step in reversed(steps):
        sampled = step.task.samples(step.layout) if step.task.prepare is not None else []
        for field, used in step.inputs.items():
            boxes = list(step.task.reads(field, regions[step.index], step.layout))[-1:]
            boxes += [sample for name, sample in sampled if name == field]
            for product in used:
                if product.maker is not None:
                    for need in boxes:
                        clipped = need.clip(product.info.volume)
                        if not clipped.empty:
                            regions[product.maker] = around((regions[product.maker], clipped))
    for step, region in zip(steps, regions, strict=True):
        if region.empty:
            raise BadInput(f"Task {step.name} makes nothing within the box {box}: it covers {step.volume}.")
    return regions
