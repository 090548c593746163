"""A cluster on GCP: what its file becomes, how it is found by its label and ended, against a stand-in of
Compute Engine that speaks as much of its REST API as that takes."""

from __future__ import annotations

import json
import os
import re
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chunkflow.errors import BadInput
from cluster.cloud import gcp as cloud_gcp
from cluster.cloud.cluster import CloudCluster
from cluster.cloud.nodes import head_setup_commands
from cluster.providers import load_place
from tests.support.jobs import hide_package

FILE: dict[str, Any] = {
    "provider": "gcp",
    "name": "lab",
    "project": "brains",
    "region": "us-central1",
    "zones": ["us-central1-a"],
    "bucket": "gs://lab-brains",
    "workers": [
        {"type": "n2-standard-16", "most": 40},
        {"type": "n2-highmem-16", "most": 4, "spot": False},
        {"type": "g2-standard-4", "most": 8},
    ],
}


class _Compute(BaseHTTPRequestHandler):
    """Instances and disks of one zone, listed page by page, and ended when asked."""

    things: dict[str, dict[str, dict[str, Any]]]
    refused: set[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"access_token": "given", "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        url = urllib.parse.urlparse(self.path)
        if "computeMetadata" in url.path:
            self._answer(
                200, {"name": "head-1", "zone": "projects/1/zones/us-central1-a"}[url.path.split("/")[-1]]
            )
            return
        assert self.headers["Authorization"] == "Bearer given"
        found = re.fullmatch(r"/projects/brains/zones/us-central1-a(?:/(\w+))?(?:/([\w-]+))?", url.path)
        if found is None or found[2] == "n2-highmem-16":
            self._answer(404, {"error": {"message": "it is not there"}})
        elif found[1] is None:
            self._answer(200, {"region": "https://compute/regions/us-central1"})
        elif found[1] == "machineTypes":
            self._answer(200, {"name": found[2]})
        else:
            self._list(found[1], urllib.parse.parse_qs(url.query))

    def _list(self, kind: str, query: dict[str, list[str]]) -> None:
        label, _, value = query["filter"][0].removeprefix("labels.").partition("=")
        mine = [thing for thing in self.things[kind].values() if thing["labels"].get(label) == value]
        first = int(query.get("pageToken", ["0"])[0])
        more = {"nextPageToken": str(first + 2)} if len(mine) > first + 2 else {}
        self._answer(200, {"items": mine[first : first + 2], **more} if mine else {})

    def do_DELETE(self) -> None:
        kind, name = self.path.split("/")[-2:]
        if name in self.refused:
            self._answer(403, {"error": {"message": f"{name} is protected"}})
            return
        self.things[kind].pop(name)
        self._answer(200, {})

    def _answer(self, status: int, body: dict[str, Any] | str) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def node(name: str, kind: str, machine: str, spot: bool = True, cluster: str = "lab") -> dict[str, Any]:
    return {
        "name": name,
        "machineType": f"https://compute/zones/us-central1-a/machineTypes/{machine}",
        "status": "RUNNING",
        "creationTimestamp": "2026-11-21T10:00:00",
        "scheduling": {"provisioningModel": "SPOT" if spot else "STANDARD"},
        "labels": {"chunkflow-cluster": cluster, "ray-node-type": kind},
    }


@pytest.fixture
def compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Compute]]:
    nodes = [
        node("head-1", "head", "n2-standard-4", spot=False),
        node("other", "worker", "n2-standard-16", cluster="x"),
    ]
    nodes += [node(f"worker-{i}", "worker", "n2-standard-16") for i in range(4)]
    disks = [{"name": "left", "sizeGb": "100", "labels": {"chunkflow-cluster": "lab"}}]
    disks += [
        {"name": "worker-1", "sizeGb": "100", "labels": {"chunkflow-cluster": "lab"}, "users": ["worker-1"]}
    ]
    things = {"instances": {n["name"]: n for n in nodes}, "disks": {d["name"]: d for d in disks}}
    handler = type("Compute", (_Compute,), {"things": things, "refused": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "me@brains", "private_key": key.decode()}
    (tmp_path / "key.json").write_text(json.dumps({**account, "token_uri": f"{address}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", address)
    monkeypatch.setenv("GCE_METADATA_HOST", address.removeprefix("http://"))
    monkeypatch.setattr(cloud_gcp.time, "sleep", lambda seconds: None)
    yield handler
    server.shutdown()
    server.server_close()


def cluster(folder: Path, **changes: Any) -> CloudCluster:
    path = folder / "gcp.yaml"
    path.write_text(yaml.safe_dump({**FILE, **changes}))
    place = load_place(path)
    assert isinstance(place, CloudCluster)
    return place


def test_the_config_has_an_on_demand_head_spot_workers_and_an_end_of_its_own(tmp_path: Path) -> None:
    config = cluster(tmp_path, max_hours=2).ray_config()
    types = config["available_node_types"]
    plans = {name: kind["node_config"]["scheduling"] for name, kind in types.items()}
    assert {name: plan["provisioningModel"] for name, plan in plans.items()} == {
        "head": "STANDARD",
        "n2-standard-16-spot": "SPOT",
        "n2-highmem-16": "STANDARD",
        "g2-standard-4-spot": "SPOT",
    }
    for plan in plans.values():
        assert plan["maxRunDuration"] == {"seconds": 7200}
        assert plan["instanceTerminationAction"] == "DELETE"
    assert all(kind["node_config"]["labels"] == {"chunkflow-cluster": "lab"} for kind in types.values())
    assert {name: kind["resources"]["GPU"] for name, kind in types.items() if name != "head"} == {
        "n2-standard-16-spot": 0,
        "n2-highmem-16": 0,
        "g2-standard-4-spot": 1,
    }
    assert config["provider"]["cache_stopped_nodes"] is False
    assert config["idle_timeout_minutes"] == 5
    assert types["head"]["resources"]["CPU"] == 0
    assert config["max_workers"] == 52


def test_status_and_down_know_all_that_bears_the_label(tmp_path: Path, compute: type[_Compute]) -> None:
    place = cluster(tmp_path)
    status = place.status()
    assert len(status) == 7
    assert status[0] == "node head-1: head, n2-standard-4, running, since 2026-11-21T10:00:00"
    assert status[-2] == "disk left: 100 GiB, of no node"
    assert status[-1] == "Its nodes cost $0.95 an hour now, at most $14.15."
    said: list[str] = []
    assert place.down(said.append) == 0
    assert list(compute.things["instances"]) == ["other"]
    assert list(compute.things["disks"]) == ["worker-1"]
    assert said[-1].startswith("Nothing of the cluster lab is left that costs money")
    assert "nothing costs money" in place.status()[0]


def test_down_says_what_it_could_not_end(tmp_path: Path, compute: type[_Compute]) -> None:
    compute.refused.add("worker-2")
    said: list[str] = []
    assert cluster(tmp_path).down(said.append) == 1
    assert sorted(compute.things["instances"]) == ["other", "worker-2"]
    assert any(line.startswith("Still costs money: node worker-2, n2-standard-16 spot") for line in said)


def test_a_node_deletes_itself(compute: type[_Compute]) -> None:
    cloud_gcp.delete_this_node()
    assert "head-1" not in compute.things["instances"]


def test_what_cannot_be_is_said(
    tmp_path: Path, compute: type[_Compute], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = cloud_gcp.Gcp(cluster(tmp_path))
    with pytest.raises(BadInput, match="us-central1-a has no n2-highmem-16: choose another type or zone"):
        cloud.check_place()
    with pytest.raises(BadInput, match="GCP has no zone us-central1-z, or no project brains"):
        cloud_gcp.Gcp(cluster(tmp_path, zones=["us-central1-z"])).check_place()
    with pytest.raises(BadInput, match="zones must name the one zone"):
        cluster(tmp_path, zones=[])
    with pytest.raises(BadInput, match="project must be given"):
        cluster(tmp_path, project="")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(
        BadInput, match="No Google keys were found: run `gcloud auth application-default login`"
    ):
        cluster(tmp_path).status()


def test_without_googles_client_it_says_what_to_install(
    tmp_path: Path, compute: type[_Compute], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rsync").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    hide_package(monkeypatch, "googleapiclient")
    with pytest.raises(
        BadInput, match=r"needs the package googleapiclient: pip install 'chunkflow-ray\[gcp\]'"
    ):
        cluster(tmp_path).up(lambda what: pytest.fail("asked"), lambda line: None)


def test_the_head_gets_googles_client_in_the_version_that_is_here(tmp_path: Path) -> None:
    (install,) = head_setup_commands(cluster(tmp_path))
    assert '-c ~/chunkflow/files/constraints.txt "$(echo ~/chunkflow/files/*.whl)[gcp]"' in install


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_the_examples_are_understood(name: str) -> None:
    place = load_place(Path(__file__).parent.parent.parent / "examples" / name)
    assert isinstance(place, CloudCluster)
    assert place.greatest_cost() > 0
