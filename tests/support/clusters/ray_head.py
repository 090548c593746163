"""A Ray head with its dashboard, which asks for a token, and S3 beside it: as a cluster is met from outside.

Its nodes have keys of their own; who uses it has others, and its token in a file. Commands are given as users
give them, in processes of their own, as Ray's client remembers the first token that it finds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from testbed.moto import CREDENTIALS, free_port, moto_server

ROOT = Path(__file__).parents[3]
TOKEN, NODE_KEY, USER_KEY = "token-of-the-cluster-7f3a", "key-of-the-nodes-91c2", "key-of-the-user-55d8"
PROCESS_SECONDS = 180


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass
class Head:
    """The cluster, and whoever uses it from outside."""

    folder: Path
    s3: str
    ports: dict[str, int]
    said: list[str] = field(default_factory=list)
    """All that commands printed."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports['dashboard']}"

    def environment(self, **others: str) -> dict[str, str]:
        """Of a user's machine."""
        return {
            **_plain(self.s3, USER_KEY),
            "HOME": str(self.folder / "home"),
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            **others,
        }

    def chunkflow(self, *words: object, cwd: Path = ROOT, **environment: str) -> Said:
        """Run a command to its end."""
        ran = subprocess.run(
            [sys.executable, "-m", "cli.main", *map(str, words)],
            cwd=cwd,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
        )
        self.said += [ran.stdout, ran.stderr]
        return Said(ran.returncode, ran.stdout, ran.stderr)

    def get(self, url: str) -> str:
        """An answer of the dashboard, or of the metrics."""
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def metrics(self) -> str:
        return self.get(f"http://127.0.0.1:{self.ports['metrics']}/metrics")

    @contextmanager
    def another_node(self, device: str) -> Iterator[None]:
        """One more node, of a device."""
        words = ["--address", f"127.0.0.1:{self.ports['gcs']}", "--num-cpus", "1", "--resources"]
        words += [json.dumps({f"device:{device}": 1}), "--dashboard-agent-listen-port", str(free_port())]
        with _ray_start(self.folder / "node.txt", words, _node_environment(self.folder, self.s3)) as process:
            while f"device:{device}" not in self.get(f"{self.address}/api/cluster_status"):
                assert process.poll() is None, (self.folder / "node.txt").read_text()
                time.sleep(0.2)
            yield


@contextmanager
def ray_head() -> Iterator[Head]:
    """Run it; its end is the end of all that it started."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: names of sockets are
    (folder / "home").mkdir()
    (folder / "token").write_text(TOKEN)
    ports = {name: free_port() for name in ("gcs", "dashboard", "metrics", "agent", "environment", "client")}
    words = ["--head", "--port", str(ports["gcs"]), "--dashboard-host", "127.0.0.1", "--num-cpus", "3"]
    words += ["--dashboard-port", str(ports["dashboard"]), "--metrics-export-port", str(ports["metrics"])]
    words += [
        "--dashboard-agent-listen-port",
        str(ports["agent"]),
        "--ray-client-server-port",
        str(ports["client"]),
    ]
    words += ["--runtime-env-agent-port", str(ports["environment"]), "--temp-dir", str(folder / "ray")]
    try:
        with moto_server() as s3:
            head = Head(folder, s3, ports)
            with _ray_start(folder / "head.txt", words, _node_environment(folder, s3)) as process:
                _wait(head, process)
                yield head
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(head: Head, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            head.get(f"{head.address}/api/version")
            return
        except OSError:
            assert process.poll() is None, (head.folder / "head.txt").read_text()
            time.sleep(0.2)


@contextmanager
def _ray_start(
    said: Path, words: list[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    ray = str(Path(sys.executable).parent / "ray")
    common = ["--block", "--disable-usage-stats", "--object-store-memory", str(96 * 2**20)]
    common += ["--node-ip-address", "127.0.0.1", "--min-worker-port", "0", "--max-worker-port", "0"]
    with said.open("wb") as file:
        process = subprocess.Popen(
            [ray, "start", *words, *common],
            env=environment,
            cwd=said.parent,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole family, by their ids: workers live in sessions of their own."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    psutil.wait_procs(family, timeout=5)
    for one in family:
        if one.is_running():
            one.kill()
    process.kill()
    process.wait()


def _plain(s3: str, key: str) -> dict[str, str]:
    """What both machines have: S3, and how to run Python; nothing of whoever runs the tests."""
    bin_folder = Path(sys.executable).parent
    return {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "AWS_ENDPOINT_URL": s3,
        **CREDENTIALS,
        "AWS_SECRET_ACCESS_KEY": key,
        "RAY_AUTH_MODE": "token",
        "COLUMNS": "200",
        "LC_ALL": "C.UTF-8",
    }


def _node_environment(folder: Path, s3: str) -> dict[str, str]:
    return {
        **_plain(s3, NODE_KEY),
        "HOME": str(folder),
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_metrics_report_interval_ms": "500",
    }
