"""Counting by region: against counts made by hand over the whole volume, and what cannot be counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
import tifffile

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.importing import import_points
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import voxel_ids
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, same_everywhere

VOXEL = (500.0, 500.0, 1000.0)
SIZE, OFFSET = (64, 60, 40), (10, -6, 4)
ATLAS_VOXEL, ATLAS_OFFSET = (4300.0, 4300.0, 4300.0), (0, 0, 1)
STRUCTURES = """id,acronym,name,structure_id_path
1,root,whole brain,/1/
10,CTX,cortex,/1/10/
11,CTX1,layer one,/1/10/11/
12,CTX2,layer two,/1/10/12/
20,TH,thalamus,/1/20/
30,X,not in this sample,/1/30/
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of single cells, and an atlas of other voxels that does not reach all of them."""
    folder = tmp_path_factory.mktemp("count")
    rng = np.random.default_rng(5)
    labels = np.zeros(SIZE, np.uint64)
    places = rng.integers(0, np.array(SIZE), (400, 3))
    for x, y, z in places:
        labels[x, y, z] = voxel_ids(np.array([[x, y, z]]), SIZE)[0]
    make_layer(folder / "labels", labels, "segmentation", VOXEL, OFFSET)
    image = rng.integers(0, 1000, SIZE).astype(np.uint16)
    make_layer(folder / "image", image, "image", VOXEL, OFFSET)
    atlas = rng.choice(np.array([0, 11, 12, 20, 10, 77], np.uint32), (9, 8, 8))
    make_layer(folder / "atlas", atlas, "segmentation", ATLAS_VOXEL, ATLAS_OFFSET)
    sides = np.ones((9, 8, 8), np.uint8)
    sides[5:] = 2
    make_layer(folder / "sides", sides, "segmentation", ATLAS_VOXEL, ATLAS_OFFSET)
    (folder / "names.csv").write_text(STRUCTURES)
    return folder


def job_of(source: Path, folder: Path, chunk: Vec = (32, 32, 32), more: Any = (), **count: Any) -> Job:
    layers = {name: str(source / name) for name in ("labels", "image", "atlas", "sides")}
    layers["shown"] = str(folder / "shown")
    tasks = [
        {"measure": {"labels": "labels", "images": ["image"]}},
        {"count": {"objects": "objects", "names": str(source / "names.csv")} | count},
        *more,
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk))


def by_hand(source: Path, folder: Path) -> tuple[Counter[Any], dict[int, float]]:
    """Objects by region and side, and the cubic millimetres of the regions within the volume."""
    from tests.support.jobs import read_layer

    atlas, sides = read_layer(source / "atlas"), read_layer(source / "sides")
    rows = read_table(folder / "work" / "tables" / "objects").to_pylist()
    found: Counter[Any] = Counter()
    for row in rows:
        place = [row[axis] * size for axis, size in zip("xyz", VOXEL, strict=True)]
        voxel = [int(np.floor(p / s)) - o for p, s, o in zip(place, ATLAS_VOXEL, ATLAS_OFFSET, strict=True)]
        inside = all(0 <= v < n for v, n in zip(voxel, atlas.shape, strict=True))
        region = int(atlas[tuple(voxel)]) if inside else 0
        found[region, int(sides[tuple(voxel)]) if region else 0] += 1
    volumes: dict[int, float] = {}
    for voxel in np.ndindex(*atlas.shape):
        centre = [(v + o + 0.5) * s for v, o, s in zip(voxel, ATLAS_OFFSET, ATLAS_VOXEL, strict=True)]
        ends = [(o * s, (o + n) * s) for o, n, s in zip(OFFSET, SIZE, VOXEL, strict=True)]
        if all(a <= c < b for c, (a, b) in zip(centre, ends, strict=True)):
            region = int(atlas[voxel])
            volumes[region] = volumes.get(region, 0) + np.prod(ATLAS_VOXEL) * 1e-18
    return found, volumes


def test_objects_are_counted_in_their_regions_and_in_all_above(source: Path, tmp_path: Path) -> None:
    assert run_job(job_of(source, tmp_path, regions="atlas", hemispheres="sides")) == "complete"
    wanted, volumes = by_hand(source, tmp_path)
    rows = read_table(tmp_path / "work" / "tables" / "counts").to_pylist()
    own = {(row["region"], {"": 0, "left": 1, "right": 2}[row["side"]]): row["own"] for row in rows}
    assert {key: n for key, n in own.items() if n} == dict(wanted)
    assert sum(own.values()) == len(read_table(tmp_path / "work" / "tables" / "objects"))
    assert wanted[0, 0] > 0, "some lie beyond the atlas"
    total = Counter(
        {region: sum(n for (r, _), n in wanted.items() if r == region) for region in (10, 11, 12)}
    )
    cortex = sum(row["count"] for row in rows if row["name"] == "cortex")
    assert cortex == total[10] + total[11] + total[12]
    size = sum(row["volume_mm3"] for row in rows if row["name"] == "cortex")
    assert size == pytest.approx(volumes[10] + volumes[11] + volumes[12])
    (root,) = [row for row in rows if row["acronym"] == "root" and row["side"] == "left"]
    assert root["density_per_mm3"] == pytest.approx(root["count"] / root["volume_mm3"])
    assert not any(row["name"] == "not in this sample" for row in rows)
    assert any("region 77" in row["name"] for row in rows)
    assert next(row for row in rows if row["region"] == 0)["name"] == "no region"


def test_means_are_those_of_the_objects(source: Path, tmp_path: Path) -> None:
    assert run_job(job_of(source, tmp_path)) == "complete"
    objects = read_table(tmp_path / "work" / "tables" / "objects")
    (row,) = read_table(tmp_path / "work" / "tables" / "counts").to_pylist()
    assert (row["name"], row["own"], row["count"]) == ("whole volume", len(objects), len(objects))
    assert row["image_mean"] == pytest.approx(float(np.mean(objects["image_mean"].to_numpy())), rel=1e-6)
    assert row["volume_mm3"] == pytest.approx(np.prod(SIZE) * np.prod(VOXEL) * 1e-18)
    report = tmp_path / "work" / "reports" / "count"
    assert pyarrow.csv.read_csv(report / "counts.csv")["own"].to_pylist() == [len(objects)]
    assert (report / "counts.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_counts_however_it_was_cut(source: Path, tmp_path: Path) -> None:
    def job(folder: Path, chunk: Vec) -> Job:
        return job_of(source, folder, chunk, regions="atlas", hemispheres="sides", by=["cut"])

    same_everywhere(
        tmp_path, job, (64, 64, 64), [Way((64, 64, 64), shuffled=True), Way((32, 64, 32), 2)], _counts
    )


def _counts(job: Job) -> dict[str, Any]:
    product = open_plan(job).products["counts", 0]
    return {"counts": read_table(product.info.url)}


def test_a_folder_of_brainreg_is_read_as_it_is(source: Path, tmp_path: Path) -> None:
    """The sample lies as psl; the atlas, asr, is turned round along its first and its last axis."""
    folder = tmp_path / "brainreg"
    folder.mkdir()
    extent = [n * s / 1000 for n, s in zip(SIZE, VOXEL, strict=True)]  # 32, 30, 40 um along x, y, z
    rng = np.random.default_rng(2)
    atlas = rng.choice(np.array([0, 11, 12, 20], np.uint32), (8, 6, 7))
    hemispheres = np.ones(atlas.shape, np.uint8)
    hemispheres[..., :3] = 2
    tifffile.imwrite(folder / "registered_atlas.tiff", atlas, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "registered_hemispheres.tiff", hemispheres, compression="zlib")
    (folder / "brainreg.json").write_text(json.dumps({"atlas": "kim_mouse_5um", "orientation": "psl"}))
    assert run_job(job_of(source, tmp_path, brainreg=str(folder))) == "complete"
    wanted: Counter[Any] = Counter()
    for row in read_table(tmp_path / "work" / "tables" / "objects").to_pylist():
        x, y, z = (row[f"{a}_um"] - o * s / 1000 for a, o, s in zip("xyz", OFFSET, VOXEL, strict=True))
        voxel = tuple(int(v // 5) for v in (extent[2] - z, y, extent[0] - x))
        inside = all(v < n for v, n in zip(voxel, atlas.shape, strict=True))
        region = int(atlas[voxel]) if inside else 0
        wanted[region, int(hemispheres[voxel]) if region else 0] += 1
    rows = read_table(tmp_path / "work" / "tables" / "counts").to_pylist()
    own = {(row["region"], {"": 0, "left": 1, "right": 2}[row["side"]]): row["own"] for row in rows}
    assert {key: n for key, n in own.items() if n} == dict(wanted)
    left = sum(row["volume_mm3"] for row in rows if row["acronym"] == "root" and row["side"] == "left")
    assert left == pytest.approx(np.count_nonzero((atlas > 0) & (hemispheres == 1)) * 125e-9)


WRONG = {
    "no names": ({"regions": "atlas", "names": ""}, "names"),
    "both": ({"regions": "atlas", "brainreg": "x"}, "not both"),
    "no folder": ({"brainreg": "nowhere"}, "registered_atlas.tiff"),
    "an image as atlas": ({"regions": "image"}, "regions must be labels"),
    "no such table": ({"names": "nowhere.csv", "regions": "atlas"}, "no table of regions"),
    "other voxels": ({"regions": "atlas", "hemispheres": "labels"}, "same voxels"),
    "hemispheres alone": ({"hemispheres": "sides"}, "goes with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_counted_is_refused(source: Path, tmp_path: Path, case: str) -> None:
    count, said = WRONG[case]
    with pytest.raises(BadInput, match=said):
        open_plan(job_of(source, tmp_path, **count))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,name\n", "names no regions"),
        ("number,name\n1,a\n", "must have the columns id and name"),
        ("id,name\n1,a\n1,b\n", "twice"),
        ("id,name,parent\n1,a,2\n2,b,1\n", "lies in itself"),
        ("id,name\nx,a\n", "no table of regions"),
    ],
)
def test_a_table_of_names_that_makes_no_sense(source: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(BadInput, match=said):
        open_plan(job_of(source, tmp_path, regions="atlas", names=str(tmp_path / "names.csv")))


def test_a_column_that_is_not_there(source: Path, tmp_path: Path) -> None:
    job = job_of(source, tmp_path, by=["class"])
    assert run_job(job) == "incomplete"


def test_what_is_expected_of_each_class_by_its_probabilities(source: Path, tmp_path: Path) -> None:
    """Of every object the share that may be of a class counts, whatever class it was given."""
    rng = np.random.default_rng(1)
    share = rng.uniform(0, 1, 300).astype(np.float32)
    places = {axis: rng.uniform(o, o + n, 300) for axis, o, n in zip("xyz", OFFSET, SIZE, strict=True)}
    lines = ["id,x,y,z,class,p_neuron,p_glia"]
    for n, p in enumerate(share):
        place = ",".join(str(places[axis][n]) for axis in "xyz")
        lines.append(f"{n + 1},{place},{'neuron' if p > 0.7 else 'glia'},{p},{1 - p}")
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    import_points(tmp_path / "cells.csv", tmp_path / "cells", source / "image")
    count = {"count": {"objects": "cells", "by": ["class"]}}
    job = make_job(tmp_path, {"cells": str(tmp_path / "cells")}, [count])
    assert run_job(job) == "complete"
    rows = {row["class"]: row for row in read_table(tmp_path / "work" / "tables" / "counts").to_pylist()}
    assert rows["neuron"]["own"] == np.count_nonzero(share > 0.7)
    assert rows["neuron"]["expected"] == pytest.approx(share.sum(), abs=0.01)
    assert rows["glia"]["expected"] == pytest.approx(300 - share.sum(), abs=0.01)


@pytest.mark.parametrize("chunk", [(32, 32, 32), (8, 16, 8)])
def test_a_part_is_counted_alone(source: Path, tmp_path: Path, chunk: Vec) -> None:
    """With --box the objects whose centroids lie in it, and the volume within it, whatever more a task beside
    it needs; alone it needs no more."""
    box = Box((18, 10, 4), (42, 42, 28))
    alone = open_plan(job_of(source, tmp_path, chunk, regions="atlas"), box)
    assert alone.products["objects", 0].info.bounds == box
    job = job_of(
        source,
        tmp_path,
        chunk,
        [{"annotate": {"objects": "objects", "annotations": "shown"}}],
        regions="atlas",
    )
    assert run_job(job, box) == "complete"
    tables = tmp_path / "work" / "try" / "18-42_10-42_4-28" / "tables"
    rows = read_table(tables / "counts").to_pylist()
    objects = read_table(tables / "objects")
    there = np.all(
        [
            (objects[axis].to_numpy() >= a) & (objects[axis].to_numpy() < b)
            for axis, a, b in zip("xyz", box.start, box.stop, strict=True)
        ],
        axis=0,
    )
    assert 0 < sum(row["own"] for row in rows) == there.sum() < len(objects)
    centres = 0
    for voxel in np.ndindex(9, 8, 8):
        centre = (np.array(voxel) + ATLAS_OFFSET + 0.5) * ATLAS_VOXEL / VOXEL
        centres += bool((centre >= box.start).all() and (centre < box.stop).all())
    sized = sum(row["voxels"] for row in read_table(tables / "counts.areas").to_pylist())
    assert sized == centres > 0
