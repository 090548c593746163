"""Doctor: it names what is wrong, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from cloudvolume import CloudVolume
from typer.testing import CliRunner

from cli.doctor import doctor
from cluster import probe
from cluster.health import cluster as doctor_cluster
from cluster.health import here as doctor_here
from cluster.health.cluster import examine_cluster
from cluster.health.here import examine_here, strangers
from cluster.health.places import NOTHING, WORK, Tried, reach, try_place
from tests.support.clusters.ray_head import Head


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.fixture
def layer(tmp_path: Path) -> str:
    array = np.ones((20, 10, 5), dtype=np.uint16)
    CloudVolume.from_numpy(array, f"file://{tmp_path}/dapi", (100, 100, 500), compress="", progress=False)
    return str(tmp_path / "dapi")


def test_versions_and_machine_are_told(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_here, "strangers", lambda distributions: [])
    code, text = run(layer)
    assert code == 0
    for word in (
        "chunkflow",
        "python",
        "ray",
        "cores",
        "memory",
        "disk",
        "20 x 10 x 5 voxels",
        "Nothing is wrong",
    ):
        assert word in text


def test_another_distribution_of_our_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert strangers({"chunkflow": ["chunkflow-ray"], "cli": ["chunkflow-ray"]}) == []
    assert strangers({}) == []
    (fault,) = strangers({"chunkflow": ["chunkflow-ray", "chunkflow"], "numpy": ["numpy"]})
    assert "pip uninstall chunkflow`" in fault
    monkeypatch.setattr(doctor_here, "strangers", lambda distributions: [fault])
    code, text = run()
    assert code == 1
    assert "another distribution, chunkflow," in text


def test_a_layer_whose_voxels_are_gone_is_not_reachable(layer: str) -> None:
    assert reach(layer)[1]
    for file in Path(layer).glob("100*/*"):
        file.unlink()
    text, good = reach(layer)
    assert not good
    assert "lacks a storage chunk" in text


def test_what_is_wrong_here_is_data(layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_here, "strangers", lambda distributions: ["another chunkflow"])
    found = examine_here([layer, str(tmp_path / "nothing")])
    assert found.faults == ["another chunkflow", f"{tmp_path / 'nothing'}: {NOTHING}"]
    assert "20 x 10 x 5 voxels" in found.places[layer]
    assert {"chunkflow", "python"} <= set(found.versions)
    assert {"cores", "memory"} <= set(found.machine)


def test_nothing_there_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_here, "strangers", lambda distributions: [])
    code, text = run(str(tmp_path / "nothing"))
    assert code == 1
    assert "no layer, no work folder" in text


def test_a_place_is_tried_and_left_as_it_was(layer: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    image = try_place(layer)
    assert (image.read, image.write, image.delete, image.fault) == ("yes", "yes", "yes", "")
    new = try_place(str(tmp_path / "jobs" / "rat"))
    assert (new.what, new.read, new.write, new.fault) == (NOTHING, "no", "yes", "")
    assert sorted(tmp_path.rglob("*")) == before
    refused = try_place("/proc/rat")
    assert refused.write.startswith("could not write")
    assert refused.fault.startswith("nothing is there, and it cannot be made: could not write")


def test_an_image_may_be_read_only_and_a_work_folder_not() -> None:
    assert Tried("image of 2 voxels", "yes", "forbidden", "not tried").fault == ""
    assert Tried("image of 2 voxels", "yes", "yes", "forbidden").fault == "forbidden"
    assert Tried(WORK, "yes", "forbidden", "not tried").fault == "forbidden"
    assert Tried("could not read info", "no", "yes", "yes").fault == "could not read info"


def test_what_the_nodes_say_is_data_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    here = probe.here()
    image = {"what": "image of 2 voxels", "read": "yes", "write": "yes", "delete": "yes"}
    node = {**here, "device": "", "cores": 4, "memory": 16, "packages": {}, "places": {"s3://lab/x": image}}
    lost = {**image, "what": "gone", "read": "no"}
    answers = {
        "1": node | {"host": "a"},
        "2": node | {"host": "b", "chunkflow": "other", "places": {"s3://lab/x": lost}},
        "3": node | {"host": "c"},
        "4": "It is not up.",
    }
    monkeypatch.setattr(doctor_cluster, "_by_job", lambda address, urls: answers)
    found = examine_cluster("http://head:8265", ["s3://lab/x"])
    assert set(found.nodes) == {"1", "2", "3"}
    assert found.places == {"s3://lab/x": {Tried(**image): ["a", "c"], Tried(**lost): ["b"]}}
    assert sorted(found.alike().values()) == [["a", "c"], ["b"]]
    assert found.faults == [
        "b (2): s3://lab/x: gone",
        "b (2): it has another chunkflow than this machine",
        "4: It is not up.",
    ]
    code, text = run("--address", "http://head:8265", "s3://lab/x")
    assert code == 1
    assert "s3://lab/x from 2 nodes: image of 2 voxels; read: yes, write: yes, delete: yes" in text
    assert "s3://lab/x from b: gone; read: no" in text
    rows = [line.split() for line in text.splitlines() if "GiB" in line]
    assert [row[-3:] for row in rows] == [["4", "16", "GiB"]] * 2
    assert "wrong  4: It is not up." in text


def test_each_node_of_a_cluster_tells_what_it_is_and_reaches(layer: str, head: Head) -> None:
    with head.another_node("g4dn.xlarge spot"):
        told = head.chunkflow("doctor", "--address", head.address, layer, "/proc/rat")
    assert told.code == 1, told
    rows = [line.split() for line in told.out.splitlines() if "this one" in line]
    assert len(rows) == 2
    assert any(row[1:3] == ["g4dn.xlarge", "spot"] for row in rows)
    assert f"{layer} from all nodes: segmentation of 20 x 10 x 5 voxels" in told.out, told.out
    assert "a first chunk was read; read: yes, write: yes, delete: yes" in told.out
    wrong = [line for line in told.out.splitlines() if line.startswith("wrong")]
    assert len(wrong) == 1
    assert "wrong  2 nodes, " in wrong[0]
    assert "file:///proc/rat: nothing is there, and it cannot be made: could not write" in wrong[0]
