"""Layers and tables by their place, or by their name in a job."""

from __future__ import annotations

from chunkflow.data.describe import table_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo, full_url
from chunkflow.jobs.work import Work

DEFAULT_TABLE = "objects"


def locate(what: str, name: str = "") -> str | TableInfo:
    """The URL of a layer, named by its place or by its name in a job; or a finished table of a job.

    `what` is a layer's place, or a job's work folder, whose layer or table is `name`.
    """
    if not name and Folder(full_url(what)).exists("info"):
        return full_url(what)
    work = Work.open(what)
    product = work.plan().products.get((name, 0))
    if product is not None and not isinstance(product.info, TableInfo):
        return product.info.url
    return work.table_info(name)


def open_table(location: str) -> TableInfo:
    """A table by its own path, or by its work folder: WORK, WORK:TABLE."""
    document = Folder(full_url(location)).get("info")
    if document is not None:
        return table_at(full_url(location))
    work, colon, name = location.rpartition(":")
    if not colon or "/" in name:
        work, name = location, DEFAULT_TABLE
    return Work.open(work).table_info(name)
