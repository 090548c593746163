"""Layers, tables and jobs by their place: a path or URL, LAYER@MIP, WORK or WORK:TABLE."""

from __future__ import annotations

from pathlib import Path

from chunkflow.data.describe import Known, info_of, layer_at, read_info, table_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import TABLE_TYPE, LayerInfo, TableInfo, VoxelsInfo, full_url, table_of
from chunkflow.data.tables import Table
from chunkflow.errors import BadInput
from chunkflow.jobs.work import Work
from chunkflow.words import split_mip

DEFAULT_TABLE = "objects"


def open_layer(layer: str | Path | Known, mip: int = 0) -> LayerInfo:
    """An image, labels or a table: by its place, perhaps with @mip, or WORK:TABLE; or as it is known."""
    if not isinstance(layer, str | Path):
        info = info_of(layer)
        return layer_at(info.url, mip) if mip and isinstance(info, VoxelsInfo) else info
    found = find_layer(layer, mip)
    if found is None:
        raise BadInput(
            f"{layer} is not a layer (there is no file `info` in it), nor a table of a job (WORK:TABLE)."
        )
    return found


def find_layer(place: str | Path, mip: int = 0) -> LayerInfo | None:
    """The image, the labels or the table at a place; None where there is none."""
    location, named = split_mip(str(place))
    url = full_url(location)
    if Folder(url).exists("info"):
        return _described(url, mip if named is None else named)
    work, table = split_table(str(place))
    return None if table is None else Work.open(work).table_info(table)


def open_table(table: str | Path | Table | TableInfo) -> TableInfo:
    """A table: by its own place, WORK:TABLE, or WORK for the `objects` of a job; or as it is known."""
    if not isinstance(table, str | Path):
        return table_of(info_of(table))
    url = full_url(str(table))
    if Folder(url).exists("info"):
        return table_at(url)
    work, name = split_table(str(table))
    return Work.open(work).table_info(DEFAULT_TABLE if name is None else name)


def layer_or_work(place: str | Path) -> str | Work:
    """The URL of the layer at a path or URL, else the work folder there."""
    url = full_url(str(place))
    if Folder(url).exists("info"):
        return url
    try:
        return Work.open(url)
    except BadInput as error:
        raise BadInput(f"{url} is no layer (it has no file `info`), and: {error}") from None


def locate(place: str | Path, name: str = "") -> str | TableInfo:
    """The URL of a layer, by its place or its name in the job of a work folder; or a finished table of it."""
    found = Work.open(place) if name else layer_or_work(place)
    if isinstance(found, str):
        return found
    product = found.plan().products.get((name, 0))
    if product is not None and not isinstance(product.info, TableInfo):
        return product.info.url
    return found.table_info(name)


def _described(url: str, mip: int) -> LayerInfo:
    document = read_info(url)
    if document.get("@type") == TABLE_TYPE:
        return table_at(url)
    if "scales" not in document:
        kind = document.get("@type", "no layer")
        raise BadInput(f"{url} is {kind}: an image, labels or a table is needed.")
    return layer_at(url, mip)


def split_table(location: str) -> tuple[str, str | None]:
    """A work folder, and the table that stands behind it as WORK:TABLE; None where there is none."""
    work, colon, name = location.rpartition(":")
    return (work, name) if colon and work and "/" not in name else (location, None)
