"""The state of a review: the data set, all objects as points, a layer to edit those nearby."""

from __future__ import annotations

from typing import Any

from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.point_layer import point_properties
from chunkflow.people.viewing.state import PANEL, ViewerState, class_colours

LAYER = "review"
ALL_POINTS = "all"
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
  vec3 edge = chosen ? mix(colour, vec3(1.0), 0.6) : colour;
  setLineColor(vec4(edge, 1.0));
  setLineWidth(chosen ? 3.5 : 2.5);
  setEndpointMarkerSize(0.7 * size * scale);
  setEndpointMarkerColor(vec4(colour, prop_status() == 1u ? 0.85 : 0.1));
  setEndpointMarkerBorderWidth(chosen ? 3.0 : 1.5);
  setEndpointMarkerBorderColor(vec4(edge, 1.0));
  setBoundingBoxBorderColor(vec4(edge, 1.0));
  setBoundingBoxBorderWidth(chosen ? 3.5 : 2.5);
  setBoundingBoxFillColor(vec4(colour, prop_status() == 1u ? 0.25 : 0.1));
  setEllipsoidFillColor(vec4(edge, PROJECTION_VIEW ? 1.0 : prop_status() == 1u ? 0.5 : 0.25));
}}
"""
"""Accepted objects are filled with the colour of their class, undecided ones are rings and outlines, rejected
ones grey; the one that is looked at is large and white at its border."""

ALL_SHADER = """#uicontrol float size slider(min=1, max=20, default=5)
{controls}
void main() {{
{lines}
  if (prop_status() == 2u) colour = vec3(0.5);
  setPointMarkerSize(size * (PROJECTION_VIEW ? 0.6 : 1.0));
  setPointMarkerColor(vec4(colour, prop_status() == 0u ? 0.6 : 0.9));
  setPointMarkerBorderWidth(0.0);
}}
"""


def review_state(state: ViewerState, live: LiveTable, address: str) -> ViewerState:
    """The state of a data set with layers for the review; annotations of the job are hidden.

    `address` is that of the programming interface for the table, as the browser finds it.
    """
    objects = live.objects
    layers = [
        layer | {"visible": False} if layer["type"] == "annotation" else layer for layer in state["layers"]
    ]
    return state | {
        "crossSectionScale": min(state["crossSectionScale"], _close(state, objects)),
        "layers": [*layers, all_points(live, address), review_layer(objects)],
        "selectedLayer": {"layer": LAYER, "visible": False},
    }


def _close(state: ViewerState, objects: TableObjects) -> float:
    """The size of a pixel, in the smallest side of a voxel, at which objects are well seen."""
    smallest = min(scale for scale, _ in state["dimensions"].values()) * 1e6
    shown = DIAMETERS * objects.diameter / smallest if objects.diameter else VOXELS
    return float(shown / PANEL)


def all_points(live: LiveTable, address: str) -> dict[str, Any]:
    """A layer of all objects, as small points that are not clicked on."""
    return {
        "type": "annotation",
        "name": ALL_POINTS,
        "source": f"precomputed://{address}/points/{live.points.version}",
        "pick": False,
        "shader": _shader(ALL_SHADER, live.objects),
    }


def review_layer(objects: TableObjects) -> dict[str, Any]:
    """A layer without annotations, which the page fills; Control+click draws one."""
    scales = [float(f"{size * 1e-9:.12g}") for size in objects.info.voxel_size]
    dimensions = {axis: [scale, "m"] for axis, scale in zip("xyz", scales, strict=True)}
    properties = [*point_properties(objects), {"id": "chosen", "type": "uint8"}]
    return {
        "type": "annotation",
        "name": LAYER,
        "source": {"url": "local://annotations", "transform": {"outputDimensions": dimensions}},
        "tool": "annotatePoint",
        "annotations": [],
        "annotationProperties": [entry | {"default": 0} for entry in properties],
        "shader": _shader(SHADER, objects),
    }


def _shader(text: str, objects: TableObjects) -> str:
    """A shader with a colour for each class."""
    _, classes = point_properties(objects)
    controls, lines = class_colours(classes)
    return text.format(controls="\n".join(controls), lines="\n".join(f"  {line}" for line in lines))
