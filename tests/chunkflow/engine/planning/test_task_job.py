"""The job of one task, whose layers are given by their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.engine.planning.task_job import job_of_task
from chunkflow.errors import BadInput


def test_layers_get_names_after_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = ["one/c fos@1", "two/c fos", tmp_path / "one" / "dapi"]
    job = job_of_task("measure", {"labels": "seg", "images": images, "objects": ""})
    assert job.work == f"file://{tmp_path}/measure.work"
    assert {name: entry.url for name, entry in job.layers.items()} == {
        "seg": f"file://{tmp_path}/seg",
        "c_fos": f"file://{tmp_path}/one/c fos",
        "c_fos_": f"file://{tmp_path}/two/c fos",
        "dapi": f"file://{tmp_path}/one/dapi",
    }
    assert job.tasks[0].parameters == {"labels": "seg", "images": ["c_fos@1", "c_fos_", "dapi"]}


def test_what_is_made_is_stored_as_asked(tmp_path: Path) -> None:
    places = {"source": str(tmp_path / "raw"), "target": str(tmp_path / "packed")}
    job = job_of_task("copy", places, str(tmp_path / "w"), (32, 32, 32), (16, 16, 16), "jpeg")
    assert (job.chunk, job.storage) == ((32, 32, 32), (16, 16, 16))
    assert {name: entry.encoding for name, entry in job.layers.items()} == {"raw": None, "packed": "jpeg"}


def test_a_task_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadInput, match="nonesuch"):
        job_of_task("nonesuch", {})


def test_a_task_of_ones_own_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(
        "from chunkflow.task import Image, Out, Task\n"
        "class Sharpen(Task):\n    image: Image\n    sharp: Image = Out()\n"
    )
    monkeypatch.chdir(tmp_path)
    job = job_of_task("own:Sharpen", {"image": "dapi", "sharp": "made"})
    assert (job.name, job.work) == ("Sharpen", f"file://{tmp_path}/Sharpen.work")
    assert list(job.sources()) == ["own.py"]
    assert job.tasks[0].parameters == {"image": "dapi", "sharp": "made"}
