"""The counts of several brains in one table: a row a sample, region, side and group."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from chunkflow.data.atomic import refuse_existing, written_whole
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import read_table
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.jobs.work import Work
from tasks.count.steps import Total

ENDINGS = (".csv", ".parquet")


def cohort(works: Sequence[str | Path], table: str = "") -> pa.Table:
    """The counts of several jobs in one table, each row with the sample that it is of.

    `works` are the work folders of the brains' jobs. A sample is named as its job, or where two are named
    alike as its work folder; `table` is the table of counts, where a job has made several.

        counts = cohort(["work/rat1", "work/rat2"]).to_pandas()
        counts.groupby(["region", "sample"])["own"].sum()
    """
    opened = [Work.open(str(place)) for place in works]
    tables = [_counts(work, table) for work in opened]
    names = sample_names([work.job().name for work in opened], [work.url for work in opened])
    pieces = [
        rows.drop_columns(["id"]).add_column(0, "sample", pa.array([name] * len(rows), pa.string()))
        for name, rows in zip(names, tables, strict=True)
    ]
    return pa.concat_tables(pieces, promote_options="permissive")


def write_cohort(works: Sequence[str | Path], to: Path, table: str = "", overwrite: bool = False) -> pa.Table:
    """Write the counts of several jobs to a .csv or .parquet file; returns them."""
    if to.suffix.lower() not in ENDINGS:
        raise BadInput(f"{to} must end in {' or '.join(ENDINGS)}: the ending says what is written.")
    refuse_existing(to, overwrite)
    rows = cohort(works, table)
    _write(rows, to)
    return rows


def sample_names(jobs: Sequence[str], urls: Sequence[str]) -> list[str]:
    """Names of the samples: those of their jobs, or where two are alike of their work folders."""
    if len(set(jobs)) == len(jobs):
        return list(jobs)
    if len(set(urls)) < len(urls):
        raise BadInput("One work folder is named twice: each is a sample of its own.")
    shared = posixpath.commonpath([url.split("://", 1)[1] for url in urls])
    return [url.split("://", 1)[1].removeprefix(shared).strip("/") for url in urls]


def _counts(work: Work, wanted: str) -> pa.Table:
    """The finished table of counts of a job."""
    known = _tables_of_counts(work.plan())
    made = [name for name in known if wanted in ("", name)]
    if len(made) != 1:
        named = ", ".join(known) or "none: let its job have a task `count`"
        raise BadInput(f"{work.url}: say which table of counts is meant; it has {named}.")
    info = work.table_info(made[0])
    return read_table(info, info.bounds)


def _tables_of_counts(plan: Plan) -> list[str]:
    """The tables that `count` and `coincide` make."""
    return [
        product.name
        for product in plan.products.values()
        if product.maker is not None
        and isinstance(product.info, TableInfo)
        and isinstance(plan.steps[product.maker].task, Total)
    ]


def _write(rows: pa.Table, to: Path) -> None:
    try:
        with written_whole(to) as temporary:
            if to.suffix.lower() == ".csv":
                pyarrow.csv.write_csv(rows, temporary)
            else:
                pq.write_table(rows, temporary)
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror or error}.") from None
