"""Joining a cluster: by Ray's own address or its client, and only one that has what this machine has."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from cli.demo.nuclei import document
from cluster import probe
from cluster.health.cluster import examine_cluster
from cluster.workers import connection
from cluster.workers.connection import ADVICE, join, refuse_other_versions
from testbed.moto import free_port
from tests.support.jobs import run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"python": "3.13.1"}, "has Python 3.13.1, and this machine 3."),
        ({"ray": "2.49.0"}, "has Ray 2.49.0, and this machine 2."),
        ({"chunkflow": ""}, "has no chunkflow."),
        ({"chunkflow": "0123456789abcdef"}, "has another chunkflow than this machine."),
    ],
)
def test_other_versions_are_refused_with_what_to_do(changes: Mapping[str, str], said: str) -> None:
    here = probe.here()
    refuse_other_versions("head:6379", here, here)
    with pytest.raises(BadInput) as refused:
        refuse_other_versions("head:6379", {**here, **changes}, here)
    assert str(refused.value).startswith(f"The cluster at head:6379 {said}")
    assert str(refused.value).endswith(ADVICE)


@pytest.mark.parametrize(
    ("what", "tries", "said"),
    [
        (
            "RuntimeError: Starting Ray client server failed. See ray.err",
            3,
            "try again, or use chunkflow submit",
        ),
        ("ray client connection timeout", 1, "timeout. Where the cluster has a token, say where: export"),
    ],
)
def test_rays_client_is_tried_again_where_its_process_died(
    monkeypatch: pytest.MonkeyPatch, what: str, tries: int, said: str
) -> None:
    tried: list[str] = []

    def init(address: str, **_: object) -> None:
        tried.append(address)
        raise ConnectionAbortedError(what)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(BadInput, match=said):
        join("ray://head:10001")
    assert len(tried) == tries


OUTLIVES = """
import threading
import time

import psutil
import ray

from cluster.workers.connection import start_here
from tests.support.clusters.nobody import listening

starting = [threading.Thread(target=start_here, args=(1,)) for _ in range(2)]
for thread in starting:
    thread.start()
for thread in starting:
    thread.join()
time.sleep(1)
print(len(ray.nodes()), ray.get(ray.remote(num_cpus=1)(lambda: "alive").remote(), timeout=60))
here = psutil.Process()
places = listening([here, *here.children(recursive=True)])
print(len(places) >= 5, *{address for address, port in places})
"""


def test_ray_is_started_once_closed_to_others_and_outlives_the_threads_that_asked_for_it() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as home:  # short: names of sockets are
        said = subprocess.run(
            [sys.executable, "-c", OUTLIVES],
            cwd=ROOT,
            env={**environment, "HOME": home, "RAY_TMPDIR": home},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert (said.returncode, said.stdout) == (0, "1 alive\nTrue 127.0.0.1\n"), said.stderr
        folder, token = Path(home, f"cf-u{os.getuid()}"), Path(home, ".ray", "auth_token")
        assert list(folder.glob("ray/session_*/sockets"))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert not list(Path(home).glob("ray"))


ELSEWHERE = "ray://127.0.0.1:59999"


def test_a_cluster_is_not_joined_where_this_process_has_started_its_own_ray(ray_here: None) -> None:
    join(ray.get_runtime_context().gcs_address)  # the same one
    with pytest.raises(BadInput, match=r"has started Ray on this machine already.*59999 call ray\.shutdown"):
        join(ELSEWHERE)


JOINED = """
import sys

import ray

from chunkflow.errors import BadInput
from cluster.workers.connection import join, start_here
from cluster.workers.site import Machine

address, elsewhere = sys.argv[1:]
join(address)
for other in (lambda: join(elsewhere), lambda: start_here(1), lambda: Machine(1).staff(None)):
    try:
        other()
    except BadInput as error:
        print(">", error)
join(address)
ray.shutdown()
join(address)
print(">", len(ray.nodes()) > 0)
"""


BY_RAY = """
import sys

import ray

from chunkflow.errors import BadInput
from cluster.workers.connection import _on_loopback, join

dialled, address, *elsewhere = sys.argv[1:]
with _on_loopback():  # where the Ray of these tests listens
    ray.init(address=dialled, log_to_driver=False)


def refused():
    for other in elsewhere:
        try:
            join(other)
            print("> joined", other)
        except BadInput as error:
            print(">", error)


refused()
join(address)
join(address)
refused()
"""


def own_lines(output: str) -> list[str]:
    """What a script itself says; Ray may tell there, over several lines, of nodes that went meanwhile."""
    return [line.removeprefix("> ") for line in output.splitlines() if line.startswith("> ")]


@pytest.mark.parametrize("way", ["by-its-own-address", "auto", "by-rays-client"])
def test_a_cluster_that_this_process_joined_by_ray_itself_is_taken_and_no_other(
    way: str, client_address: str
) -> None:
    """A proxy elsewhere may be that of another cluster."""
    own = ray.get_runtime_context().gcs_address
    dialled = client_address if way == "by-rays-client" else own
    address = "auto" if way == "auto" else dialled
    said = subprocess.run(
        [sys.executable, "-c", BY_RAY, dialled, address, "127.0.0.1:59999", ELSEWHERE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert said.returncode == 0, said.stderr
    has = "This process has joined the Ray cluster at"
    lines = own_lines(said.stdout)
    assert [line.partition(" already")[0] for line in lines] == [f"{has} {own}"] * 2 + [
        f"{has} {address}"
    ] * 2


@pytest.mark.parametrize("by_client", [False, True], ids=["by-its-own-address", "by-rays-client"])
def test_workers_of_this_machine_are_refused_where_a_cluster_was_joined(
    by_client: bool, client_address: str
) -> None:
    address = client_address if by_client else ray.get_runtime_context().gcs_address
    said = subprocess.run(
        [sys.executable, "-c", JOINED, address, ELSEWHERE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert said.returncode == 0, said.stderr
    *refusals, again = own_lines(said.stdout)
    wanted = [f"the cluster at {ELSEWHERE}", "workers of this machine", "workers of this machine"]
    assert again == "True"
    assert refusals == [
        f"This process has joined the Ray cluster at {address} already, and can have one Ray only: for {one} "
        "call ray.shutdown() first, or use another process."
        for one in wanted
    ]


def test_a_cluster_that_is_refused_does_not_stay_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise BadInput(f"{address} has another chunkflow")

    left: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: left.append("left"))
    monkeypatch.setattr(connection, "_connect", lambda address: None)
    monkeypatch.setattr(connection, "_refuse_unlike", refuse)
    with pytest.raises(BadInput, match="has another chunkflow"):
        join(ELSEWHERE)
    assert left == ["left"]


def test_doctor_says_at_once_that_a_head_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "join", lambda address: pytest.fail("Ray was asked"))
    address = f"ray://127.0.0.1:{free_port()}"
    assert examine_cluster(address, []).faults == [
        f"No Ray cluster answers at {address}: Connection refused."
    ]


@pytest.fixture
def client_address(ray_here: None) -> Iterator[str]:
    """The door of Ray's client to the cluster of these tests, in a process of its own."""
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--mode", "legacy"]
    words += ["--address", ray.get_runtime_context().gcs_address]
    server = subprocess.Popen(
        [sys.executable, "-m", "ray.util.client.server", *words],
        env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},  # else Ray takes 127.0.0.1 for another
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"ray://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def small_job(folder: Path) -> dict[str, Any]:
    written = document(folder, (64, 64, 32), 3)
    tasks = [task for task in written["tasks"] if {"synthesize", "segment", "measure"} & task.keys()]
    return written | {"tasks": tasks, "chunk": [32, 32, 32], "storage": [32, 32, 32]}


def test_a_job_runs_through_rays_client(tmp_path: Path, client_address: str) -> None:
    """Whoever is outside of the cluster's network has only this door."""
    written = small_job(tmp_path / "client")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(written))
    words = ["-m", "cli.main", "run", str(tmp_path / "job.yaml"), "--address", client_address, "-w", "2"]
    ran = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    job = Job.from_document(written, tmp_path)
    assert_all_accounted(job, clean=True)
    serial = Job.from_document(small_job(tmp_path / "serial"), tmp_path)
    assert run_job(serial) == "complete"
    assert_same(all_made(job), all_made(serial), "through Ray's client")
