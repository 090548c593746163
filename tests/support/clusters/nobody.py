"""Another user of this machine, and how much of a cluster is open to them."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest

NOBODY = 65534
METRICS = "metrics"
"""Counts and times, which Ray gives out without a token."""
ASKS = "asks for a token"
_METHODS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "CoreWorkerService/PushTask",
    "ObjectManagerService/Push",
    "ReporterService/ReportOCMetrics",
    "RayletDriver/Init",
)
"""One of each service that Ray has on a node."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def as_nobody(words: Iterable[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user nobody."""
    return subprocess.run(
        list(words),
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def open_to_nobody(paths: Iterable[Path], *what: str) -> list[str]:
    """What nobody may do any of (-readable, -writable) with, of these and all below."""
    rights = " -o ".join(what).split()
    return as_nobody(["find", *map(str, paths), "(", *rights, ")", "!", "-type", "l"]).stdout.splitlines()


def processes_of_job(job: str) -> list[psutil.Process]:
    """All that runs in a job of SLURM."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == job:
                found.append(process)
    return found


def used_by(processes: Iterable[psutil.Process]) -> set[str]:
    """The files and the sockets with a name that processes have open; names in no folder begin with @."""
    found: set[str] = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found |= {file.path for file in process.open_files()}
            found |= {str(one.laddr).replace("\0", "@") for one in process.net_connections("unix")}
    return found - {""}


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """The addresses and ports at which processes take connections."""
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for one in process.net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN:
                    found.add((one.laddr.ip.removeprefix("::ffff:"), one.laddr.port))
    return found


def answers(places: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], str]:
    """What is had at each place without a token."""
    return {place: _answer(*place) for place in places}


def _answer(host: str, port: int) -> str:
    place = f"{'127.0.0.1' if host in ('::', '0.0.0.0') else host}:{port}"
    try:
        with urllib.request.urlopen(f"http://{place}/api/jobs/", timeout=10) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        return ASKS if error.code == 401 else str(error)
    except Exception:  # no HTTP is spoken there
        return _answer_of_grpc(place)
    return METRICS if text.startswith("# HELP") else text


def _answer_of_grpc(place: str) -> str:
    said = set()
    with grpc.insecure_channel(place) as channel:
        for method in _METHODS:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=10)
                return f"{method} is done"
            except grpc.RpcError as error:
                said.add(error.code())
    refused = grpc.StatusCode.UNAUTHENTICATED
    return ASKS if refused in said and said <= {refused, grpc.StatusCode.UNIMPLEMENTED} else str(said)
