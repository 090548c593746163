"""The public API: what is given arrives as it is, and a work folder tells the truth of its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger


def test_the_size_of_voxels_is_taken_as_it_is_given(brain: Path, tmp_path: Path) -> None:
    size = (1234.567, 0.25, 12345.678)
    work = cf.ingest(brain / "stack.npy", tmp_path / "stack", size, axes="xyz", serial=True)
    assert work.volume("layer").info.voxel_size == size


def begun_nowhere(folder: Path) -> cf.Work:
    """The work folder of a job that was submitted, and has not run yet."""
    url = f"file://{folder / 'later'}"
    return cf.Work(url, Ledger.load(Folder(url)))


LOOKS: dict[str, Callable[[cf.Work], Any]] = {
    "status": cf.Work.status,
    "job": cf.Work.job,
    "box": cf.Work.box,
    "plan": cf.Work.plan,
    "table": cf.Work.table,
    "volumes": cf.Work.volumes,
    "unread": cf.Work.unread,
    "run": cf.Work.run,
    "report": cf.Work.report,
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_job_that_has_not_run_yet_is_said(tmp_path: Path, look: str) -> None:
    with pytest.raises(cf.BadInput, match=f"^No job has run in {tmp_path}/later yet"):
        LOOKS[look](begun_nowhere(tmp_path))


def test_a_work_folder_follows_its_ledger(brain: Path, tmp_path: Path) -> None:
    work = begun_nowhere(tmp_path)
    said = f"No job has run in {tmp_path}/later yet."
    assert (repr(work), work._repr_html_()) == (said, f"<p>{said}</p>")
    layers = {"dapi": brain / "dapi", "nuclei": tmp_path / "nuclei"}
    job = cf.Job.read(brain / "job.yaml", layers=layers, work=tmp_path / "later")
    job.run(serial=True)
    assert work.table_info("objects").url == f"{work.url}/tables/objects"
    assert (work.job().name, type(work.job())) == ("rat", cf.Job)
    assert repr(work).startswith("rat: complete")
    assert "rat: complete" in work._repr_html_()
