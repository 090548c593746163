"""What is run on the nodes of a cluster on a cloud, by Ray's launcher: chunkflow installed, Ray started, and
each node made to end by itself.

A node is paid for until it is ended, so three things end it, each enough by itself:
1. the head ends all when no job has run for a while or its hours are over (cluster.head, cluster.cloud.end);
2. a worker whose Ray has ended, as where its head is gone, ends itself;
3. the cloud (GCP) or the node's own clock (AWS) ends it after `max_hours`, whatever runs on it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from cluster.cloud.file import CloudFile
from cluster.submission.wheel import build_wheel, constraints
from cluster.workers.capacity import HEAD_ENVIRONMENT

FILES = "~/chunkflow/files"
TOKEN_FOLDER = "~/.ray"  # where Ray looks for auth_token
PYTHON = "~/chunkflow/env/bin/python"
_RAY = "~/chunkflow/env/bin/ray"
_PORT = 6379
_CLOSED = "chmod 700 ~/chunkflow"
_RAYS_FOLDER = "--temp-dir=$HOME/chunkflow/ray"
"""Ray opens it to all, so it lies in a folder that is closed."""
_UV = "https://astral.sh/uv/install.sh"
CONFIG = "~/ray_bootstrap_config.yaml"
"""Where Ray's launcher puts the cluster's whole config on the head."""


def write_files(folder: Path) -> None:
    """The running chunkflow and the versions of what it needs, as they go to the nodes."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    for old in files.iterdir():
        old.unlink()
    build_wheel(files)
    (files / "constraints.txt").write_text(constraints())


def setup_commands(file: CloudFile) -> list[str]:
    """Install this Python and this chunkflow; where an image has them already, that takes seconds."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [
        f"test -x {PYTHON} || (curl -LsSf {_UV} | sh && "
        f"~/.local/bin/uv venv --seed --python {version} ~/chunkflow/env)",
        _install(file.extras),
    ]


def head_setup_commands(file: CloudFile) -> list[str]:
    """What Ray needs on the head to start nodes, beyond what chunkflow has."""
    return [_install(["gcp"])] if file.provider == "gcp" else []


def _install(extras: Sequence[str]) -> str:
    """Install this chunkflow with some of its extras."""
    wanted = f"[{','.join(extras)}]" if extras else ""
    return (
        f"{PYTHON} -m pip install --quiet --disable-pip-version-check "
        f'-c {FILES}/constraints.txt "$(echo {FILES}/*.whl){wanted}"'
    )


def head_commands(file: CloudFile) -> list[str]:
    """Start Ray with its autoscaler; beside it, what ends the cluster from inside."""
    environment = " ".join(f"{name}={value}" for name, value in {**_TOKEN, **HEAD_ENVIRONMENT}.items())
    nodes = quote(json.dumps(file.grows_to()))
    watch = (
        f"{PYTHON} -m cluster.head --announce {nodes} "
        f"--idle-minutes {file.head_idle_minutes:g} --max-hours {file.max_hours:g} "
        f"--end {PYTHON} -m cluster.cloud.end cluster --provider {file.provider}"
    )
    return [
        f"ulimit -n 65536; export {environment}; {_CLOSED} && {_RAY} start --head --port={_PORT} "
        f"--autoscaling-config={CONFIG} --dashboard-host=127.0.0.1 {_RAYS_FOLDER} --disable-usage-stats",
        _kept_running(f"export {environment}; {watch}", "head.log"),
    ]


def worker_commands(file: CloudFile) -> list[str]:
    """Start Ray, and end the node when Ray ends."""
    environment = " ".join(f"{name}={value}" for name, value in _TOKEN.items())
    start = f"{_RAY} start --address=$RAY_HEAD_IP:{_PORT} {_RAYS_FOLDER} --disable-usage-stats --block"
    end = f"{PYTHON} -m cluster.cloud.end node --provider {file.provider}"
    return [
        _kept_running(f"ulimit -n 65536; export {environment}; {_CLOSED} && {start}; {end}", "worker.log")
    ]


_TOKEN = {"RAY_AUTH_MODE": "token"}


def _kept_running(command: str, log: str) -> str:
    """Goes on when the connection that said it is closed."""
    return f"(setsid nohup sh -c {quote(command)} > ~/chunkflow/{log} 2>&1 < /dev/null &)"
