"""The state that a review begins with: the data set, and over it a layer of points that can be edited."""

from __future__ import annotations

from typing import Any

from chunkflow.people.review.objects import TableObjects
from chunkflow.people.viewing.state import PANEL, ViewerState, class_colours

LAYER = "review"
STATUSES = ("undecided", "accepted", "rejected")
DIAMETERS = 15
"""So many objects side by side fill a panel."""
VOXELS = 100
"""A panel shows so many where the size of objects is not known."""
SHADER = """#uicontrol float size slider(min=2, max=30, default=9)
{controls}
void main() {{
{lines}
  if (prop_status() == 2u) colour = vec3(0.5);
  bool chosen = prop_chosen() == 1u;
  float scale = (chosen ? 1.7 : 1.0) * (PROJECTION_VIEW ? 0.6 : 1.0);
  setPointMarkerSize(size * scale);
  setPointMarkerColor(vec4(colour, prop_status() == 1u ? 0.85 : 0.1));
  setPointMarkerBorderWidth(chosen ? 3.0 : 1.5);
  setPointMarkerBorderColor(vec4(chosen ? vec3(1.0) : colour, 1.0));
}}
"""
"""Accepted points are filled with the colour of their class, undecided ones are rings, rejected ones grey;
the one that is looked at is large and white at its border."""


def review_state(state: ViewerState, objects: TableObjects) -> ViewerState:
    """The state of a data set with a layer for the review; annotations of the job are hidden."""
    layers = [
        layer | {"visible": False} if layer["type"] == "annotation" else layer for layer in state["layers"]
    ]
    return state | {
        "crossSectionScale": min(state["crossSectionScale"], _close(state, objects)),
        "layers": [*layers, review_layer(objects)],
        "selectedLayer": {"layer": LAYER, "visible": False},
    }


def _close(state: ViewerState, objects: TableObjects) -> float:
    """The size of a pixel, in the smallest side of a voxel, at which objects are well seen."""
    smallest = min(scale for scale, _ in state["dimensions"].values()) * 1e6
    shown = DIAMETERS * objects.diameter / smallest if objects.diameter else VOXELS
    return float(shown / PANEL)


def review_layer(objects: TableObjects) -> dict[str, Any]:
    """A layer without points, which the page fills; Control+click adds one."""
    scales = [float(f"{size * 1e-9:.12g}") for size in objects.info.voxel_size]
    dimensions = {axis: [scale, "m"] for axis, scale in zip("xyz", scales, strict=True)}
    classes = _enumeration("class", ["none", *objects.classes])
    controls, lines = class_colours(classes)
    return {
        "type": "annotation",
        "name": LAYER,
        "source": {"url": "local://annotations", "transform": {"outputDimensions": dimensions}},
        "tool": "annotatePoint",
        "annotations": [],
        "annotationProperties": [
            _enumeration("status", STATUSES),
            classes,
            {"id": "chosen", "type": "uint8", "default": 0},
        ],
        "shader": SHADER.format(controls="\n".join(controls), lines="\n".join(f"  {line}" for line in lines)),
    }


def _enumeration(name: str, labels: tuple[str, ...] | list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "type": "uint16",
        "default": 0,
        "enum_values": list(range(len(labels))),
        "enum_labels": list(labels),
    }
