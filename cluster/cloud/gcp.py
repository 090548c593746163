"""GCP: what a cluster asks of Compute Engine, how it is checked, found by its label, and ended.

Ray's launcher starts the nodes by Google's own client; all else here is a few requests to the REST API, with
the keys that Google's libraries find.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth
import google.cloud.storage
import requests
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from chunkflow.engine.cost.prices import SPOT
from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.extras import optional_import
from cluster.cloud.file import CloudFile
from cluster.cloud.things import Thing, shown
from cluster.place import Say

LABEL = "chunkflow-cluster"
IMAGES = {
    False: "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64",
    True: "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2204-nvidia-580",
}
"""The families of images for nodes without and with GPUs."""
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
END_SECONDS = 300.0
METADATA = "http://{host}/computeMetadata/v1/instance/{what}"


def _endpoint() -> str:
    """Where the API is: as gcloud's own variable says, or Google's."""
    given = os.environ.get(
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "https://compute.googleapis.com/compute/v1/"
    )
    return given.rstrip("/")


def _session() -> AuthorizedSession:
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise BadInput(
            "No Google keys were found: run `gcloud auth application-default login`, or set "
            "GOOGLE_APPLICATION_CREDENTIALS."
        ) from error
    return AuthorizedSession(credentials)


class Gcp:
    """One cluster on GCP."""

    def __init__(self, file: CloudFile) -> None:
        self._file = file
        self._zone = file.zones[0]
        self._project = f"{_endpoint()}/projects/{file.project}"
        self._connected: AuthorizedSession | None = None

    def _ask(self, what: str, method: str, path: str, **query: str) -> dict[str, Any]:
        if self._connected is None:
            self._connected = _session()
        with _asking(what):
            answer = self._connected.request(method, f"{self._project}/{path}", params=query, timeout=60)
        if not answer.ok:
            raise _Refused(what, answer)
        body: dict[str, Any] = answer.json()
        return body

    def check(self) -> list[str]:
        for module in ("googleapiclient", "google_auth_httplib2"):  # what Ray's launcher asks GCP by
            optional_import(module, "Starting nodes on GCP")
        self.check_place()
        return self._check_bucket()

    def check_place(self) -> None:
        """Raise BadInput unless the zone is there, and has all types."""
        self._check_zone()
        for kind in {self._file.head_type, *(worker.type for worker in self._file.workers)}:
            self._check_type(kind)

    def _check_zone(self) -> None:
        try:
            zone = self._ask(f"for the zone {self._zone}", "GET", f"zones/{self._zone}")
        except _Refused as error:
            if error.code == 404:
                raise BadInput(
                    f"GCP has no zone {self._zone}, or no project {self._file.project}."
                ) from error
            raise
        if not str(zone.get("region", "")).endswith(f"/{self._file.region}"):
            raise BadInput(f"The zone {self._zone} is not in the region {self._file.region}.")

    def _check_type(self, kind: str) -> None:
        try:
            self._ask(f"for the type {kind}", "GET", f"zones/{self._zone}/machineTypes/{kind}")
        except _Refused as error:
            if error.code == 404:
                raise BadInput(f"{self._zone} has no {kind}: choose another type or zone.") from error
            raise

    def _check_bucket(self) -> list[str]:
        said = []
        for url in (self._file.bucket, *self._file.reads):
            name = url.removeprefix("gs://").split("/", 1)[0]
            try:
                with _asking(f"for the bucket {name}"):
                    found = google.cloud.storage.Client(project=self._file.project).get_bucket(name)
            except GoogleAPIError as error:
                raise BadInput(f"The bucket {name} cannot be looked at: {error}") from error
            region = str(found.location).lower()
            if region not in (self._file.region, self._file.region.split("-")[0]):
                said.append(self._file.far_bucket(name, region))
        self._file.check_bucket()
        return said

    def prepare(self, say: Say) -> None:
        """Ray makes the service account, if none is given."""

    def provider_config(self) -> dict[str, Any]:
        return {
            "type": "gcp",
            "region": self._file.region,
            "availability_zone": self._zone,
            "project_id": self._file.project,
            "cache_stopped_nodes": False,
        }

    def node_config(self, device: str, head: bool) -> dict[str, Any]:
        kind = device.removesuffix(SPOT)
        gpu = bool(self._file.device(kind).gpus)
        image = (self._file.gpu_image if gpu else "") or self._file.image or IMAGES[gpu]
        given = self._file.head_role if head else self._file.worker_role
        account = given or f"ray-autoscaler-sa-v1@{self._file.project}.iam.gserviceaccount.com"
        spot = device.endswith(SPOT)
        disk = {"diskSizeGb": self._file.disk, "sourceImage": image, "labels": {LABEL: self._file.name}}
        return {
            "machineType": kind,
            "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
            "scheduling": {
                "provisioningModel": "SPOT" if spot else "STANDARD",
                "instanceTerminationAction": "DELETE",
                "maxRunDuration": {"seconds": round(self._file.max_hours * 3600)},
                "automaticRestart": False,
                "onHostMaintenance": "TERMINATE" if spot or gpu else "MIGRATE",
            },
            "labels": {LABEL: self._file.name},
            "metadata": {"items": [{"key": "install-nvidia-driver", "value": "True"}] if gpu else []},
            "serviceAccounts": [{"email": account, "scopes": [SCOPE]}],
        }

    def found(self) -> list[Thing]:
        nodes = [self._node(node) for node in self._labelled("instances")]
        running = {thing.name for thing in nodes}
        disks = [disk for disk in self._labelled("disks") if not disk.get("users")]
        return nodes + [
            Thing("disk", disk["name"], f"{disk['sizeGb']} GiB, of no node")
            for disk in disks
            if disk["name"] not in running
        ]

    def _labelled(self, kind: str) -> Iterator[dict[str, Any]]:
        page = ""
        while True:
            answer = self._ask(
                f"which {kind} there are",
                "GET",
                f"zones/{self._zone}/{kind}",
                filter=f"labels.{LABEL}={self._file.name}",
                pageToken=page,
            )
            yield from answer.get("items", [])
            page = answer.get("nextPageToken", "")
            if not page:
                return

    def _node(self, node: dict[str, Any]) -> Thing:
        spot = node.get("scheduling", {}).get("provisioningModel") == "SPOT"
        device = node["machineType"].rsplit("/", 1)[-1] + SPOT * spot
        head = node.get("labels", {}).get("ray-node-type") == "head"
        detail = f"{'head, ' * head}{device}, {node['status'].lower()}, since {node['creationTimestamp']}"
        return Thing("node", node["name"], detail, device, head)

    def end(self, say: Say) -> None:
        """End all, until nothing is left, or what is left is refused; the head first, as its autoscaler would
        start workers again."""
        until = time.monotonic() + END_SECONDS
        asked: set[str] = set()
        refused: set[str] = set()
        while time.monotonic() < until:
            things = [thing for thing in self.found() if thing.name not in refused]
            if not things:
                return
            new = [thing for thing in things if thing.name not in asked]
            if new:
                say(f"Ending {shown(new)}.")
            for thing in sorted(new, key=lambda thing: not thing.is_head):
                asked.add(thing.name)
                if not self._delete(thing, say):
                    refused.add(thing.name)
            time.sleep(2.0)

    def _delete(self, thing: Thing, say: Say) -> bool:
        """Ask for the end of one; returns whether GCP does that."""
        kind = "instances" if thing.kind == "node" else "disks"
        try:
            self._ask(f"to end {thing.name}", "DELETE", f"zones/{self._zone}/{kind}/{thing.name}")
        except _Refused as error:
            if error.code != 404:  # then it has ended meanwhile
                say(str(error))
                return False
        return True

    def reach(self, head: Thing) -> str:
        return (
            f"gcloud compute ssh ubuntu@{head.name} --project {self._file.project} --zone {self._zone} "
            "-- -N -L 8265:127.0.0.1:8265"
        )


class _Refused(BadInput):
    """What the API answered in place of what was asked for."""

    def __init__(self, what: str, answer: requests.Response) -> None:
        try:
            text = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = answer.text or answer.reason
        super().__init__(f"GCP was asked {what}, and said: {text}")
        self.code = answer.status_code


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except GoogleAuthError as error:
        raise BadInput(f"Google's keys on this machine were not taken: {error}") from error
    except requests.RequestException as error:
        raise ChunkflowError(f"GCP was asked {what}, and did not answer: {error}") from error


def delete_this_node() -> None:
    """Ask for the deletion of the node that this runs on."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    said = {}
    for what in ("name", "zone"):
        answer = requests.get(
            METADATA.format(host=host, what=what), headers={"Metadata-Flavor": "Google"}, timeout=10
        )
        answer.raise_for_status()
        said[what] = answer.text
    answer = _session().delete(f"{_endpoint()}/{said['zone']}/instances/{said['name']}", timeout=60)
    answer.raise_for_status()
