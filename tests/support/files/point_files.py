"""Point files, the volume that they lie in, and points to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings

from chunkflow.data.info import ImageInfo
from chunkflow.formats.points.files import positions
from chunkflow.geometry import Box

VOLUME = Box((10, -20, 30), (110, 60, 80))
LAYER = ImageInfo(url="file:///dapi", volume=VOLUME, voxel_size=(1620.0, 1000.0, 6000.0))
PLACES = [(12.25, -3.5, 40.0), (109.5, 59.5, 79.5)]
NAMES = ["class", "n"]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows: Any, mark: str = ",") -> str:
    return "".join(mark.join(map(str, row)) + "\n" for row in rows)


def check(points: pa.Table, places: Any = PLACES) -> None:
    np.testing.assert_allclose(positions(points), np.array(places), rtol=1e-12, atol=1e-12)


def markers(*groups: tuple[int, list[tuple[float, ...]]]) -> str:
    root = ElementTree.Element("CellCounter_Marker_File")
    data = ElementTree.SubElement(root, "Marker_Data")
    for kind, places in groups:
        group = ElementTree.SubElement(data, "Marker_Type")
        ElementTree.SubElement(group, "Type").text = str(kind)
        for place in places:
            marker = ElementTree.SubElement(group, "Marker")
            for axis, value in zip("XYZ", place, strict=True):
                ElementTree.SubElement(marker, f"Marker{axis}").text = str(value)
    return ElementTree.tostring(root, encoding="unicode")


def state(*layers: dict[str, Any]) -> str:
    return json.dumps(
        {
            "dimensions": {"x": [1.62e-6, "m"], "y": [1e-6, "m"], "z": [6e-6, "m"]},
            "layers": [{"type": "image", "name": "dapi", "source": "precomputed://x"}, *layers],
        }
    )
