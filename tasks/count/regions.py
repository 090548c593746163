"""Regions of an atlas and their hierarchy, from a CSV or JSON table such as BrainGlobe's."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkflow.errors import BadInput

NOWHERE = "no region"


@dataclass(frozen=True)
class AtlasRegion:
    """One region of an atlas."""

    id: int
    name: str
    acronym: str = ""
    parent: int = 0
    """The region that it is a part of; 0 where it is of none."""


Regions = dict[int, AtlasRegion]


def read_regions(path: Path) -> Regions:
    """Regions by their ids, from columns (or keys) id, name, acronym, and parent or structure_id_path."""
    try:
        rows: Iterable[Mapping[str, Any]]
        if path.suffix.lower() == ".json":
            rows = json.loads(path.read_text(encoding="utf-8"))
        else:
            text = path.read_text(encoding="utf-8-sig")
            rows = list(csv.DictReader(text.splitlines(), delimiter="\t" if "\t" in text[:200] else ","))
        regions = [_region(row, path) for row in rows]
    except FileNotFoundError as error:
        raise BadInput(f"There is no table of regions {path}.") from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{path} is no table of regions: {error}.") from error
    found: Regions = {}
    for region in regions:
        if region.id in found:
            raise BadInput(f"{path} names the region {region.id} twice.")
        found[region.id] = region
    if not found:
        raise BadInput(f"{path} names no regions.")
    _refuse_circles(found, path)
    return found


def _region(row: Mapping[str, Any], path: Path) -> AtlasRegion:
    keys = {str(key).strip().lower(): value for key, value in row.items()}
    if "id" not in keys or "name" not in keys:
        raise BadInput(
            f"{path} must have the columns id and name (and, where regions lie in others, parent or "
            f"structure_id_path); it has {', '.join(keys)}."
        )
    number = int(float(keys["id"]))
    return AtlasRegion(number, str(keys["name"]), str(keys.get("acronym") or ""), _parent(keys, number))


def _parent(keys: Mapping[str, Any], number: int) -> int:
    """From a parent's id, or from the path of ids that leads to the region."""
    for name in ("parent", "parent_structure_id", "parent_id"):
        value = keys.get(name)
        if value not in (None, "", "nan"):
            return int(float(str(value)))
    path = keys.get("structure_id_path") or []
    steps = (
        [int(step) for step in path.strip("/").split("/") if step] if isinstance(path, str) else list(path)
    )
    return int(steps[-2]) if len(steps) > 1 and steps[-1] == number else 0


def _refuse_circles(regions: Regions, path: Path) -> None:
    for number in regions:
        ancestors(number, regions, path)


def ancestors(number: int, regions: Regions, path: Path | None = None) -> list[int]:
    """The regions in which one lies, from the smallest up."""
    found: list[int] = []
    region = regions.get(number)
    while region is not None and region.parent:
        if region.parent in found or region.parent == number:
            raise BadInput(f"{path}: the region {number} lies in itself, by its parents {found}.")
        found.append(region.parent)
        region = regions.get(region.parent)
    return found
