"""Judging: each row has the network's answer to the patch around it, wherever the table has the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.networks.architectures import PatchNet
from chunkflow.networks.loading import read_model
from chunkflow.networks.weights import load_model
from tests.support.files.annotation_layers import write_table
from tests.support.files.networks import VOXEL_SIZE, blobs
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.models.judging import (
    FIELD,
    FILES,
    FINE,
    OFFSET,
    SIZE,
    VOLUME,
    WHOLE,
    a_job,
    judged_by,
    rows_of,
    table_of,
    table_over,
)
from tests.support.same import Way, files_of, same_everywhere


def expected_of(model: str, rows: pa.Table, images: list[np.ndarray]) -> np.ndarray:
    """The answers row by row: each image is normalised and mirrored as a whole."""
    loaded = load_model(model)
    network = loaded.network
    assert isinstance(network, PatchNet)
    channels = []
    for image, channel in zip(images, loaded.document.input.channels, strict=True):
        numbers = channel.normalise.decide([(image, VOLUME, VOLUME)], VOLUME, VOXEL_SIZE)
        made = channel.normalise.apply(image, VOLUME, VOLUME, VOLUME, VOXEL_SIZE, numbers)
        channels.append(np.pad(made, [(n, n) for n in FIELD], mode="symmetric"))
    patches = []
    for place in np.stack([rows[axis].to_numpy() for axis in "xyz"], 1):
        voxel = np.minimum(np.floor(place).astype(int), np.array(VOLUME.stop) - 1) - np.array(OFFSET)
        start = voxel - np.array(FIELD) // 2 + np.array(FIELD)
        where = tuple(slice(a, a + n) for a, n in zip(start.tolist(), FIELD, strict=True))
        patches.append(np.stack([channel[where] for channel in channels]))
    with torch.inference_mode():
        logits = network.judged(torch.tensor(np.array(patches, np.float32))).double().numpy()
    if loaded.document.outputs[0].kind == "class":
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return 1 / (1 + np.exp(-logits))


WAYS = [Way((8, 16, 12), 2, shuffled=True), Way((20, 40, 8))]


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("one", {}), ("one", {"batch": 3, "precision": "bf16"}), ("classes", {"batch": 7, "threads": 2})],
    ids=["one", "bf16, batch of 3", "classes of two images"],
)
def test_no_cut_changes_a_byte(
    to_judge: dict[str, str], tmp_path: Path, model: str, parameters: dict[str, Any]
) -> None:
    def judged(job: Job) -> dict[str, Any]:
        files = files_of(table_of(job).url)
        return {name: data for name, data in files.items() if name.endswith(".parquet")}

    same_everywhere(
        tmp_path,
        lambda folder, chunk: a_job(to_judge, folder, chunk, model, **parameters),
        WHOLE,
        WAYS,
        judged,
    )


@pytest.mark.parametrize("model", ["one", "classes"])
def test_each_row_has_the_answer_to_its_patch(to_judge: dict[str, str], tmp_path: Path, model: str) -> None:
    rows = rows_of(200)
    judged = judged_by(a_job(to_judge, tmp_path, (16, 16, 8), model))
    names = ["p_made0"] if model == "one" else ["p_cell", "p_axon", "p_dust"]
    assert judged.column_names == [*rows.column_names, "class", "probability", *names]
    assert judged.select(rows.column_names).equals(rows.combine_chunks())
    images = [blobs(SIZE), blobs(SIZE, 1)][: 1 if model == "one" else 2]
    found = np.stack([judged[name].to_numpy() for name in names], 1)
    assert found.dtype == np.float32
    steps = found.astype(np.float64) * 65535
    np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)
    np.testing.assert_allclose(found, expected_of(to_judge[model], rows, images), atol=1 / 65535)
    assert np.ptp(found, axis=0).min() > 0.3  # flat answers would prove nothing
    if model == "one":
        taken, kinds = found[:, 0] >= 0.5, ["made0", "no made0"]
        chosen, likely = np.where(taken, *kinds), np.where(taken, found[:, 0], 1 - found[:, 0])
    else:
        kinds = ["cell", "axon", "dust"]
        chosen, likely = np.array(kinds)[found.argmax(axis=1)], found.max(axis=1)
    assert judged["class"].to_pylist() == chosen.tolist()
    assert set(chosen) == set(kinds)
    np.testing.assert_allclose(judged["probability"].to_numpy(), likely, atol=1e-7)


def test_the_table_is_filed_as_before(to_judge: dict[str, str], tmp_path: Path) -> None:
    job = a_job(to_judge, tmp_path, (16, 16, 8))
    judged_by(job)
    before, after = open_plan(job).products["objects", 0].table, table_of(job)
    assert (after.cell, after.connected, after.labels) == (before.cell, before.connected, before.labels)
    for index in range(len(before.grid)):
        name = f"{index:06d}.parquet"
        old, new = (pq.read_table(f"{t.url}/{name}".removeprefix("file://")) for t in (before, after))
        assert new.select(old.column_names).equals(old)


def test_a_table_in_one_file(to_judge: dict[str, str], tmp_path: Path) -> None:
    one = write_table(tmp_path / "one", rows_of(200), None, VOLUME)
    whole = judged_by(a_job({**to_judge, "objects": one}, tmp_path / "a", (16, 16, 8)))
    assert whole.equals(judged_by(a_job(to_judge, tmp_path / "b", WHOLE)))


@pytest.mark.parametrize("count", [0, 6])
def test_cells_and_files_without_rows(to_judge: dict[str, str], tmp_path: Path, count: int) -> None:
    rows = rows_of(6).slice(0, count)
    few = write_table(tmp_path / "few", rows, FILES, VOLUME)
    judged = judged_by(a_job({**to_judge, "objects": few}, tmp_path / "a", (16, 8, 16)))
    assert judged.column_names == [*rows.column_names, "class", "probability", "p_made0"]
    assert judged.select(rows.column_names).equals(rows.combine_chunks())


def test_images_are_read_where_there_are_rows(to_judge: dict[str, str], tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": voxel_ids(np.zeros((1, 3), int), SIZE), "x": [20.5], "y": [2.5], "z": [19.5]}
    one = write_table(tmp_path / "one", pa.table(row), FILES, VOLUME)
    job = a_job({**to_judge, "objects": one}, tmp_path / "a", (8, 12, 12))
    maps = open_plan(job).stage_index("judge/judgements")
    read: list[int] = []

    def counted(event: Event) -> None:
        if isinstance(event, CellDone) and event.answer.stage == maps:
            read.append(event.answer.bytes_in)

    judged_by(job, listeners=[counted])
    assert len(read) > 40
    assert sorted(read)[-2] < 200 < max(read)


def test_every_batch_has_the_one_size(
    to_judge: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    judge = PatchNet.judged

    def watched(self: PatchNet, patches: torch.Tensor) -> torch.Tensor:
        seen.append((len(patches), int(patches.flatten(1).any(1).sum())))
        return judge(self, patches)

    monkeypatch.setattr(PatchNet, "judged", watched)
    judged_by(a_job(to_judge, tmp_path, (20, 20, 16), batch=9))
    assert {size for size, _ in seen} == {9}
    assert min(filled for _, filled in seen) < 9  # the last of a cell


def test_memory_is_planned_for_patches_of_the_field(to_judge: dict[str, str], tmp_path: Path) -> None:
    """Not for those that infer gives the network, which are larger."""

    def taken(batch: int) -> int:
        step = open_plan(a_job(to_judge, tmp_path, WHOLE, batch=batch)).steps[1]
        return step.task.memory(step.layout, step.grid.box(0), 0)

    patch, memory = read_model(to_judge["one"]).patch, read_model(to_judge["one"]).memory
    assert taken(1000 + np.prod(patch)) - taken(1000) == memory * np.prod(FIELD)


def test_a_part_has_the_answers_of_the_whole(to_judge: dict[str, str], tmp_path: Path) -> None:
    box = Box((14, 2, 9), (29, 17, 27))
    job = a_job(to_judge, tmp_path / "part", (8, 12, 8))
    part, whole = judged_by(job, box), judged_by(a_job(to_judge, tmp_path / "whole", WHOLE))
    places = np.floor(np.stack([part[axis].to_numpy() for axis in "xyz"], 1))
    here = ((places >= box.start) & (places < box.stop)).all(axis=1)
    assert here.any()
    assert not here.all()
    for name in ("class", "probability", "p_made0"):
        assert part[name].is_valid().to_numpy().tolist() == here.tolist()
    same = whole.filter(pc.is_in(whole["id"], part["id"].combine_chunks()))
    assert part.filter(pa.array(here)).equals(same.filter(pa.array(here)))


def test_a_table_of_a_part(to_judge: dict[str, str], tmp_path: Path) -> None:
    part = Box((16, 0, 8), VOLUME.stop)
    rows = rows_of(200)
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    named = np.floor(places).astype(int)
    inside = ((named >= part.start) & (named < part.stop)).all(axis=1)
    rows = rows.filter(pa.array(inside))
    own = voxel_ids(named[inside] - np.array(OFFSET), SIZE)
    rows = rows.set_column(0, "id", pa.array(own)).sort_by("id")
    table = write_table(tmp_path / "part", rows, FILES, VOLUME, part)
    judged = judged_by(a_job({**to_judge, "objects": table}, tmp_path / "a", (8, 16, 8)))
    np.testing.assert_allclose(
        judged["p_made0"].to_numpy(), expected_of(to_judge["one"], rows, [blobs(SIZE)])[:, 0], atol=1 / 65535
    )


def test_rows_in_other_voxels_than_the_images(to_judge: dict[str, str], tmp_path: Path) -> None:
    """The table counts in voxels twice as large, as one made at a coarser mip."""
    rows = rows_of(200)
    for axis in "xyz":
        where = rows.column_names.index(axis)
        rows = rows.set_column(where, axis, pa.array(rows[axis].to_numpy() / 2))
    coarse = VOLUME.coarsen((2, 2, 2))
    table = table_over(tmp_path / "coarse", rows, coarse, (2000.0, 2000.0, 4000.0))
    judged = judged_by(a_job({**to_judge, "objects": table}, tmp_path / "a", (8, 16, 8)))
    plain = judged_by(a_job(to_judge, tmp_path / "b", WHOLE))
    assert judged["p_made0"].equals(plain["p_made0"])


def test_resampled_images(to_judge: dict[str, str], tmp_path: Path) -> None:
    fine = make_layer(tmp_path / "em", blobs((60, 50, 40)), voxel_size=FINE)
    volume = Box.of_size((60, 50, 40))
    rows = rows_of(80)
    random = np.random.default_rng(3)
    for axis, side in zip("xyz", volume.size, strict=True):
        rows = rows.set_column(rows.column_names.index(axis), axis, pa.array(random.uniform(0, side, 80)))
    places = {**to_judge, "em": fine, "objects": table_over(tmp_path / "o", rows, volume, FINE)}
    with pytest.raises(BadInput, match=r"give em@0, and resample: true"):
        open_plan(a_job(places, tmp_path / "no", (8, 8, 8)))
    one = judged_by(a_job(places, tmp_path / "a", (8, 16, 8), resample=True))
    assert one.equals(judged_by(a_job(places, tmp_path / "b", (64, 64, 64), resample=True)))
    assert np.ptp(one["p_made0"].to_numpy()) > 0.3


@pytest.mark.parametrize("size", [(5, 4, 3), (44, 1, 28)])
def test_thin_and_small_volumes(to_judge: dict[str, str], tmp_path: Path, size: Vec) -> None:
    em = make_layer(tmp_path / "em", blobs(size), voxel_size=VOXEL_SIZE)
    volume = Box.of_size(size)
    named = np.stack(np.unravel_index(np.arange(0, volume.voxels, 7), size), 1)
    columns = {"id": voxel_ids(named, size)} | dict(zip("xyz", (named + 0.5).T, strict=True))
    table = write_table(tmp_path / "o", pa.table(columns).sort_by("id"), None, volume)
    places = {**to_judge, "em": em, "objects": table}
    one = judged_by(a_job(places, tmp_path / "a", (4, 4, 4)))
    assert one.equals(judged_by(a_job(places, tmp_path / "b", WHOLE)))


def test_an_array_of_answers_agrees_with_infer(to_judge: dict[str, str], tmp_path: Path) -> None:
    """The same model over all voxels: bytes do not depend on the cut, and away from the borders of its
    patches they are what judge says."""
    layers = {"em": to_judge["em"], "made": ""}
    found = []
    for chunk in ((16, 40, 16), WHOLE):
        folder = tmp_path / str(chunk[0])
        task = {"images": ["em"], "model": to_judge["one"], "made": "made", "dtype": "uint16"}
        job = make_job(
            folder, layers | {"made": str(folder / "made")}, [{"infer": task}],
            chunk=list(chunk), storage=[8, 8, 8],
        )  # fmt: skip
        assert run_job(job) == "complete"
        found.append(read_layer(folder / "made"))
    np.testing.assert_array_equal(*found)
    first: dict[str, Any] = {"id": voxel_ids(np.zeros((1, 3), int), SIZE)}
    first |= {axis: [n + 0.5] for axis, n in zip("xyz", OFFSET, strict=True)}
    corner = write_table(tmp_path / "corner", pa.table(first), None, VOLUME)
    judged = judged_by(a_job({**to_judge, "objects": corner}, tmp_path / "judged", WHOLE))
    assert abs(judged["p_made0"][0].as_py() * 65535 - found[0][0, 0, 0]) <= 1.01
