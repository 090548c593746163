"""The roles of a cluster's nodes on AWS, so that no keys are ever copied to a node.

The head may start and end nodes of its own cluster, workers may not; both may write the cluster's bucket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import boto3

from cluster.cloud.file import CloudFile

_READ = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation")
_WRITE = (*_READ, "s3:PutObject", "s3:PutObjectAcl", "s3:DeleteObject", "s3:AbortMultipartUpload")
_START = ("ec2:RunInstances", "ec2:Describe*")
_SPOT_ROLE = "arn:aws:iam::*:role/aws-service-role/spot.amazonaws.com/*"
_NODES = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def profile_of(file: CloudFile, head: bool) -> str:
    """The name of the instance profile of the head, or of the workers."""
    given = file.head_role if head else file.worker_role
    return given or f"chunkflow-{file.name}-{'head' if head else 'worker'}"


def make_roles(file: CloudFile) -> None:
    """Make the two roles of this cluster, or bring them up to date."""
    iam = boto3.client("iam", region_name=file.region)
    worker = _make(iam, profile_of(file, head=False), list(_buckets(file)))
    _make(iam, profile_of(file, head=True), [*_buckets(file), *_cluster(file, worker)])


def _make(iam: Any, name: str, statements: list[dict[str, Any]]) -> str:
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document([_NODES]))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=_document(statements))
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_instance_profile(InstanceProfileName=name)
    with suppress(iam.exceptions.LimitExceededException):  # the one role that it may have is in it
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    arn: str = iam.get_role(RoleName=name)["Role"]["Arn"]
    return arn


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _buckets(file: CloudFile) -> Iterator[dict[str, Any]]:
    for url, actions in [(file.bucket, _WRITE), *((url, _READ) for url in file.reads)]:
        bucket = f"arn:aws:s3:::{url.removeprefix('s3://').split('/', 1)[0]}"
        yield {"Effect": "Allow", "Action": list(actions), "Resource": [bucket, f"{bucket}/*"]}


def _cluster(file: CloudFile, worker: str) -> Iterator[dict[str, Any]]:
    """Start nodes that are workers, and tag and end those of this cluster alone."""
    new = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    mine = {"StringEquals": {"aws:ResourceTag/chunkflow-cluster": file.name}}
    known = ["ec2:TerminateInstances", "ec2:CreateTags"]
    yield {"Effect": "Allow", "Action": list(_START), "Resource": "*"}
    yield {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": new}
    yield {"Effect": "Allow", "Action": known, "Resource": "*", "Condition": mine}
    yield {"Effect": "Allow", "Action": "iam:PassRole", "Resource": worker}
    yield {"Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "Resource": _SPOT_ROLE}


def remove_roles(file: CloudFile) -> None:
    """Remove the two roles; it is no error if they are not there."""
    iam = boto3.client("iam", region_name=file.region)
    for head in (False, True):
        name = profile_of(file, head)
        gone = suppress(iam.exceptions.NoSuchEntityException)
        with gone:
            iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
        with gone:
            iam.delete_instance_profile(InstanceProfileName=name)
        with gone:
            iam.delete_role_policy(RoleName=name, PolicyName=name)
        with gone:
            iam.delete_role(RoleName=name)
