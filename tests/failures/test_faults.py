"""A store that fails for good in one place, hangs, or loses its answers: what is told, what is tried, and
that no short data ever passes for whole."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import cloudfiles.interfaces
import google.cloud.storage.retry
import numpy as np
import pytest
import tenacity
from cloudfiles import CloudFiles
from cloudvolume import CloudVolume

import chunkflow.data.clients
import chunkflow.engine.run.retry_policy
from chunkflow.data.describe import layer_at
from chunkflow.data.folder import Folder
from chunkflow.data.volume import Volume
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.errors import BadInput, StorageError
from chunkflow.geometry import Box
from testbed.fault_proxy import Faults, fault_proxy
from testbed.moto import moto_server
from tests.support.jobs import make_job, read_layer, run_job
from tests.support.same import assert_all_accounted
from tests.support.servers import gcs_at, gcs_server, s3_at

BUCKET = "faulty"
FOR_EVER = 10**9


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, str]]:
    with moto_server() as s3, gcs_server() as gcs:
        yield {"s3": s3, "gs": gcs}


@pytest.fixture
def faults(stores: dict[str, str]) -> Iterator[Faults]:
    """What befalls both stores; the second is a plain web server, too."""
    found = Faults()
    with ExitStack() as stack:
        s3, gcs = (stack.enter_context(fault_proxy(address, found)) for address in stores.values())
        stack.enter_context(s3_at(s3))
        stack.enter_context(gcs_at(gcs))
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that ask again as often as ever, but at once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for kind in ("S3Interface", "GoogleCloudStorageInterface", "HttpInterface"):
        reading = getattr(cloudfiles.interfaces, kind).get_file
        monkeypatch.setattr(reading.retry, "wait", tenacity.wait_none())
    monkeypatch.setattr(google.cloud.storage.retry.DEFAULT_RETRY, "_timeout", 0.1)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[None]:
    """Clients that take half a second without a byte for a failure."""
    monkeypatch.setattr(chunkflow.data.clients, "READ_SECONDS", 0.5)
    chunkflow.data.clients.make_clients_quick()
    cloudfiles.interfaces.reset_connection_pools()
    yield
    monkeypatch.undo()
    chunkflow.data.clients.make_clients_quick()


def put_image(root: str) -> np.ndarray:
    """A layer of eight storage chunks, gzipped as CloudVolume does in a cloud."""
    image = np.random.default_rng(5).integers(1, 1000, (64, 64, 64)).astype(np.uint16)
    CloudVolume.from_numpy(
        image,
        f"{root}/image",
        resolution=[1000, 1000, 2000],
        chunk_size=[32, 32, 32],
        layer_type="image",
        progress=False,
    )
    return image


def copying_job(folder: Path, root: str, heartbeat: float = 5.0) -> Job:
    """Eight cells; each reads and writes the storage chunk of its own."""
    layers = {"image": f"{root}/image", "smooth": f"{root}/smooth"}
    tasks = [{"tests.support.own_tasks:Smooth": {"image": "image", "smooth": "smooth", "radius": 0}}]
    sizes = {"chunk": [32, 32, 32], "storage": [32, 32, 32]}
    return make_job(folder, layers, tasks, work=f"{root}/work", heartbeat=heartbeat, **sizes)


@pytest.mark.parametrize("fault", ["dead", "hung"])
def test_a_chunk_that_can_never_be_read_is_named_and_the_rest_is_done(
    fault: str, faults: Faults, tmp_path: Path, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chunkflow.engine.run.retry_policy.LIMITS", {**chunkflow.engine.run.retry_policy.LIMITS, "storage": 2}
    )
    root = f"s3://{BUCKET}/{fault}"
    image = put_image(root)
    setattr(faults, fault, "GET .*/image/1000_1000_2000/32-64_0-32_0-32")
    job = copying_job(tmp_path, root)
    assert run_job(job, backoff=0.001) == "incomplete"
    setattr(faults, fault, "")
    step = Ledger.load(Folder(job.work)).state.stages["Smooth"]
    (failure,) = step.failures.values()
    assert (failure.index, failure.cause, failure.attempt, step.done) == (1, "storage", 2, 7)
    assert f"{root}/image: reading 32-64_0-32_0-32 failed" in failure.traceback
    assert run_job(job) == "complete"
    assert_all_accounted(job)
    np.testing.assert_array_equal(read_layer(f"{root}/smooth"), image)


@pytest.mark.parametrize("in_a_row", [1, 3])
def test_ledger_segments_whose_answers_are_lost_are_the_runners_own(
    in_a_row: int, faults: Faults, tmp_path: Path
) -> None:
    """Once, and the client asks again; three times, and it gives up, and the runner settles it later."""
    root = f"s3://{BUCKET}/lost{in_a_row}"
    image = put_image(root)
    faults.only, faults.kinds, faults.rate, faults.in_a_row = "PUT .*/ledger/", ("lost",), 1.0, in_a_row
    job = copying_job(tmp_path, root, heartbeat=0.5)
    if in_a_row == 1:
        assert run_job(job) == "complete"
    else:  # whoever opens the ledger must be able to; from then on all answers are lost
        faults.rate = 0.0
        assert run_job(job, listeners=[lambda event: setattr(faults, "rate", 1.0)]) == "complete"
    faults.rate = 0.0
    assert faults.met["lost"] >= in_a_row
    assert_all_accounted(job, clean=True)
    assert len(Ledger.load(Folder(job.work)).state.runs) == 1
    np.testing.assert_array_equal(read_layer(f"{root}/smooth"), image)


def test_a_ledger_that_hangs_for_a_while_is_written_after_it(
    faults: Faults, tmp_path: Path, soon: None
) -> None:
    root = f"s3://{BUCKET}/hanging"
    put_image(root)

    def hang(event: Event) -> None:
        """From the first cell on, until a put hangs."""
        if isinstance(event, CellDone) and not faults.met["hung"]:
            faults.hung = "PUT .*/ledger/"

    def mend() -> None:
        while not faults.met["hung"]:
            time.sleep(0.01)
        faults.hung = ""

    threading.Thread(target=mend, daemon=True).start()
    job = copying_job(tmp_path, root, heartbeat=0.5)
    assert run_job(job, listeners=[hang]) == "complete"
    assert faults.met["hung"]
    assert_all_accounted(job, clean=True)


def test_a_ledger_that_hangs_for_good_ends_the_run(faults: Faults, tmp_path: Path, soon: None) -> None:
    root = f"s3://{BUCKET}/hangs"
    put_image(root)

    def hang(event: Event) -> None:
        if isinstance(event, CellDone):
            faults.hung = "PUT .*/ledger/"

    job = copying_job(tmp_path, root, heartbeat=0.2)
    with pytest.raises(StorageError, match=r"could not write .*/work/ledger/"):
        run_job(job, listeners=[hang])
    faults.hung = ""
    assert run_job(job) == "complete"
    assert_all_accounted(job)


@pytest.mark.parametrize("kind", ["short", "torn"])
@pytest.mark.parametrize("protocol", ["s3", "gs", "http"])
def test_a_body_that_is_cut_is_never_taken_for_the_whole(
    protocol: str, kind: str, faults: Faults, impatient: None
) -> None:
    place = f"{BUCKET}/{protocol}/{kind}"
    kept = f"{'s3' if protocol == 's3' else 'gs'}://{place}"
    web = f"{os.environ['STORAGE_EMULATOR_HOST']}/download/storage/v1/b/{BUCKET}/o"
    url = kept if protocol != "http" else f"{web}/{place.removeprefix(BUCKET + '/')}"
    data = bytes(range(250)) * 400
    image = put_image(kept)
    files = CloudFiles(kept)
    files.put("plain", data, compress=None)
    files.put("packed", data, compress="gzip")
    volume = Volume(layer_at(f"{url}/image"))
    faults.kinds, faults.rate = (kind,), 1.0
    for in_a_row in (FOR_EVER, 1):
        faults.in_a_row = in_a_row
        for name in ("plain", "packed"):
            got = caught(lambda name=name: Folder(url).get(name))
            assert got == (data if in_a_row == 1 else "StorageError"), name
        part = caught(lambda: CloudFiles(url).get({"path": "plain", "start": 1000, "end": 90_000}))
        assert part == data[1000:90_000] if in_a_row == 1 else isinstance(part, str), part
        voxels = caught(lambda: volume.read(Box((0, 0, 0), (64, 64, 64))).array)
        if in_a_row == 1:
            np.testing.assert_array_equal(voxels, image)
        else:
            assert voxels == "StorageError"
    assert faults.met[kind] > 8


def caught(do: Callable[[], object]) -> object:
    """What is returned, or the name of what is raised."""
    try:
        return do()
    except Exception as error:
        return type(error).__name__


def test_a_layer_that_cannot_be_opened_now_is_no_bad_input(faults: Faults, impatient: None) -> None:
    root = f"s3://{BUCKET}/opened"
    put_image(root)
    faults.dead = "/info"
    with pytest.raises(StorageError, match="cannot be opened"):
        layer_at(f"{root}/image")
    faults.dead = ""
    with pytest.raises(BadInput, match=r"no precomputed layer at s3://faulty/opened/none"):
        layer_at(f"{root}/none")
    with pytest.raises(BadInput, match=r"s3://nowhere/image .*cannot be opened: .*NoSuchBucket"):
        layer_at("s3://nowhere/image")


def test_what_the_store_refuses_is_not_asked_again(faults: Faults) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket"):
        Folder("s3://nowhere/work").get("a")
    assert faults.asked["GET /nowhere/work/a"] == 1


def test_a_lost_answer_is_no_reason_to_refuse_a_store(faults: Faults) -> None:
    faults.kinds, faults.rate, faults.in_a_row = ("lost",), 1.0, 1
    Folder(f"s3://{BUCKET}/probed").check_conditional_put()
    assert faults.met["lost"] >= 2
