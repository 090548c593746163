"""Tasks and executors are found by name, however a job file or an earlier ledger writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

import pytest

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.modules import Modules
from chunkflow.registry import (
    CLUSTER,
    GROUP,
    builtin_tasks,
    from_cluster,
    installed_tasks,
    location_of,
    name_of,
    short_name,
    task_type,
    tasks,
)
from chunkflow.task import Task

FIELDS = {"image": "dapi", "labels": "nuclei"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that declares a task, and one of a name that is taken."""
    (tmp_path / "borrowed.py").write_text(
        "from chunkflow.task import Image, Out, Task\n"
        "class Sharpen(Task):\n    image: Image\n    sharp: Image = Out()\n"
        "class Segment(Sharpen):\n    pass\n"
    )
    facts = tmp_path / "borrowed-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: borrowed\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[chunkflow.tasks]\nsharpen = borrowed:Sharpen\nsegment = borrowed:Segment\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "borrowed", raising=False)
    installed_tasks.cache_clear()
    yield tmp_path
    installed_tasks.cache_clear()


@pytest.mark.parametrize("name", builtin_tasks())
def test_a_built_in_task_and_its_name_lead_to_each_other(name: str) -> None:
    kind = task_type(name, Modules())
    assert issubclass(kind, Task)
    assert name_of(kind) == name
    assert short_name(location_of(name)) == name


@pytest.mark.parametrize("written", ["segment", "tasks.cells.segment:Segment", location_of("segment")])
def test_a_job_records_the_short_name(tmp_path: Path, written: str) -> None:
    entry = {"name": "nuclei", "type": written, "parameters": FIELDS}
    document = {"job": "rat", "work": "work", "layers": {"dapi": "dapi"}, "tasks": [entry]}
    assert Job.from_document(document, tmp_path).tasks[0].type == "segment"
    assert Job.model_validate(document).tasks[0].type == "segment"


def test_a_class_of_the_users_own_keeps_its_name() -> None:
    for name in ("smooth:MedianFilter", "tasks.cells.segment:Other", "segment:Segment", "tasks.own:Segment"):
        assert short_name(name) == name


def test_a_task_of_an_installed_package_has_the_name_that_it_declares(package: Path) -> None:
    assert location_of("sharpen") == "borrowed:Sharpen"
    assert name_of(task_type("sharpen", Modules())) == "sharpen"
    assert location_of("segment") == builtin_tasks()["segment"], "which is taken"
    assert list(tasks()) == [*builtin_tasks(), "sharpen"]
    with pytest.raises(BadInput, match=r"no task 'sharpn'; did you mean sharpen.* tag, sharpen, and your"):
        location_of("sharpn")


def test_an_installed_task_is_recorded_alike_however_it_is_given(package: Path) -> None:
    given = {"image": "dapi", "sharp": "sharp"}
    task = task_type("borrowed:Sharpen", Modules())(**given)
    jobs = [
        Job.from_document({"job": "rat", "work": "work", "tasks": [written]}, package)
        for written in ({"borrowed:Sharpen": given}, {"sharpen": given}, task)
    ]
    assert [job.tasks[0].type for job in jobs] == ["sharpen"] * 3
    folder = package / "lab"
    assert Job.from_document({"job": "rat", "work": "work", "tasks": [task]}, folder).modules.folder == folder


def test_what_is_installed_is_gone_through_once_and_only_for_names_that_are_not_built_in(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(group: str) -> EntryPoints:
        asked.append(group)
        return entry_points(group=group)

    monkeypatch.setattr("chunkflow.registry.entry_points", counted)
    assert location_of("segment") == builtin_tasks()["segment"]
    assert not asked
    assert location_of("sharpen") == location_of("borrowed:Sharpen") == "borrowed:Sharpen"
    assert asked == [GROUP]


def test_parts_of_the_cluster_are_found_by_name() -> None:
    assert {from_cluster(name).__name__ for name in CLUSTER} == {
        "Machine",
        "Cluster",
        "submit",
        "submission_of",
        "run_side_by_side",
    }
