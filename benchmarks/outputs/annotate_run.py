"""One writer of annotation layers, alone in its process: how long it takes, and the most memory it has held.

`python annotate_run.py WRITER FOLDER`, where FOLDER has `points.parquet` and takes the layer `WRITER`. Run by
the interpreter that has the writer, so nothing of chunkflow is imported for the others.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq


def peak() -> int:
    """The most memory that this process has held, in bytes. What `getrusage` says would count that of the
    process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def neuroglancer(folder: Path) -> float:
    """Neuroglancer's own: adding the points one by one is part of writing them."""
    from neuroglancer import AnnotationPropertySpec, CoordinateSpace
    from neuroglancer.write_annotations import AnnotationWriter

    rows = pq.read_table(folder / "points.parquet")
    begin = time.perf_counter()
    writer = AnnotationWriter(
        coordinate_space=CoordinateSpace(names=["x", "y", "z"], units="um", scales=[1, 1, 1]),
        annotation_type="point",
        relationships=["segment"],
        properties=[AnnotationPropertySpec(id="volume_um3", type="float32")],
    )
    columns = (rows[name].to_pylist() for name in ("id", "x", "y", "z", "volume_um3"))
    for number, x, y, z, volume in zip(*columns, strict=True):
        writer.add_point((x, y, z), id=number, volume_um3=volume, segment=[number])
    writer.write(folder / "neuroglancer")
    return time.perf_counter() - begin


def ngsidekick(folder: Path) -> float:
    from ngsidekick.annotations.precomputed import write_precomputed_annotations

    table = pq.read_table(folder / "points.parquet").to_pandas().set_index("id")
    table["segment"] = table.index
    begin = time.perf_counter()
    write_precomputed_annotations(
        table,
        {"names": ["x", "y", "z"], "units": ["um"] * 3, "scales": [1, 1, 1]},
        "point",
        properties=["volume_um3"],
        relationships=["segment"],
        output_dir=str(folder / "ngsidekick"),
    )
    return time.perf_counter() - begin


def chunkflow(folder: Path) -> float:
    """The whole job, from opening it to its ledger closed, in one process."""
    from benchmarks.outputs.annotate import run_annotate

    begin = time.perf_counter()
    run_annotate(folder)
    return time.perf_counter() - begin


if __name__ == "__main__":
    seconds = globals()[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": seconds, "peak": peak()}))
