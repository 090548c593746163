"""AWS: what a cluster asks of EC2, how it is checked, found by its tag, and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from chunkflow.engine.cost.prices import SPOT
from chunkflow.errors import BadInput, ChunkflowError
from cluster.cloud.file import CloudFile
from cluster.cloud.roles import make_roles, profile_of, remove_roles
from cluster.cloud.things import Thing, shown
from cluster.place import Say

TAG = "chunkflow-cluster"
IMAGES = {
    False: "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    True: "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
}
"""Where AWS says which image is the newest, for nodes without and with GPUs."""
ENDED = ("shutting-down", "terminated")
END_SECONDS = 300.0
_AT_ONCE = 500
ROLE_SECONDS = 90.0
"""A role that was just made is not known to EC2 at once."""


class Aws:
    """One cluster on AWS."""

    def __init__(self, file: CloudFile) -> None:
        self._file = file
        known = boto3.session.Session().get_available_regions("ec2")
        if file.region not in known:
            raise BadInput(f"AWS has no region {file.region}; it has {', '.join(known)}.")
        self._ec2 = boto3.client("ec2", region_name=file.region)
        self._images: dict[bool, tuple[str, str]] = {}

    def check(self) -> list[str]:
        with _asking("who you are", "The keys need no more rights for that than to be valid."):
            boto3.client("sts", region_name=self._file.region).get_caller_identity()
        self._check_types()
        self._check_network()
        self._check_images()
        return self._check_bucket()

    def _check_types(self) -> None:
        asked = {self._file.head_type, *(worker.type for worker in self._file.workers)}
        with _asking("which types of instances there are", "Allow ec2:DescribeInstanceTypeOfferings."):
            pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="region", Filters=[{"Name": "instance-type", "Values": sorted(asked)}]
            )
            offered = {offer["InstanceType"] for page in pages for offer in page["InstanceTypeOfferings"]}
        if asked - offered:
            raise BadInput(
                f"{self._file.region} has no {', '.join(sorted(asked - offered))}: "
                "choose other types of instances or another region."
            )

    def _check_network(self) -> None:
        with _asking("which zones and subnets there are", "Allow ec2:DescribeSubnets."):
            subnets = self._ec2.describe_subnets()["Subnets"]
        public = {subnet["AvailabilityZone"] for subnet in subnets if subnet["MapPublicIpOnLaunch"]}
        if not public:
            raise BadInput(
                f"{self._file.region} has no subnet that gives public addresses: make the default VPC "
                "(aws ec2 create-default-vpc)."
            )
        missing = set(self._file.zones) - public
        if missing:
            raise BadInput(
                f"There is no public subnet in {', '.join(sorted(missing))}; there are some in "
                f"{', '.join(sorted(public))}."
            )

    def _check_bucket(self) -> list[str]:
        said = []
        for url in (self._file.bucket, *self._file.reads):
            name = url.removeprefix("s3://").split("/", 1)[0]
            hint = "Make it, or allow s3:GetBucketLocation on it."
            with _asking(f"where the bucket {name} is", hint):
                client = boto3.client("s3", region_name=self._file.region)
                region = client.get_bucket_location(Bucket=name)["LocationConstraint"] or "us-east-1"
            if region != self._file.region:
                said.append(self._file.far_bucket(name, region))
        self._file.check_bucket()
        return said

    def _check_images(self) -> None:
        for gpu in (False, True):
            if self._has(gpu):
                self._image_of(gpu)

    def _image_of(self, gpu: bool) -> tuple[str, str]:
        """The image of nodes without or with GPUs, and what it calls its disk; asked for once."""
        if gpu not in self._images:
            given = (self._file.gpu_image if gpu else "") or self._file.image
            self._images[gpu] = self._image(given or self._newest(gpu))
        return self._images[gpu]

    def _newest(self, gpu: bool) -> str:
        hint = "Allow ssm:GetParameter, or give `image:` (and `gpu_image:`) in the cluster's file."
        with _asking(f"for its newest image ({IMAGES[gpu]})", hint):
            ssm = boto3.client("ssm", region_name=self._file.region)
            name: str = ssm.get_parameter(Name=IMAGES[gpu])["Parameter"]["Value"]
        return name

    def _image(self, name: str) -> tuple[str, str]:
        with _asking(f"for the image {name}", "Give one of this region as `image:` (and `gpu_image:`)."):
            found = self._ec2.describe_images(ImageIds=[name])["Images"]
        if not found:
            raise BadInput(f"{self._file.region} has no image {name} that you may use.")
        return name, found[0].get("RootDeviceName", "/dev/sda1")

    def _has(self, gpu: bool) -> bool:
        types = [self._file.head_type, *(worker.type for worker in self._file.workers)]
        return any(bool(self._file.device(name).gpus) == gpu for name in types)

    def provider_config(self) -> dict[str, Any]:
        zones = {"availability_zone": ",".join(self._file.zones)} if self._file.zones else {}
        return {"type": "aws", "region": self._file.region, "cache_stopped_nodes": False, **zones}

    def node_config(self, device: str, head: bool) -> dict[str, Any]:
        kind = device.removesuffix(SPOT)
        image, root = self._image_of(bool(self._file.device(kind).gpus))
        disk = {"VolumeSize": self._file.disk, "VolumeType": "gp3", "DeleteOnTermination": True}
        tagged = ["instance", "volume"] + ["spot-instances-request"] * device.endswith(SPOT)
        tag = {"Key": TAG, "Value": self._file.name}
        config = {
            "InstanceType": kind,
            "ImageId": image,
            "IamInstanceProfile": {"Name": profile_of(self._file, head)},
            "BlockDeviceMappings": [{"DeviceName": root, "Ebs": disk}],
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "TagSpecifications": [{"ResourceType": what, "Tags": [{**tag}]} for what in tagged],
            "UserData": _last_resort(self._file.max_hours),
        }
        if device.endswith(SPOT):
            options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            config["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
        return config

    def prepare(self, say: Say) -> None:
        """Make the roles, and ask EC2 whether it would start each type of node; none is started."""
        if not self._file.head_role:
            with _asking("to make roles", "Allow iam:CreateRole, or give head_role and worker_role."):
                make_roles(self._file)
        self._ask_whether(self._file.head_type, head=True)
        for worker in self._file.workers:
            self._ask_whether(worker.device, head=False)

    def _ask_whether(self, device: str, head: bool) -> None:
        until = time.monotonic() + ROLE_SECONDS
        request = {**self.node_config(device, head), "MinCount": 1, "MaxCount": 1, "DryRun": True}
        while True:
            try:
                self._ec2.run_instances(**request)
            except ClientError as error:
                code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
                if code == "DryRunOperation":
                    return
                if "iamInstanceProfile" in text and time.monotonic() < until:
                    time.sleep(3.0)
                    continue
                raise BadInput(f"AWS would not start a {device}: {text} ({code})") from error

    def found(self) -> list[Thing]:
        with _asking("what the cluster has", "Allow ec2:Describe*."):
            return [*self._nodes(), *self._requests(), *self._disks()]

    def _tagged(self, operation: str, key: str) -> Iterator[dict[str, Any]]:
        mine = [{"Name": f"tag:{TAG}", "Values": [self._file.name]}]
        for page in self._ec2.get_paginator(operation).paginate(Filters=mine):
            yield from page[key]

    def _nodes(self) -> Iterator[Thing]:
        for reservation in self._tagged("describe_instances", "Reservations"):
            for node in reservation["Instances"]:
                state = node["State"]["Name"]
                if state in ENDED:
                    continue
                tags = {tag["Key"]: tag["Value"] for tag in node.get("Tags", [])}
                device = node["InstanceType"] + SPOT * (node.get("InstanceLifecycle") == "spot")
                key = Path(f"~/.ssh/{node.get('KeyName', '')}.pem")
                address = node.get("PublicIpAddress", "")
                head = tags.get("ray-node-type") == "head"
                detail = f"{'head, ' * head}{device}, {state}, since {node['LaunchTime']:%Y-%m-%d %H:%M} UTC"
                yield Thing("node", node["InstanceId"], detail, device, head, f"-i {key} ubuntu@{address}")

    def _requests(self) -> Iterator[Thing]:
        for request in self._tagged("describe_spot_instance_requests", "SpotInstanceRequests"):
            if request["State"] == "open":
                yield Thing("spot request", request["SpotInstanceRequestId"], "waits for a spot node")

    def _disks(self) -> Iterator[Thing]:
        """Disks that outlived their node; those of nodes that run go with them."""
        for disk in self._tagged("describe_volumes", "Volumes"):
            if disk["State"] == "available":
                yield Thing("disk", disk["VolumeId"], f"{disk['Size']} GiB, of no node")

    def end(self, say: Say) -> None:
        """End all, until nothing is left, or what is left is refused; the head first, as its autoscaler would
        start workers again."""
        until = time.monotonic() + END_SECONDS
        refused: set[str] = set()
        while time.monotonic() < until:
            things = [thing for thing in self.found() if thing.name not in refused]
            if not things and not self._is_ending():
                break
            if things:
                say(f"Ending {shown(things)}.")
                refused |= self._refused(sorted(things, key=lambda thing: not thing.is_head), say)
            time.sleep(1.0)
        if not self._file.head_role:
            with _asking("to remove the cluster's roles", "Allow iam:DeleteRole and its like."):
                remove_roles(self._file)

    def _refused(self, things: list[Thing], say: Say) -> set[str]:
        """Ask for the end of each; returns what AWS would not end."""
        nodes = [thing for thing in things if thing.kind == "node"]
        batches = [nodes[first : first + _AT_ONCE] for first in range(0, len(nodes), _AT_ONCE)]
        batches += [[thing] for thing in things if thing.kind != "node"]
        refused = set()
        while batches:
            batch = batches.pop(0)
            try:
                self._end_all(batch)
            except ClientError as error:
                if len(batch) > 1:  # one that is refused spoils it for all
                    batches += [[thing] for thing in batch]
                    continue
                say(f"AWS does not end {batch[0].name}: {error.response['Error']['Message']}")
                refused.add(batch[0].name)
        return refused

    def _end_all(self, things: list[Thing]) -> None:
        """End things of one kind."""
        names = [thing.name for thing in things]
        if things[0].kind == "node":
            self._ec2.terminate_instances(InstanceIds=names)
        elif things[0].kind == "disk":
            self._ec2.delete_volume(VolumeId=names[0])
        else:
            self._ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=names)

    def _is_ending(self) -> bool:
        """Whether nodes are on their way out: only then their disks are gone, or are left over."""
        return any(
            node["State"]["Name"] == "shutting-down"
            for reservation in self._tagged("describe_instances", "Reservations")
            for node in reservation["Instances"]
        )

    def reach(self, head: Thing) -> str:
        return f"ssh -N -L 8265:127.0.0.1:8265 {head.address}"


def _last_resort(hours: float) -> str:
    """A script that each node runs as it boots: it is off after so many hours, whatever runs on it."""
    return f"#!/bin/sh\nshutdown -h +{max(1, round(hours * 60))}\n"


@contextmanager
def _asking(what: str, hint: str) -> Iterator[None]:
    """Turn what AWS answers into one sentence that says what to do."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise BadInput(
            "No AWS keys were found: run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        ) from error
    except ClientError as error:
        text = error.response["Error"].get("Message") or error.response["Error"]["Code"]
        raise BadInput(f"AWS was asked {what}, and said: {text.rstrip('.')}. {hint}") from error
    except BotoCoreError as error:
        raise ChunkflowError(f"AWS was asked {what}, and did not answer: {error}") from error
