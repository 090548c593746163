"""Neuroglancer state that shows layers together, each in its colours, all of them in sight.

1. Images are added up, each channel in a colour of its own (one channel alone: grey).
2. A mesh folder becomes one more source of its segmentation; annotations are linked to theirs, and have the
   colour that their info says, or one for each class.
3. The view is centred on the first volume, zoomed so that all of it fits a panel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from chunkflow.people.viewing.looks import ORDER, Shown, extent_of, full_range, owners_of

ViewerState = dict[str, Any]
COLOURS = ("#00ffff", "#ff00ff", "#ffff00", "#00ff60", "#ff6040", "#6080ff")
GREY = "#ffffff"
PANEL = 400  # pixels on each side of a panel in an ordinary window
ANNOTATIONS = "#ffd060"
CLASSES = 12  # so many named values can have colours of their own, and a control each
CLASS_COLOURS = ("#ff4040", "#4080ff", "#40c040", "#ffd040", "#ff60ff", "#40e0e0", "#ff9040", "#a070ff")
CUSTOMARY = {"neuron": "#ff4040", "glia": "#4080ff"}
STYLES = {
    "POINT": """  setPointMarkerSize(PROJECTION_VIEW ? 0.5 * size : size);
  setPointMarkerBorderWidth(PROJECTION_VIEW ? 0.0 : 1.0);
""",
    "LINE": """  setLineWidth(0.5 * size);
  setEndpointMarkerSize(0.0);
  setEndpointMarkerBorderWidth(0.0);
""",
    "AXIS_ALIGNED_BOUNDING_BOX": """  setBoundingBoxBorderWidth(0.5 * size);
  setBoundingBoxFillColor(vec4(colour, 0.25));
""",
    "ELLIPSOID": """  setEllipsoidFillColor(vec4(colour, PROJECTION_VIEW ? 1.0 : 0.5));
""",
}


def build_state(
    layers: Sequence[Shown], address: Callable[[Shown], str], links: Mapping[str, str] | None = None
) -> ViewerState:
    """The state; `address` gives the URL at which the browser finds a layer.

    `links` has the segmentation (name or URL) of mesh and annotation layers, where there are several.
    """
    owners = owners_of(layers, links or {})
    colours = channel_colours(layers)
    shown = []
    for layer in sorted(layers, key=lambda layer: ORDER.index(layer.kind)):
        source = f"precomputed://{address(layer)}"
        if layer.kind == "image":
            shown.append(image_layer(layer, source, colours[layer.name]))
        elif layer.kind == "segmentation":
            own = [mesh for mesh in layers if mesh.kind == "mesh" and owners.get(mesh.name) == layer.name]
            shown.append(segmentation_layer(layer, [source, *(f"precomputed://{address(m)}" for m in own)]))
        elif layer.kind == "annotation":
            shown.append(annotation_layer(layer, source, owners.get(layer.name)))
        elif layer.name not in owners:
            shown.append(segmentation_layer(layer, [source]))
    return {**view_of(layers), "layers": shown}


def channel_colours(layers: Sequence[Shown]) -> dict[str, list[str]]:
    """The colours of the channels of each image, by its name: each has its own, one alone is grey."""
    images = [layer for layer in layers if layer.kind == "image"]
    alone = sum(len(layer.contrast) for layer in images) == 1
    palette = cycle([GREY] if alone else COLOURS)
    return {layer.name: [next(palette) for _ in layer.contrast] for layer in images}


def image_layer(layer: Shown, source: str, colours: Sequence[str]) -> ViewerState:
    """An image with a contrast and a colour for each channel, to be changed in the browser."""
    controls, terms = [], []
    for channel, ((low, high), colour) in enumerate(zip(layer.contrast, colours, strict=True)):
        span = f"range={pair(low, high)}, window={pair(*window_of(low, high, layer.info['data_type']))}"
        which = f", channel=[{channel}]" if len(layer.contrast) > 1 else ""
        controls.append(f"#uicontrol invlerp contrast{channel}({span}{which})")
        controls.append(f'#uicontrol vec3 colour{channel} color(default="{colour}")')
        terms.append(f"colour{channel} * contrast{channel}()")
    shader = "\n".join(controls) + "\nvoid main() {\n  emitRGB(" + " + ".join(terms) + ");\n}\n"
    return {
        "type": "image",
        "name": layer.name,
        "source": source,
        "shader": shader,
        "blend": "additive",
        "opacity": 1.0,
    }


def window_of(low: float, high: float, dtype: str) -> tuple[float, float]:
    """What the contrast can be moved over: half as much again on both sides, of values that the type has."""
    margin = (high - low) / 2
    if dtype.startswith("float"):
        return low - margin, high + margin
    least, most = full_range(dtype)
    return max(low - margin, least), min(high + margin, most)


def pair(low: float, high: float) -> str:
    """Two numbers as the shader's controls read them: integers without a point."""
    low_text, high_text = (str(int(v)) if v == int(v) else f"{v:.6g}" for v in (low, high))
    return f"[{low_text}, {high_text}]"


def segmentation_layer(layer: Shown, sources: Sequence[str]) -> ViewerState:
    """Some segments are chosen, so that their meshes show; the others keep their colours, fainter."""
    return {
        "type": "segmentation",
        "name": layer.name,
        "source": sources[0] if len(sources) == 1 else list(sources),
        "segments": [str(i) for i in layer.ids],
        "selectedAlpha": 0.45,
        "notSelectedAlpha": 0.3,
        "objectAlpha": 1.0,
    }


def annotation_layer(layer: Shown, source: str, owner: str | None) -> ViewerState:
    state: ViewerState = {
        "type": "annotation",
        "name": layer.name,
        "source": source,
        "annotationColor": layer.info.get("color", ANNOTATIONS),
        "shader": annotation_shader(layer.info),
    }
    relationships = [relationship["id"] for relationship in layer.info.get("relationships", [])]
    if owner is not None and relationships:
        state["linkedSegmentationLayer"] = dict.fromkeys(relationships, owner)
    return state


def annotation_shader(info: Mapping[str, Any]) -> str:
    """How annotations of a kind look, with what can be changed in the browser."""
    style = STYLES.get(info.get("annotation_type", "POINT"), "")
    controls, lines = colour_of(info)
    if "size" in style:
        controls = ["#uicontrol float size slider(min=1, max=20, default=4)", *controls]
    body = "".join(f"  {line}\n" for line in [*lines, "setColor(colour);"])
    return "\n".join([*controls, "void main() {"]) + f"\n{body}{style}}}\n"


def colour_of(info: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Controls, and lines that say what `colour` is: that of the annotation itself, one for each named value
    (a class), or one for all."""
    properties = info.get("properties", [])
    own = next((p for p in properties if p["type"] in ("rgb", "rgba")), None)
    if own is not None:
        return [], [f"vec3 colour = vec3(prop_{own['id']}());"]
    if "color" not in info:
        # whether an object is of a class is told by yes and no, which say less than the classes themselves
        named = [p for p in properties if p.get("enum_values") and p["enum_labels"] != ["no", "yes"]]
        for entry in sorted(named, key=lambda p: p["id"] != "class"):
            return class_colours(entry)
    return [], ["vec3 colour = defaultColor();"]


def colours_of_labels(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each of some named values; those that are customary for the names that have one."""
    taken = {CUSTOMARY[label] for label in labels if label in CUSTOMARY}
    others = cycle([colour for colour in CLASS_COLOURS if colour not in taken])
    return {label: CUSTOMARY.get(label) or next(others) for label in labels}


def class_colours(entry: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A colour for each named value; where they are too many, those of a rainbow."""
    values, labels = entry["enum_values"], entry["enum_labels"]
    if len(values) > CLASSES:
        low, high = float(min(values)), float(max(values))
        share = f"(float(prop_{entry['id']}()) - {low!r}) / {high - low!r}"
        return [], [f"vec3 colour = colormapJet({share});"]
    colours = colours_of_labels(labels)
    controls, lines = [], ["vec3 colour = defaultColor();"]
    names: set[str] = set()
    for value, label in zip(values, labels, strict=True):
        name = f"{entry['id']}_{re.sub('[^A-Za-z0-9]+', '_', label).strip('_')}"
        name = re.sub("_+", "_", name if name not in names else f"{name}_{value}")  # two are not for GLSL
        names.add(name)
        controls.append(f'#uicontrol vec3 {name} color(default="{colours[label]}")')
        lines.append(f"if (prop_{entry['id']}() == {literal(value, entry['type'])}) colour = {name};")
    return controls, lines


def literal(value: float, kind: str) -> str:
    """A number as the shader has it: properties without a sign are so there, too."""
    if kind.startswith("float"):
        return repr(float(value))
    return f"{value}u" if kind.startswith("u") else str(value)


def view_of(layers: Sequence[Shown]) -> ViewerState:
    """Where to look from; without `dimensions` the panels would stay empty."""
    extent = extent_of(layers)
    size = (extent.stop - extent.start) * extent.voxel_size
    unit = float(extent.voxel_size.min())
    return {
        "dimensions": {
            axis: [float(f"{nanometres * 1e-9:.12g}"), "m"]
            for axis, nanometres in zip("xyz", extent.voxel_size, strict=True)
        },
        # the middle of a voxel, not a face between two
        "position": [float(value) for value in np.floor((extent.start + extent.stop) / 2) + 0.5],
        "crossSectionScale": float(size.max() / unit / PANEL),
        "projectionScale": 1.2 * float(np.linalg.norm(size) / unit),
        "projectionOrientation": [0.25, -0.25, 0.0, 0.94],
        "crossSectionBackgroundColor": "#000000",
        "projectionBackgroundColor": "#101018",
        "showSlices": False,
        "layout": "4panel",
    }
