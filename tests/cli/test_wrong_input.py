"""Bad input is refused in one sentence with exit code 2, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import Command, is_one_sentence, job_document, listing

Document = dict[str, Any]


def changed(change: Callable[[Document], Any]) -> str:
    document = job_document()
    change(document)
    return yaml.safe_dump(document)


def tasks(*entries: Any) -> str:
    return changed(lambda d: d.update(tasks=list(entries)))


def with_key(key: str, value: Any) -> str:
    return changed(lambda d: d.update({key: value}))


SEGMENT = {"image": "dapi", "labels": "nuclei"}
JOBS: dict[str, tuple[str, list[str]]] = {
    "not YAML": ("job: [", ["job.yaml", "YAML"]),
    "not a mapping": ("- a\n- b\n", ["job.yaml", "not a job file"]),
    "an empty file": ("", ["job.yaml", "not a job file"]),
    "an unknown key": (with_key("chunks", [1, 1, 1]), ["chunks", "chunk,"]),
    "no work": (changed(lambda d: d.pop("work")), ["work", "missing"]),
    "an unknown task": (tasks({"segmnt": SEGMENT}), ["segmnt", "did you mean segment"]),
    "an unknown parameter": (tasks({"segment": {**SEGMENT, "diametre": 8}}), ["diametre", "diameter"]),
    "an unknown layer": (tasks({"segment": {**SEGMENT, "image": "dpi"}}), ["dpi", "dapi"]),
    "a missing input": (tasks({"segment": {"labels": "nuclei"}}), ["image", "missing"]),
    "a wrong type": (tasks({"segment": {**SEGMENT, "diameter": "wide"}}), ["diameter", "wide"]),
    "a negative diameter": (tasks({"segment": {**SEGMENT, "diameter": -8}}), ["diameter", "-8"]),
    "an image as labels": (tasks({"measure": {"labels": "dapi"}}), ["labels", "dapi is an image"]),
    "labels as an image": (tasks({"segment": {**SEGMENT, "image": "cells"}}), ["image", "cells is labels"]),
    "a missing mip": (tasks({"segment": {**SEGMENT, "image": "dapi@3"}}), ["dapi", "mip 3"]),
    "a mip that is no number": (tasks({"segment": {**SEGMENT, "image": "dapi@x"}}), ["dapi@x"]),
    "no place for what is made": (tasks({"segment": {"image": "dapi"}}), ["labels", "layer"]),
    "a place that is no layer": (tasks({"segment": {**SEGMENT, "labels": "nucleii"}}), ["nucleii"]),
    "an unaligned chunk": (with_key("chunk", [30, 32, 32]), ["[30, 32, 32]", "[16, 32, 32]", "[32, 32, 32]"]),
    "a chunk of two sizes": (with_key("chunk", [32, 32]), ["chunk"]),
    "an empty chunk": (with_key("chunk", [0, 32, 32]), ["chunk", "at least 1"]),
    "no tasks": (with_key("tasks", []), ["tasks", "list"]),
    "a task that is a number": (tasks(7), ["7"]),
    "parameters that are a list": (tasks({"segment": [1]}), ["segment", "[1]"]),
    "two that write the same": (tasks({"segment": SEGMENT}, {"segment": SEGMENT}), ["nuclei", "segment"]),
    "writing an input": (tasks({"copy": {"source": "dapi", "target": "dapi"}}), ["dapi", "reads"]),
    "writing what exists": (tasks({"copy": {"source": "dapi", "target": "cells"}}), ["cells", "exists"]),
    "two names of a place": (
        changed(lambda d: (d["layers"].update(nuclei="./dapi"), d.update(tasks=[{"segment": SEGMENT}]))),
        ["nuclei", "dapi"],
    ),
    "an encoding that does not exist": (
        changed(lambda d: d["layers"].update(nuclei={"url": "nuclei", "encoding": "zip"})),
        ["nuclei", "zip"],
    ),
    "an encoding for other data": (
        changed(lambda d: d["layers"].update(nuclei={"url": "nuclei", "encoding": "jpeg"})),
        ["nuclei", "jpeg"],
    ),
    "a layer that is not there": (changed(lambda d: d["layers"].update(dapi="dapy")), ["dapy"]),
    "a layer of a strange scheme": (changed(lambda d: d["layers"].update(dapi="foo://dapi")), ["foo://dapi"]),
    "a mask that is not there": (with_key("mask", "brain"), ["brain"]),
    "no memory": (with_key("memory", -1), ["memory"]),
    "a module that is not there": (tasks({"gone:Keep": {"image": "dapi"}}), ["gone", "beside the job file"]),
    "a class that is not there": (tasks({"own:Gone": {"image": "dapi"}}), ["own", "Gone"]),
    "a class that is no task": (tasks({"own:not_a_task": {}}), ["own:not_a_task", "Task"]),
    "a module with a fault": (tasks({"broken:Keep": {}}), ["broken", "line 1"]),
    "a module that raises": (tasks({"raising:Keep": {}}), ["raising", "ZeroDivisionError"]),
}


@pytest.mark.parametrize("case", JOBS)
def test_a_job_that_cannot_run_is_refused(lab: Path, command: Command, case: str) -> None:
    text, words = JOBS[case]
    (lab / "broken.py").write_text("class Keep(:\n")
    (lab / "raising.py").write_text("1 / 0\n")
    (lab / "job.yaml").write_text(text)
    before = listing(lab)
    said = command("run", "job.yaml", "--serial")
    assert (said.code, said.out) == (2, "")
    assert is_one_sentence(said.err), said.err
    assert all(word in said.err for word in words), said.err
    assert listing(lab) == before


WORDS: dict[str, tuple[list[str], list[str]]] = {
    "no job file": (["run", "jop.yaml"], ["jop.yaml"]),
    "a folder for a job": (["run", "dapi"], ["dapi"]),
    "a box that is no box": (["run", "job.yaml", "--box", "all"], ["box", "all"]),
    "an empty box": (["run", "job.yaml", "--box", "4-4,0-8,0-8"], ["box", "4-4"]),
    "a box reversed": (["run", "job.yaml", "--box", "9-4,0-8,0-8"], ["box", "9-4"]),
    "a box elsewhere": (["run", "job.yaml", "--box", "900-908,0-8,0-8"], ["900-908", "outside"]),
    "a setting without a value": (["run", "job.yaml", "--set", "chunk"], ["key=value", "chunk"]),
    "a setting of nothing": (["run", "job.yaml", "--set", "a.b=1"], ["a"]),
    "a setting of another task": (["run", "job.yaml", "--set", "tasks.mesh.error=1"], ["mesh"]),
    "a setting that is not YAML": (["run", "job.yaml", "--set", "chunk=["], ["chunk"]),
    "a setting below a number": (["run", "job.yaml", "--set", "job.name.x=1"], ["job.name"]),
    "a restart of another task": (["run", "job.yaml", "--restart", "mesh"], ["mesh", "segment, measure"]),
    "workers that are no number": (["run", "job.yaml", "--workers", "two"], ["--workers", "integer"]),
    "fewer than no workers": (["run", "job.yaml", "--workers", "-1"], ["workers"]),
    "two ways to run": (["run", "job.yaml", "--address", "ray://x:1", "--serial"], ["address", "serial"]),
    "a cluster that is not there": (["run", "job.yaml", "--address", "ray://127.0.0.1:1"], ["127.0.0.1:1"]),
    "a cluster of no port": (["run", "job.yaml", "--address", "head"], ["address takes", "head"]),
    "a work folder that is none": (["status", "dapi"], ["dapi", "not a work folder"]),
    "failures of no work folder": (["failed", "nowhere"], ["nowhere"]),
    "another try of none": (["retry", "nowhere"], ["nowhere"]),
    "a chunk of none": (["replay", "nowhere", "segment", "0"], ["nowhere"]),
    "an index that is no number": (["replay", "nowhere", "segment", "x"], ["INDEX", "integer"]),
    "an unknown command": (["sgment"], ["sgment", "segment"]),
    "an unknown option": (["run", "job.yaml", "--fast"], ["--fast"]),
    "too many words": (["status", "a", "b"], ["b"]),
    "nothing to run": (["run"], ["JOB"]),
    "a task without its output": (["segment", "dapi"], ["labels", "--labels"]),
    "a task with a bad size": (["copy", "dapi", "--target", "t", "--chunk", "64"], ["--chunk", "64"]),
    "a task with a bad encoding": (["copy", "dapi", "--target", "t", "--encoding", "zip"], ["zip"]),
    "a task with bad YAML": (["segment", "dapi", "--labels", "t", "--threshold", "["], ["--threshold"]),
    "meshes into an input": (["mesh", "cells"], ["meshes", "cells"]),
    "mips into an input": (["downsample", "cells"], ["cells", "--target"]),
    "a plan of a strange sample": (["plan", "job.yaml", "--sample", "-1"], ["--sample"]),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_that_make_no_sense_are_refused(lab: Path, command: Command, case: str) -> None:
    typed, words = WORDS[case]
    before = listing(lab)
    said = command(*typed, *(["--serial"] if typed[0] in ("segment", "copy", "mesh", "downsample") else []))
    assert (said.code, said.out) == (2, "")
    assert is_one_sentence(said.err), said.err
    assert all(word in said.err for word in words), said.err
    assert listing(lab) == before


def test_a_work_folder_below_a_file_is_refused(lab: Path, command: Command) -> None:
    said = command("run", "job.yaml", "--serial", "--set", "work=job.yaml/work")
    assert (said.code, said.out) == (2, "")
    assert "job.yaml/work" in said.err
    assert is_one_sentence(said.err), said.err
