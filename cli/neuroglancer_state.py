"""The Neuroglancer state that shows layers together: contrast, colours, meshes, points, a fitting view.

1. Each layer's `info` tells its kind: image, segmentation, annotation, mesh (or skeletons) of its own.
2. A small sample of the coarsest voxels gives an image its contrast, and labels the ids whose meshes are shown.
3. A mesh folder becomes one more source of its segmentation; annotations are linked to theirs.
4. The view is centred on the first volume, zoomed so that all of it fits a panel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from cloudfiles import CloudFiles
from cloudvolume import CloudVolume

from chunkflow.chunk import Array
from chunkflow.errors import BadInput

Kind = Literal["image", "segmentation", "annotation", "mesh"]
State = dict[str, Any]
SAMPLE = 128  # voxels on each side of the box that is looked at
SHOWN = 300  # segments whose meshes are shown at first
COLOURS = ("#00ffff", "#ff00ff", "#ffff00", "#00ff60", "#ff6040", "#6080ff")
GREY = "#ffffff"
PANEL = 450  # pixels of a panel of an ordinary window
MESHES = ("neuroglancer_legacy_mesh", "neuroglancer_multilod_draco", "neuroglancer_skeletons")
POINTS = """#uicontrol float size slider(min=1, max=20, default=6)
void main() {{
  setColor({colour});
  setPointMarkerSize(size);
  setPointMarkerBorderWidth(1.0);
}}
"""


@dataclass(frozen=True)
class Layer:
    """One layer to be shown: what its `info` says, and what a sample of it holds."""

    name: str
    url: str
    kind: Kind
    info: dict[str, Any]
    contrast: tuple[tuple[float, float], ...] = ()
    ids: tuple[int, ...] = ()


def look(name: str, url: str) -> Layer:
    """Read what must be known of a layer to show it."""
    info = CloudFiles(cloud_path(url), progress=False).get_json("info")
    if info is None:
        raise BadInput(f"{url} is not a layer: there is no file `info` in it")
    kind = kind_of(info, url)
    if kind == "image":
        return Layer(name, url, kind, info, contrast=contrasts(sample(url, info), info))
    if kind == "segmentation":
        return Layer(name, url, kind, info, ids=largest_ids(sample(url, info)))
    return Layer(name, url, kind, info)


def cloud_path(url: str) -> str:
    """A layer's URL as CloudFiles takes it; plain paths are of this machine."""
    return url if "://" in url else f"file://{url}"


def kind_of(info: Mapping[str, Any], url: str) -> Kind:
    kind = info.get("@type", "neuroglancer_multiscale_volume")
    if kind == "neuroglancer_annotations_v1":
        return "annotation"
    if kind in MESHES:
        return "mesh"
    if kind == "neuroglancer_multiscale_volume" and "scales" in info:
        return "segmentation" if info.get("type") == "segmentation" else "image"
    raise BadInput(f"{url} is a layer of a kind that cannot be shown: {kind}")


def sample(url: str, info: Mapping[str, Any]) -> Array | None:
    """The middle of the finest mip that is small enough to be read whole, or of the coarsest."""
    sizes = [np.prod(scale["size"], dtype=float) for scale in info["scales"]]
    mip = next((mip for mip, size in enumerate(sizes) if size <= SAMPLE**3), len(sizes) - 1)
    volume = CloudVolume(cloud_path(url), mip=mip, progress=False, fill_missing=False)
    bounds = volume.bounds
    middle = (np.asarray(bounds.minpt) + np.asarray(bounds.maxpt)) // 2
    start = np.maximum(middle - SAMPLE // 2, bounds.minpt)
    stop = np.minimum(start + SAMPLE, bounds.maxpt)
    slices = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    try:
        return np.asarray(volume[slices])
    except Exception:  # a layer that is still being made, or is damaged, is shown all the same
        return None


def contrasts(voxels: Array | None, info: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """For each channel the values to be shown as black and as full colour."""
    channels = int(info.get("num_channels", 1))
    if voxels is None:
        return (full_range(info["data_type"]),) * channels
    return tuple(
        percentiles(voxels[..., channel]) or full_range(info["data_type"]) for channel in range(channels)
    )


def percentiles(voxels: Array) -> tuple[float, float] | None:
    """The 1st and the 99.8th percentile of what is not NaN; None where all is one value."""
    values = voxels[np.isfinite(voxels)]
    if values.size == 0:
        return None
    low, high = (float(value) for value in np.percentile(values, (1, 99.8)))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else None


def full_range(dtype: str) -> tuple[float, float]:
    kind = np.dtype(dtype)
    return (0.0, 1.0) if kind.kind == "f" else (0.0, float(np.iinfo(kind).max))


def largest_ids(voxels: Array | None) -> tuple[int, ...]:
    """The ids with most voxels in the sample, largest first."""
    if voxels is None:
        return ()
    ids, counts = np.unique(voxels[voxels != 0], return_counts=True)
    order = np.lexsort((ids, -counts))[:SHOWN]
    return tuple(int(i) for i in ids[order])


def build_state(
    layers: Sequence[Layer], address: Callable[[Layer], str], links: Mapping[str, str] | None = None
) -> State:
    """The state; `address` gives the URL at which the browser finds a layer.

    `links` names the segmentation of a mesh or an annotation layer where there are several to choose from.
    """
    owners = owners_of(layers, links or {})
    images = [layer for layer in layers if layer.kind == "image"]
    channels = sum(len(layer.contrast) for layer in images)
    palette = iter([GREY] if channels == 1 else COLOURS * (channels // len(COLOURS) + 1))
    shown: list[State] = []
    for layer in sorted(layers, key=lambda layer: _ORDER[layer.kind]):
        source = f"precomputed://{address(layer)}"
        if layer.kind == "image":
            shown.append(image_layer(layer, source, [next(palette) for _ in layer.contrast]))
        elif layer.kind == "segmentation":
            meshes = [f"precomputed://{address(mesh)}" for mesh in layers
                      if mesh.kind == "mesh" and owners.get(mesh.name) == layer.name]
            shown.append(segmentation_layer(layer, [source, *meshes]))
        elif layer.kind == "annotation":
            shown.append(annotation_layer(layer, source, owners.get(layer.name)))
        elif layer.name not in owners:
            shown.append(segmentation_layer(layer, [source]))
    return {**view_of(layers), "layers": shown}


_ORDER = {"image": 0, "segmentation": 1, "mesh": 2, "annotation": 3}


def owners_of(layers: Sequence[Layer], links: Mapping[str, str]) -> dict[str, str]:
    """The segmentation that each mesh and annotation layer belongs to, where that can be told."""
    segmentations = [layer for layer in layers if layer.kind == "segmentation"]
    owners: dict[str, str] = {}
    for layer in layers:
        if layer.kind not in ("mesh", "annotation"):
            continue
        inside = [s for s in segmentations if layer.url.startswith(s.url.rstrip("/") + "/")]
        if links.get(layer.name) in [s.name for s in segmentations]:
            owners[layer.name] = links[layer.name]
        elif len(inside or segmentations) == 1:
            owners[layer.name] = (inside or segmentations)[0].name
    return owners


def image_layer(layer: Layer, source: str, colours: Sequence[str]) -> State:
    controls, terms = [], []
    for channel, ((low, high), colour) in enumerate(zip(layer.contrast, colours, strict=True)):
        reach = (high - low) / 2
        window = f"window=[{_number(low - reach)}, {_number(high + reach)}]"
        channels = f", channel=[{channel}]" if len(layer.contrast) > 1 else ""
        controls.append(f"#uicontrol invlerp contrast{channel}"
                        f"(range=[{_number(low)}, {_number(high)}], {window}{channels})")
        controls.append(f'#uicontrol vec3 colour{channel} color(default="{colour}")')
        terms.append(f"colour{channel} * contrast{channel}()")
    shader = "\n".join(controls) + "\nvoid main() {\n  emitRGB(" + " + ".join(terms) + ");\n}\n"
    return {"type": "image", "name": layer.name, "source": source, "shader": shader,
            "blend": "additive", "opacity": 1.0}  # fmt: skip


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(round(value, 6))


def segmentation_layer(layer: Layer, sources: Sequence[str]) -> State:
    """Some segments are chosen, so that their meshes show; the others keep their colour, fainter."""
    return {"type": "segmentation", "name": layer.name,
            "source": sources[0] if len(sources) == 1 else list(sources),
            "segments": [str(i) for i in layer.ids],
            "selectedAlpha": 0.45, "notSelectedAlpha": 0.3, "tab": "segments"}  # fmt: skip


def annotation_layer(layer: Layer, source: str, owner: str | None) -> State:
    names = [relationship["id"] for relationship in layer.info.get("relationships", [])]
    state: State = {"type": "annotation", "name": layer.name, "source": source, "tab": "annotations",
                    "annotationColor": "#ffd060",
                    "shader": POINTS.format(colour=_colour_of(layer.info))}  # fmt: skip
    if owner is not None and names:
        state["linkedSegmentationLayer"] = {name: owner for name in names}
    return state


def _colour_of(info: Mapping[str, Any]) -> str:
    """By the first property that has named values (a class), else one colour."""
    for entry in info.get("properties", []):
        if entry.get("enum_values"):
            values = entry["enum_values"]
            low, high = _number(float(min(values))), _number(float(max(max(values), min(values) + 1)))
            return f"colormapJet((float(prop_{entry['id']}()) - float({low})) / float({high} - {low}))"
        if entry["type"] in ("rgb", "rgba"):
            return f"prop_{entry['id']}()"
    return "defaultColor()"


def view_of(layers: Sequence[Layer]) -> State:
    """Where to look: the middle of the first volume (or annotation layer), with all of it in sight."""
    voxel, start, stop = extent_of(layers)
    size = (stop - start) * voxel
    unit = float(voxel.min())
    dimensions = {axis: [float(nm) * 1e-9, "m"] for axis, nm in zip("xyz", voxel, strict=True)}
    return {
        "dimensions": dimensions,
        "position": [float(value) for value in (start + stop) / 2],
        "crossSectionScale": float(size.max() / unit / PANEL),
        "projectionScale": float(np.linalg.norm(size) / unit),
        "projectionOrientation": [0.25, -0.25, 0.0, 0.94],
        "crossSectionBackgroundColor": "#000000",
        "projectionBackgroundColor": "#101018",
        "showSlices": False,
        "layout": "4panel",
    }


def extent_of(layers: Sequence[Layer]) -> tuple[Array, Array, Array]:
    """Voxel size in nanometres, start and stop in voxels, of what the view is fitted to."""
    for layer in sorted(layers, key=lambda layer: _ORDER[layer.kind]):
        if layer.kind in ("image", "segmentation"):
            scale = layer.info["scales"][0]
            start = np.asarray(scale.get("voxel_offset", (0, 0, 0)), dtype=float)
            return np.asarray(scale["resolution"], dtype=float), start, start + np.asarray(scale["size"])
        if layer.kind == "annotation":
            return annotation_extent(layer.info)
    return np.ones(3), np.zeros(3), np.full(3, 1000.0)


METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9}


def annotation_extent(info: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    scales = [info["dimensions"][axis] for axis in list(info["dimensions"])[:3]]
    voxel = np.asarray([float(size) * METRES.get(unit, 1e-9) * 1e9 for size, unit in scales])
    start = np.asarray(info["lower_bound"][:3], dtype=float)
    return voxel, start, np.asarray(info["upper_bound"][:3], dtype=float)
