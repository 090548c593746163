"""The demo's whole job with every layer, table, mesh, point and the ledger on S3 or GCS, where one request in
ten fails: all that it makes is as on a disk."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from chunkflow.data.folder import Folder
from chunkflow.data.tables import read_table
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.jobs.planned import open_plan
from chunkflow.people.service.catalogue.datasets import layer_address
from chunkflow.people.service.local.viewer import start_server
from chunkflow.people.viewing.shown import layers_to_show
from cli.demo.nuclei import document
from cli.main import main
from testbed.fault_proxy import FAULTS, Faults, fault_proxy
from testbed.moto import moto_server
from tests.support.jobs import read_layer, run_job
from tests.support.same import assert_all_accounted, assert_same, files_of
from tests.support.servers import gcs_at, gcs_server, s3_at


def demo_job(root: str) -> Job:
    written: dict[str, Any] = document(Path("/demo"), (96, 96, 64), 3)
    written["chunk"] = [64, 64, 64]
    written["work"] = f"{root}/work"
    written["layers"] = {name: f"{root}/{name}" for name in written["layers"]}
    return Job.from_document(written, Path("/"))


def made(job: Job) -> dict[str, Any]:
    """All that the job made, and what its ledger counted."""
    found: dict[str, Any] = {}
    for product in open_plan(job).products.values():
        key, info = f"{product.name}@{product.mip}", product.info
        if info.kind == "table":
            found[key] = read_table(info, info.bounds).sort_by("id")
        elif info.kind == "folder":
            found[key] = files_of(info.url)
        else:
            found[key] = read_layer(info.url, product.mip)
    steps = Ledger.load(Folder(job.work)).state.stages
    return found | {f"{name}: counts": (step.cells, step.done, step.counts) for name, step in steps.items()}


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    job = demo_job(f"file://{tmp_path_factory.mktemp('disk')}")
    assert run_job(job) == "complete"
    found = made(job)
    assert len(found["objects@0"])
    assert found["nuclei/mesh@0"]
    return found


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def s3(faults: Faults) -> Iterator[str]:
    with moto_server() as store, fault_proxy(store, faults) as address, s3_at(address):
        boto3.client("s3").create_bucket(Bucket="brains")
        yield "s3://brains"


@pytest.fixture(scope="module")
def gcs(faults: Faults) -> Iterator[str]:
    with ExitStack() as stack:
        address = stack.enter_context(fault_proxy(stack.enter_context(gcs_server()), faults))
        stack.enter_context(gcs_at(address))
        yield "gs://bucket"


@pytest.mark.parametrize("store", ["s3", "gcs"])
def test_the_whole_job_is_as_on_a_disk(
    store: str, on_disk: dict[str, Any], faults: Faults, request: pytest.FixtureRequest
) -> None:
    job = demo_job(request.getfixturevalue(store))
    faults.met.clear()
    faults.rate = 0.1
    assert run_job(job) == "complete"
    faults.rate = 0.0
    assert all(faults.met[fault] for fault in FAULTS), faults.met
    assert_all_accounted(job)
    assert_same(made(job), on_disk, store)
    asked = faults.met["requests"]
    assert run_job(job) == "complete"  # the ledger is read back: nothing is left to do
    assert faults.met["requests"] - asked < asked / 2


def test_commands_read_what_lies_there(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = demo_job(s3)
    assert run_job(job) == "complete"  # the test before may have done it all
    monkeypatch.chdir(tmp_path)
    image, again = f"{s3}/dapi", f"{s3}/again"
    for words in (
        ["status", job.work],
        ["failed", job.work],
        ["replay", job.work, "segment", "0"],
        ["export", job.work, "objects", "--to", "objects.csv"],
        ["export", f"{s3}/centres", "--to", "centres.csv"],
        ["export", image, "--to", "dapi.tif"],
        ["import", "objects.csv", again, "--like", image],
        ["export", again, "--to", "again.csv"],
    ):
        monkeypatch.setattr("sys.argv", ["chunkflow", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, words
    exported = [(tmp_path / name).read_text().splitlines() for name in ("objects.csv", "again.csv")]
    assert sorted(exported[0]) == sorted(exported[1])
    urls, links = layers_to_show([job.work])
    with start_server(urls, 0, links) as server:
        for name, url in urls.items():
            with urllib.request.urlopen(layer_address(server.base, name) + "/info") as answer:
                assert json.loads(answer.read()) == json.loads(Folder(url).get("info") or b"")
