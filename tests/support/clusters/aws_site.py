"""A place on this machine where clusters on AWS can be made: Ray's own launcher and node provider, against a
stand-in of EC2, IAM and S3. What would be said to the nodes over ssh is written down instead."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ray.autoscaler._private.providers import _get_node_provider

from cluster.cloud.cluster import CloudCluster
from cluster.providers import load_place
from testbed.moto import moto_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
    "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-tests",
    "AWS_SESSION_TOKEN": "the-session-of-the-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}
FILE: dict[str, Any] = {
    "provider": "aws",
    "name": "lab",
    "region": "us-east-1",
    "bucket": "s3://lab-brains/rat",
    "workers": [
        {"type": "m5.4xlarge", "most": 40},
        {"type": "c5.4xlarge", "most": 20, "spot": False},
        {"type": "g4dn.xlarge", "most": 8},
    ],
}
SSH = """#!/bin/sh
for last; do :; done
printf '%s\\n' "$last" >> "$HOME/said"
"""
RSYNC = """#!/bin/sh
test -e "$HOME/broken" && exit 1
for last; do from="$to"; to="$last"; done
mkdir -p "$HOME/head/$(dirname "${to#*:}")"
cp -pr "$from" "$HOME/head/${to#*:}"
"""


def tags_of(node: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in node.get("Tags", [])}


@dataclass
class Site:
    """A place where clusters can be made."""

    home: Path
    image: str
    ec2: Any
    said: list[str] = field(default_factory=list)

    def cluster(self, **changes: Any) -> CloudCluster:
        path = self.home / "aws.yaml"
        path.write_text(yaml.safe_dump({**FILE, "image": self.image, **changes}))
        place = load_place(path)
        assert isinstance(place, CloudCluster)
        return place

    def nodes(self, *states: str) -> list[dict[str, Any]]:
        found = self.ec2.describe_instances()["Reservations"]
        nodes = [node for reservation in found for node in reservation["Instances"]]
        return [node for node in nodes if not states or node["State"]["Name"] in states]

    def roles(self) -> set[str]:
        return {role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]}

    @property
    def head(self) -> Path:
        """What was copied to the head's home."""
        return self.home / "head" / "~"

    def start_workers(self) -> dict[str, Any]:
        """Start one worker of each type, as the head's autoscaler does with the config that it was given."""
        config: dict[str, Any] = json.loads((self.head / "ray_bootstrap_config.yaml").read_text())
        provider = _get_node_provider(config["provider"], config["cluster_name"])
        for name, kind in config["available_node_types"].items():
            if name != config["head_node_type"]:
                tags = {"ray-node-type": "worker", "ray-user-node-type": name, "ray-launch-config": "x"}
                provider.create_node(kind["node_config"], {**tags, "ray-node-name": name}, 1)
        return config


@contextmanager
def aws_site(home: Path) -> Iterator[Site]:
    """Let this process and its children find a stand-in of AWS, and this folder as their home."""
    for name, script in (("ssh", SSH), ("rsync", RSYNC)):
        (home / name).write_text(script)
        (home / name).chmod(0o755)
    with moto_server() as address, pytest.MonkeyPatch.context() as patch:
        for variable, value in {**KEYS, "AWS_ENDPOINT_URL": address, "HOME": str(home)}.items():
            patch.setenv(variable, value)
        patch.setenv("PATH", f"{home}:{os.environ['PATH']}")
        boto3.client("s3").create_bucket(Bucket="lab-brains")
        ec2 = boto3.client("ec2")
        yield Site(home, ec2.describe_images()["Images"][0]["ImageId"], ec2)
