"""Files that a job has read, changed under their names: refused, until their tasks are cleared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import chunkflow as cf
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run import opening
from chunkflow.errors import BadInput, Incomplete
from chunkflow.people.learning.model import save
from chunkflow.task import File, Image, Out, Task
from tasks.cells.coincide import Coincide
from tasks.count.count import Count
from tests.support.files.classifiers import CLASSES, described, fitted, saved_model
from tests.support.jobs import make_job, make_layer, read_layer, read_table

ZYX = np.random.default_rng(4).integers(0, 60000, (5, 90, 70)).astype(np.uint16)


def classified(folder: Path) -> Job:
    """Two tasks, the second of which reads a model."""
    labels = np.zeros((32, 32, 32), np.uint32)
    for number, corner in enumerate(np.ndindex(4, 4, 4), 1):
        x, y, z = np.array(corner) * 8
        labels[x : x + 1 + number % 7, y : y + 5, z : z + 5] = number
    image = np.where(labels, 100 + labels * 5, 90).astype(np.uint16)
    layers = {
        "labels": make_layer(folder / "labels", labels, "segmentation"),
        "dapi": make_layer(folder / "dapi", image),
    }
    measure = {"labels": "labels", "images": ["dapi"], "objects": "objects"}
    model = {"objects": "objects", "model": str(saved_model(folder)), "classes": "classes"}
    return make_job(folder, layers, [{"measure": measure}, {"classify": model}], chunk=(32, 32, 32))


def again(job: Job, **keys: Any) -> cf.Work:
    """The job as a notebook runs it."""
    return cf.Job.model_validate(job.model_dump()).run(serial=True, **keys)


def classes_in(folder: Path) -> set[str]:
    return set(read_table(folder / "work" / "tables" / "classes").column("class").to_pylist())


def train_again(folder: Path) -> None:
    """A model of other classes under the same name."""
    others = [name.upper() for name in CLASSES]
    save(folder / "cells.skops", fitted(classes=others), described(classes=others))


def test_a_model_that_was_trained_again_is_refused_until_its_task_is_cleared(tmp_path: Path) -> None:
    job = classified(tmp_path)
    work = again(job)
    before, kept = classes_in(tmp_path), (tmp_path / "cells.skops").read_bytes()
    shutil.copy(tmp_path / "cells.skops", tmp_path / "copy")
    os.replace(tmp_path / "copy", tmp_path / "cells.skops")
    again(job)
    train_again(tmp_path)
    for run in (lambda: again(job), lambda: work.run(serial=True), lambda: again(job, restart="")):
        with pytest.raises(BadInput) as refused:
            run()
        assert str(refused.value) == (
            "classify was made with another model (cells.skops has changed): put back what was there, use "
            "another work folder, or restart classify: that clears this task and those after it."
        )
    assert classes_in(tmp_path) == before
    assert again(job, restart="classify").status().ended == "complete"
    assert {name.lower() for name in classes_in(tmp_path)} == before
    assert classes_in(tmp_path).isdisjoint(before)
    again(job)
    (tmp_path / "cells.skops").write_bytes(kept)
    with pytest.raises(BadInput, match="with another model"):
        again(job)


def test_a_task_that_has_not_begun_takes_whatever_is_there(tmp_path: Path) -> None:
    job = classified(tmp_path)
    again(job.until("measure"))
    train_again(tmp_path)
    again(job)
    assert classes_in(tmp_path) <= {name.upper() for name in CLASSES}


def nothing(*_: object) -> dict[str, dict[str, str]]:
    return {}


def test_a_ledger_without_fingerprints_opens_and_has_them_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", ZYX)
    with monkeypatch.context() as earlier:
        earlier.setattr(opening, "files_to_record", nothing)
        assert brought_in(tmp_path).record().files == {}
    tifffile.imwrite(tmp_path / "stack.tif", ZYX + 1)
    assert set(brought_in(tmp_path).record().files["ingest"]) == {"source"}
    tifffile.imwrite(tmp_path / "stack.tif", ZYX + 2)
    with pytest.raises(BadInput, match="another source"):
        brought_in(tmp_path)


def test_the_model_that_an_earlier_ledger_has_decided_on_is_held_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = classified(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(opening, "files_to_record", nothing)
        assert again(job).record().files == {}
    train_again(tmp_path)
    with pytest.raises(BadInput, match="classify was made with another model"):
        again(job)


def brought_in(folder: Path, source: str = "stack.tif", **keys: Any) -> cf.Work:
    return cf.ingest(folder / source, folder / "dapi", (500, 500, 1000), serial=True, **keys)


def planes(folder: Path, zyx: np.ndarray) -> None:
    shutil.rmtree(folder / "planes", ignore_errors=True)
    (folder / "planes").mkdir()
    for number, plane in enumerate(zyx):
        tifffile.imwrite(folder / "planes" / f"p{number}.tif", plane)


def zarr(folder: Path, zyx: np.ndarray) -> None:
    import zarr as library

    shutil.rmtree(folder / "planes", ignore_errors=True)
    group = library.open_group(folder / "planes", mode="w", zarr_format=2)
    group.create_array("0", data=zyx, chunks=(4, 32, 32))
    group.attrs["multiscales"] = [{"axes": [*"zyx"], "datasets": [{"path": "0"}]}]


@pytest.mark.parametrize("write", [planes, zarr])
def test_a_source_of_many_files_is_held_to_what_was_brought_in(
    tmp_path: Path, write: Callable[[Path, np.ndarray], None]
) -> None:
    write(tmp_path, ZYX)
    brought_in(tmp_path, "planes")
    for file in (tmp_path / "planes").rglob("*"):
        os.utime(file, (1, 1))
    (tmp_path / "planes" / "notes.txt").write_text("which are not read")
    brought_in(tmp_path, "planes")
    (tmp_path / "planes" / "notes.txt").unlink()
    write(tmp_path, ZYX[:, :60, :50] + 1)
    with pytest.raises(BadInput, match=r"another source \(planes has changed\).*restart ingest"):
        brought_in(tmp_path, "planes")
    np.testing.assert_array_equal(read_layer(tmp_path / "dapi"), ZYX.T)
    brought_in(tmp_path, "planes", restart=True)
    np.testing.assert_array_equal(read_layer(tmp_path / "dapi"), (ZYX[:, :60, :50] + 1).T)
    files = [file.name for file in (tmp_path / "dapi" / "500_500_1000").iterdir()]
    assert files == ["0-50_0-60_0-5"], "and nothing is left of the larger one"


def test_all_tasks_that_have_read_a_changed_file_are_named_and_cleared(tmp_path: Path) -> None:
    for offset in (0, 1):
        metadata = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "cFos"]}}
        tifffile.imwrite(tmp_path / "stack.tif", np.stack([ZYX, ZYX]) + offset, ome=True, metadata=metadata)
        if offset:
            with pytest.raises(BadInput, match="restart ingest and ingest-2: that clears these tasks"):
                brought_in(tmp_path)
        brought_in(tmp_path, restart=bool(offset))
        for name in ("DAPI", "cFos"):
            np.testing.assert_array_equal(read_layer(tmp_path / "dapi" / name), ZYX.T + offset)


def test_a_changed_file_is_refused_before_a_job_is_submitted(tmp_path: Path) -> None:
    from cluster.submission.submit import check

    job = classified(tmp_path)
    again(job)
    train_again(tmp_path)
    with pytest.raises(BadInput, match="another model"):
        check(job, None, [])
    assert check(job, None, ["classify"]).startswith("classify: 2 finished chunks")


class Add(Task):
    """Add the number in a file; one that is missing fails the chunk."""

    image: Image
    number: File
    sum: Image = Out()

    def map(self, cell: Any, image: Any) -> Any:
        path = Path(self.number)
        return image.like(image.array + int(path.read_text() if path.exists() else "none"))


def test_a_file_that_is_gone_is_missed_by_none_but_those_that_read_it(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "image", np.ones((32, 32, 16), np.uint16), chunk=(16, 16, 16))
    layers, task = (
        {"image": layer, "sum": str(tmp_path / "sum")},
        Add(image="image", number=str(tmp_path / "n"), sum="sum"),
    )
    keys: dict[str, Any] = {
        "name": "add",
        "work": tmp_path / "work",
        "chunk": (16, 16, 16),
        "storage": (16, 16, 16),
    }
    job = cf.Job(layers=layers, tasks=[task], **keys)
    with pytest.raises(Incomplete):
        job.run(serial=True)
    (tmp_path / "n").write_text("2")
    job.run(serial=True)
    (tmp_path / "n").unlink()
    known = job.run(serial=True).record().files
    (tmp_path / "n").write_text("3")
    with pytest.raises(BadInput, match=r"Add was made with another number \(n has changed\)"):
        job.run(serial=True)
    (tmp_path / "n").write_text("2")
    assert job.run(serial=True).record().files == known != {}
    assert (read_layer(tmp_path / "sum") == 3).all()


def test_tasks_tell_which_files_they_read(tmp_path: Path) -> None:
    for name in ("registered_atlas.tiff", "registered_hemispheres.tiff", "deformation_field_0.tiff"):
        (tmp_path / name).touch()
    count = Count(objects="o", brainreg=str(tmp_path), names=str(tmp_path / "names.csv"))
    assert {name: [Path(path).name for path in paths] for name, paths in count.files_read().items()} == {
        "brainreg": ["registered_atlas.tiff", "registered_hemispheres.tiff"],
        "names": ["names.csv"],
    }
    rules = {"a": 5.0, "b": "/models/b.skops"}
    assert Coincide(objects="o", channels=rules).files_read() == {"channels.b": ["/models/b.skops"]}
    assert Coincide(objects="o", channels={"a": 5.0}).files_read() == {}
