"""A cluster on AWS or GCP from one short file.

1. All that can be wrong is asked of the cloud before anything is started: keys, region, types, bucket.
2. The greatest cost an hour is shown, and agreed to.
3. The file becomes a config of Ray's own launcher, which starts the head; the head's autoscaler starts and
   ends the workers as the work asks for them. Ray's token authentication is on.
4. `down` ends all that bears the cluster's tag, and lists what still costs money.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import yaml
from jsonschema import ValidationError  # type: ignore[import-untyped]
from ray.autoscaler._private.util import prepare_config, validate_config

from chunkflow.errors import BadInput, ChunkflowError
from cluster.closed import write_token
from cluster.cloud.file import CloudFile, WorkerType, resources_of
from cluster.cloud.nodes import (
    FILES,
    TOKEN_FOLDER,
    head_commands,
    head_setup_commands,
    setup_commands,
    worker_commands,
    write_files,
)
from cluster.cloud.things import Thing
from cluster.place import Say

CLUSTERS = Path("~/.chunkflow/clusters")
HEAD = "head"
DASHBOARD = 8265
_SPEED = 10.0  # the autoscaler may ask for ten times the nodes that there are


class Cloud(Protocol):
    """What a provider must do for a cluster."""

    def check(self) -> list[str]:
        """Raise BadInput for what the cloud would refuse; returns what the user should know."""

    def prepare(self, say: Say) -> None:
        """Make what nodes need before the first is started: roles."""

    def provider_config(self) -> dict[str, Any]:
        """Ray's `provider` section."""

    def node_config(self, device: str, head: bool) -> dict[str, Any]:
        """What the cloud is asked for a node of this device."""

    def found(self) -> list[Thing]:
        """All that bears the cluster's tag and costs money."""

    def end(self, say: Say) -> None:
        """End all that bears the cluster's tag, and wait until it has ended."""

    def reach(self, head: Thing) -> str:
        """The command that brings the head's dashboard to this machine."""


class CloudCluster(CloudFile):
    """A cluster on a cloud; passes as a ClusterPlace."""

    def up(self, agree: Callable[[str], bool], say: Say) -> None:
        for program in ("ssh", "rsync"):
            if shutil.which(program) is None:
                raise BadInput(f"Ray's launcher needs {program} on this machine, which has none: install it.")
        cloud = self.cloud()
        warnings = cloud.check()
        heads = [thing for thing in cloud.found() if thing.is_head]
        if heads:
            say(f"The cluster {self.name} is up.")
            self._say_address(cloud, heads[0], say)
            return
        for line in warnings:
            say(line)
        nodes = sum(worker.most for worker in self.workers)
        if not agree(
            f"{self.name}: a head and at most {nodes} workers, together at most "
            f"${self.greatest_cost():,.2f} an hour and their disks, for at most {self.max_hours:g} hours."
        ):
            raise BadInput("Nothing was started.")
        # whatever it is, also where the user has had enough: a head that is half made does not end itself
        try:
            cloud.prepare(say)
            self._launch(self._write())
        except BaseException:
            say("What was started is ended again.")
            cloud.end(say)
            raise
        heads = [thing for thing in cloud.found() if thing.is_head]
        if not heads:
            raise ChunkflowError(f"The head of {self.name} has ended already; see what Ray said above.")
        say(f"The cluster {self.name} is up.")
        self._say_address(cloud, heads[0], say)

    def status(self) -> list[str]:
        things = self.cloud().found()
        if not things:
            return [f"Nothing of the cluster {self.name} is there, and nothing costs money."]
        hourly = sum(self.table.hourly(thing.device) or 0 for thing in things)
        lines = [f"{thing.kind} {thing.name}: {thing.detail}" for thing in things]
        return [*lines, f"Its nodes cost ${hourly:,.2f} an hour now, at most ${self.greatest_cost():,.2f}."]

    def down(self, say: Say) -> int:
        cloud = self.cloud()
        cloud.end(say)
        left = cloud.found()
        for thing in left:
            say(f"Still costs money: {thing.kind} {thing.name}, {thing.detail}.")
        if not left:
            say(f"Nothing of the cluster {self.name} is left that costs money. What jobs made is kept.")
        return len(left)

    def cloud(self) -> Cloud:
        """The provider; only its own client is imported."""
        if self.provider == "aws":
            from cluster.cloud.aws import Aws

            return Aws(self)
        from cluster.cloud.gcp import Gcp

        return Gcp(self)

    @property
    def folder(self) -> Path:
        """Where the config and the token of this cluster are kept, on the machine that started it."""
        return CLUSTERS.expanduser() / self.name

    @property
    def token(self) -> Path:
        """Whoever has it may run anything on the cluster."""
        return self.folder / "ray" / "auth_token"

    def ray_config(self) -> dict[str, Any]:
        """The config of Ray's launcher, checked against Ray's own schema."""
        cloud = self.cloud()
        types = {worker.device.replace(" ", "-"): self._worker_node(cloud, worker) for worker in self.workers}
        config = {
            "cluster_name": self.name,
            "max_workers": sum(worker.most for worker in self.workers),
            "upscaling_speed": _SPEED,
            "idle_timeout_minutes": self.idle_minutes,
            "provider": cloud.provider_config(),
            "auth": {"ssh_user": "ubuntu"},
            "head_node_type": HEAD,
            "available_node_types": {HEAD: self._head_node(cloud), **types},
            "file_mounts": {FILES: str(self.folder / "files"), TOKEN_FOLDER: str(self.token.parent)},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "initialization_commands": [],
            "setup_commands": setup_commands(self),
            "head_setup_commands": head_setup_commands(self),
            "worker_setup_commands": [],
            "head_start_ray_commands": head_commands(self),
            "worker_start_ray_commands": worker_commands(self),
        }
        try:
            validate_config(prepare_config(config))
        except (ValidationError, ValueError) as error:
            raise BadInput(f"Ray does not take what the cluster's file asks for: {error}") from error
        return config

    def _head_node(self, cloud: Cloud) -> dict[str, Any]:
        """The head runs the runner, and no workers: they would go with each other's memory."""
        return {
            "resources": {"CPU": 0, "GPU": 0, f"device:{self.head_type}": 1},
            "min_workers": 0,
            "max_workers": 0,
            "node_config": cloud.node_config(self.head_type, head=True),
        }

    def _worker_node(self, cloud: Cloud, worker: WorkerType) -> dict[str, Any]:
        return {
            "resources": {**resources_of(self.device(worker.type)), f"device:{worker.device}": 1},
            "min_workers": worker.least,
            "max_workers": worker.most,
            "node_config": cloud.node_config(worker.device, head=False),
        }

    def _write(self) -> Path:
        """Lay the config, the token and the running chunkflow into the cluster's folder."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_files(self.folder)
        self.token.parent.mkdir(exist_ok=True)
        self.token.parent.chmod(0o700)  # on the nodes, too
        self.token.unlink(missing_ok=True)
        write_token(self.token)
        path = self.folder / "ray.yaml"
        path.write_text(yaml.safe_dump(self.ray_config(), sort_keys=False))
        return path

    def _launch(self, config: Path) -> None:
        environment = {**os.environ, "RAY_UP_enable_autoscaler_v2": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        ray = [sys.executable, "-m", "ray.scripts.scripts", "up"]
        command = [*ray, "--yes", "--no-config-cache", "--log-style", "pretty", str(config)]
        if subprocess.run(command, env=environment).returncode != 0:
            raise ChunkflowError(f"The cluster {self.name} did not come up: Ray says why above.")

    def _say_address(self, cloud: Cloud, head: Thing, say: Say) -> None:
        say(f"Bring its dashboard here, in a terminal of its own: {cloud.reach(head)}")
        if not self.token.exists():
            say(f"Its token is on the machine that started it: copy it from there to {self.token}")
        say(f"Let Ray find its token: export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={self.token}")
        say(f"Then: chunkflow submit JOB --address http://127.0.0.1:{DASHBOARD}")
