"""Export a table or a layer to a file of another program, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.data.atomic import refuse_existing
from chunkflow.data.describe import Known, info_of, read_info, table_at
from chunkflow.data.info import ANNOTATIONS, TABLE_TYPE, VOLUME, TableInfo, VoxelsInfo, full_url
from chunkflow.data.tables import table_rows
from chunkflow.errors import BadInput
from chunkflow.formats.export.rows import RowSource, Value, chosen, opener_of, write_rows
from chunkflow.geometry import Box
from chunkflow.words import counted, refuse_one_text

if TYPE_CHECKING:
    from chunkflow.formats.export.volumes import ExportedVoxels


@dataclass(frozen=True, repr=False)
class ExportedRows:
    """A file of rows that was written."""

    path: Path
    name: str
    """The table or annotation layer that the rows are of."""
    rows: int

    def __repr__(self) -> str:
        return f"{self.path} has {counted(self.rows, 'row')} of {self.name}."


def export(
    source: str | Path | Known,
    to: str | Path,
    *,
    form: str = "",
    where: Mapping[str, Value] | None = None,
    columns: Sequence[str] = (),
    box: Box | None = None,
    mip: int = 0,
    overwrite: bool = False,
) -> ExportedRows | ExportedVoxels:
    """Write a table, an annotation layer, an image or labels to a file.

    `source` is a path or URL, or a table or volume that was opened. The ending of `to` says how it is
    written: rows to .csv, .parquet, .json, .h5 or .xml; voxels to .tif, .zarr, .nii, .nii.gz, .npy or a
    folder of planes.

    Of rows, `form` names a program instead (napari, cellfinder, neuroglancer), `where` the values that they
    must have by column, `columns` those that are written. Of voxels, `box` is the part (in voxels of mip 0)
    and `mip` the resolution level, by default that of the volume. Places are in voxels (x, y, z) and in
    micrometres (x_um, y_um, z_um).

    >>> cells = export(work.table("objects"), folder / "cells.csv", columns=["id", "x", "y", "z"])
    >>> cells.path.name, cells.rows == len(work.table("objects"))
    ('cells.csv', True)
    """
    refuse_one_text("columns", columns)
    to = Path(to)
    source = source if isinstance(source, str | Path) else info_of(source)
    if isinstance(source, TableInfo):
        rows = RowSource(_name(source.url), source, table_rows(source))
    else:
        place = full_url(str(source)) if isinstance(source, str | Path) else source.url
        mip = mip or (source.mip if isinstance(source, VoxelsInfo) else 0)
        document = read_info(place)
        if document.get("@type", VOLUME) == VOLUME:
            if form or where or columns:
                raise BadInput(f"{place} is an image or labels: form, where and columns are for tables.")
            from chunkflow.formats.export.volumes import export_layer  # its libraries are not needed for rows

            return export_layer(place, to, box, mip, overwrite)
        rows = _rows_of(place, document)
    if box is not None or mip:
        raise BadInput("box and mip are for images and labels; of a table, where chooses rows.")
    opener = opener_of(to, form)
    refuse_existing(to, overwrite)
    return ExportedRows(to, rows.name, write_rows(chosen(rows, where or {}, columns), to, opener))


def _rows_of(url: str, document: Mapping[str, object]) -> RowSource:
    """The rows of the table or annotation layer at a URL."""
    kind = document["@type"]
    if kind == TABLE_TYPE:
        table = table_at(url)
        return RowSource(_name(url), table, table_rows(table))
    if kind == ANNOTATIONS:
        from chunkflow.formats.export.annotations import (  # tensorstore, which tables do not need
            annotation_rows,
            space_of,
        )

        info = space_of(url, document)
        return RowSource(_name(url), info, annotation_rows(url, document, info))
    raise BadInput(f"{url} is {kind}: tables, annotations, images and labels can be exported.")


def _name(url: str) -> str:
    return url.rpartition("/")[2]
