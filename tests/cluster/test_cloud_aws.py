"""A cluster on AWS, from its file to the last disk."""

from __future__ import annotations

import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from chunkflow.errors import BadInput, ChunkflowError
from cli.main import judged
from cluster.cloud.aws import Aws
from cluster.cloud.end import end_workers
from tests.support.clusters.aws_site import FILE, KEYS, Site, aws_site, tags_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with aws_site(tmp_path_factory.mktemp("home")) as here:
        yield here


@pytest.fixture(scope="module")
def up(site: Site) -> Site:
    """The same with a cluster that has been started."""
    asked: list[str] = []
    site.cluster().up(lambda what: not asked.append(what), site.said.append)  # type: ignore[func-returns-value]
    assert asked == [
        "lab: a head and at most 68 workers, together at most $27.79 an hour and their disks, for at most "
        "24 hours."
    ]
    return site


def test_the_head_is_on_demand_tagged_and_ends_with_its_own_shutdown(up: Site) -> None:
    (head,) = up.nodes("running")
    assert head["InstanceType"] == "m5.xlarge"
    assert head.get("InstanceLifecycle") != "spot"
    assert tags_of(head)["chunkflow-cluster"] == "lab"
    assert head["IamInstanceProfile"]["Arn"].endswith("/chunkflow-lab-head")
    behaviour = up.ec2.describe_instance_attribute(
        InstanceId=head["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert up.said[0] == "The cluster lab is up."
    assert f"ubuntu@{head['PublicIpAddress']}" in up.said[1]
    assert "chunkflow submit JOB --address http://127.0.0.1:8265" in up.said[3]


def test_what_is_said_to_the_head_can_be_run_and_keeps_the_token_on(up: Site) -> None:
    said = (up.home / "said").read_text().splitlines()
    for line in said:
        subprocess.run(["bash", "-n", "-c", line], check=True)
    (start,) = [line for line in said if "ray start --head" in line]
    assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in start
    (watch,) = [line for line in said if "cluster.head" in line]
    assert '[{"most": 40, "CPU": 16, "GPU": 0, "memory": 48103633715}, {"most": 20, ' in watch
    assert "--idle-minutes 15 --max-hours 24" in watch
    (install,) = [line for line in said if "pip install" in line]
    assert "constraints.txt" in install
    (wheel,) = (up.head / "chunkflow" / "files").glob("*.whl")
    assert wheel.stat().st_size > 100_000


def test_no_key_and_no_token_is_in_what_is_said_or_configured(up: Site) -> None:
    token = up.cluster().token
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert (up.head / ".ray" / "auth_token").read_text() == token.read_text()
    texts = [(up.home / "said").read_text(), *(str(line) for line in up.said)]
    texts += [
        path.read_text() for path in (up.cluster().folder / "ray.yaml", up.head / "ray_bootstrap_config.yaml")
    ]
    for secret in (*list(KEYS.values())[:3], token.read_text()):
        assert not [text for text in texts if secret in text]


def test_the_roles_reach_the_cluster_and_its_bucket_alone(up: Site) -> None:
    iam = boto3.client("iam")
    documents = {}
    for name in ("head", "worker"):
        role = f"chunkflow-lab-{name}"
        documents[name] = iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]["Statement"]
    worker = [action for statement in documents["worker"] for action in statement["Action"]]
    assert all(action.startswith("s3:") for action in worker)
    (bucket,) = documents["worker"]
    assert bucket["Resource"] == ["arn:aws:s3:::lab-brains", "arn:aws:s3:::lab-brains/*"]
    (end,) = [s for s in documents["head"] if "ec2:TerminateInstances" in s["Action"]]
    assert end["Condition"] == {"StringEquals": {"aws:ResourceTag/chunkflow-cluster": "lab"}}


def test_whoever_says_up_again_is_told_the_address(up: Site) -> None:
    said: list[str] = []
    up.cluster().up(lambda what: pytest.fail("asked again"), said.append)
    assert said == up.said
    token = up.cluster().token
    moved = token.rename(token.with_suffix(".moved"))
    up.cluster().up(lambda what: pytest.fail("asked again"), said.append)
    moved.rename(token)
    assert f"copy it from there to {token}" in said[len(up.said) + 2]
    assert len(up.nodes("running")) == 1


def test_workers_are_spot_tagged_and_ended_by_the_head(up: Site) -> None:
    config = up.start_workers()
    workers = {n["InstanceType"]: n for n in up.nodes("running") if tags_of(n)["ray-node-type"] == "worker"}
    spot = {name for name, node in workers.items() if node.get("InstanceLifecycle") == "spot"}
    assert (set(workers), spot) == (
        {"m5.4xlarge", "c5.4xlarge", "g4dn.xlarge"},
        {"m5.4xlarge", "g4dn.xlarge"},
    )
    assert all(tags_of(node)["chunkflow-cluster"] == "lab" for node in workers.values())
    status = up.cluster().status()
    assert len(status) == 5
    assert status[-1] == "Its nodes cost $1.38 an hour now, at most $27.79."
    end_workers(config)
    assert [tags_of(node)["ray-node-type"] for node in up.nodes("running")] == ["head"]


def test_down_ends_all_that_bears_the_tag_and_nothing_else(up: Site) -> None:
    up.start_workers()
    other = up.ec2.run_instances(ImageId=up.image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    tag = [{"ResourceType": "volume", "Tags": [{"Key": "chunkflow-cluster", "Value": "lab"}]}]
    up.ec2.create_volume(Size=10, AvailabilityZone="us-east-1a", TagSpecifications=tag)
    kept = next(
        node["InstanceId"] for node in up.nodes("running") if tags_of(node).get("ray-node-type") == "worker"
    )
    up.ec2.modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": True})
    said: list[str] = []
    assert up.cluster().down(said.append) == 1
    assert {node["InstanceId"] for node in up.nodes("running")} == {other, kept}
    assert said[-1].startswith(f"Still costs money: node {kept}, ")
    up.ec2.modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": False})
    assert up.cluster().down(said.append) == 0
    assert [node["InstanceId"] for node in up.nodes("running")] == [other]
    assert not up.ec2.describe_volumes(Filters=[{"Name": "tag:chunkflow-cluster", "Values": ["lab"]}])[
        "Volumes"
    ]
    assert not {role for role in up.roles() if role.startswith("chunkflow-lab")}
    assert "nothing costs money" in up.cluster().status()[0]


def test_what_does_not_come_up_is_ended(site: Site) -> None:
    (site.home / "broken").touch()
    said: list[str] = []
    try:
        with pytest.raises(ChunkflowError, match="The cluster half did not come up"):
            site.cluster(name="half").up(lambda what: True, said.append)
    finally:
        (site.home / "broken").unlink()
    assert said[0] == "What was started is ended again."
    assert not [node for node in site.nodes("running") if tags_of(node).get("chunkflow-cluster") == "half"]
    assert not {role for role in site.roles() if role.startswith("chunkflow-half")}


def test_roles_are_removed_where_aws_would_not_start_the_nodes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def refuse(cloud: Aws, device: str, head: bool) -> None:
        seen.append(site.roles())
        raise BadInput(f"AWS would not start a {device}: not in this account (UnauthorizedOperation)")

    monkeypatch.setattr(Aws, "_ask_whether", refuse)
    with pytest.raises(BadInput, match="AWS would not start a m5"):
        site.cluster(name="unable").up(lambda what: True, site.said.append)
    made = {"chunkflow-unable-head", "chunkflow-unable-worker"}
    assert (made <= seen[0], made & site.roles()) == (True, set())


def test_who_does_not_agree_has_started_nothing(site: Site) -> None:
    before = len(site.nodes())
    with pytest.raises(BadInput, match="Nothing was started"):
        site.cluster(name="not").up(lambda what: False, site.said.append)
    assert len(site.nodes()) == before
    assert not {role for role in site.roles() if role.startswith("chunkflow-not")}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "region": ({"region": "us-east-9"}, "AWS has no region us-east-9; it has .*us-east-1"),
    "zone": ({"zones": ["us-east-1z"]}, "no public subnet in us-east-1z; there are some in us-east-1a"),
    "bucket": (
        {"bucket": "s3://not-there"},
        "where the bucket not-there is, and said: .* does not exist. Make it",
    ),
    "image": (
        {"image": "ami-00000000"},
        "for the image ami-00000000, and said: .*ami-00000000.* Give one of this region",
    ),
    "no image": ({"image": ""}, "Allow ssm:GetParameter, or give `image:`"),
    "scheme": ({"bucket": "gs://lab"}, "on aws a bucket is s3://NAME, not gs://lab"),
    "type": ({"workers": [{"type": "x9.huge", "most": 1}]}, "has no aws device x9.huge; it has c5.xlarge"),
    "twice": ({"workers": [FILE["workers"][0]] * 2}, "a type of workers is named twice"),
    "least": ({"workers": [{"type": "m5.xlarge", "most": 1, "least": 2}]}, "least is 2, more than most, 1"),
    "most": ({"workers": [{"type": "m5.xlarge", "most": 0}]}, "workers.0.most: .*greater than 0"),
    "none": ({"workers": []}, "workers: .*at least 1"),
    "name": ({"name": "My Lab"}, "name: .*match pattern"),
    "no end": ({"max_hours": float("inf")}, "max_hours: .*finite number"),
    "key": ({"spots": True}, "the key 'spots' is unknown; known are provider, name, region"),
    "project": ({"project": "mine"}, "project must be given with provider: gcp, and only with it"),
    "role": ({"head_role": "boss"}, "head_role and worker_role are given both, or neither"),
    "prices": ({"prices": "mine.yaml"}, "There is no price table .*mine.yaml"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_said_before_anything_starts(site: Site, fault: str) -> None:
    changes, sentence = FAULTS[fault]
    before = len(site.nodes())
    with pytest.raises(BadInput, match=sentence):
        site.cluster(**{"name": "bad", **changes}).up(lambda what: True, site.said.append)
    assert len(site.nodes()) == before


def test_without_keys_it_says_where_they_must_be(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEYS:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys that it found
    with pytest.raises(BadInput, match="No AWS keys were found: run `aws configure`") as caught:
        site.cluster().up(lambda what: True, site.said.append)
    assert judged(caught.value)[1] == 2


def test_a_bucket_far_away_is_shown_with_its_price(site: Site) -> None:
    far = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="far", CreateBucketConfiguration=far)
    said: list[str] = []
    with pytest.raises(BadInput, match="Nothing was started"):
        site.cluster(name="far", bucket="s3://far").up(lambda what: False, said.append)
    assert said == [
        "The bucket far is in eu-west-1, the nodes are in us-east-1: each GB that goes from one to the other "
        "costs about $0.02."
    ]


class _Parameters(BaseHTTPRequestHandler):
    """Says which image is the newest, as AWS does."""

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Name"]
        images = {True: self.server.images[1], False: self.server.images[0]}  # type: ignore[attr-defined]
        body = json.dumps({"Parameter": {"Name": name, "Value": images["nvidia" in name]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_nodes_with_gpus_have_a_pool_and_an_image_of_their_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image["ImageId"] for image in site.ec2.describe_images()["Images"][:2]]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Parameters)
    server.images = images  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        types = site.cluster(image="").ray_config()["available_node_types"]
    finally:
        server.shutdown()
        server.server_close()
    gpu, plain = types["g4dn.xlarge-spot"], types["m5.4xlarge-spot"]
    assert (gpu["node_config"]["ImageId"], plain["node_config"]["ImageId"]) == (images[1], images[0])
    assert (gpu["resources"]["GPU"], plain["resources"]["GPU"]) == (1, 0)
    assert gpu["resources"]["device:g4dn.xlarge spot"] == 1
    assert plain["node_config"]["UserData"] == "#!/bin/sh\nshutdown -h +1440\n"
