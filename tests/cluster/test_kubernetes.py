"""The manifest for KubeRay and the image that it runs: both name what is there, and say what they must."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import chunkflow
from chunkflow.engine.cost.prices import load_prices
from chunkflow.errors import BadInput
from cluster.providers import load_place
from cluster.workers.actor import Actor
from cluster.workers.capacity import HEAD_ENVIRONMENT

ROOT = Path(__file__).parent.parent.parent
TEXT = {"type": "string"}
MANY = {"type": "integer", "minimum": 0}
QUANTITY = {"anyOf": [{"type": "string", "pattern": r"^[0-9.]+([KMGT]i?|m)?$"}, MANY]}


def strict(required: list[str], **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def many(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


TEXTS = {"type": "object", "additionalProperties": TEXT}
AMOUNTS = {"type": "object", "additionalProperties": QUANTITY}
RESOURCES = strict(["requests"], requests=AMOUNTS, limits=AMOUNTS)
HANDLER = strict(["exec"], exec=strict(["command"], command=many(TEXT)))
CONTAINER = strict(
    ["name", "image", "resources"],
    name=TEXT,
    image=TEXT,
    env=many(strict(["name", "value"], name=TEXT, value=TEXT)),
    lifecycle=strict([], postStart=HANDLER, preStop=HANDLER),
    ports=many(strict(["containerPort"], name=TEXT, containerPort=MANY)),
    resources=RESOURCES,
)
TOLERATION = strict(
    ["key", "operator", "effect"],
    key=TEXT,
    operator={"enum": ["Equal", "Exists"]},
    value=TEXT,
    effect={"enum": ["NoSchedule", "NoExecute", "PreferNoSchedule"]},
)
POD = strict(
    ["containers", "restartPolicy"],
    serviceAccountName=TEXT,
    restartPolicy={"const": "Never"},  # Ray's autoscaler replaces pods itself
    terminationGracePeriodSeconds=MANY,
    nodeSelector=TEXTS,
    tolerations=many(TOLERATION),
    containers=many(CONTAINER),
)
TEMPLATE = strict(["spec"], spec=POD)
GROUP = strict(
    ["groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"],
    groupName=TEXT,
    replicas=MANY,
    minReplicas=MANY,
    maxReplicas=MANY,
    rayStartParams=TEXTS,
    template=TEMPLATE,
)
AUTOSCALER = strict(
    [],
    version={"enum": ["v1", "v2"]},
    idleTimeoutSeconds=MANY,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
)
RAY_CLUSTER = strict(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=strict(["name"], name=TEXT),
    spec=strict(
        ["headGroupSpec", "workerGroupSpecs"],
        rayVersion=TEXT,
        enableInTreeAutoscaling={"type": "boolean"},
        autoscalerOptions=AUTOSCALER,
        authOptions=strict(["mode"], mode={"enum": ["token", "disabled"]}, secretName=TEXT),
        headGroupSpec=strict(["rayStartParams", "template"], rayStartParams=TEXTS, template=TEMPLATE),
        workerGroupSpecs=many(GROUP),
    ),
)
"""As much of the fields of KubeRay's RayCluster as the manifest may use, none of them misspelt."""


@pytest.fixture
def manifest() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "kubernetes.yaml").read_text())
    return document


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_the_manifest_has_only_fields_that_there_are(manifest: dict[str, Any]) -> None:
    jsonschema.validate(manifest, RAY_CLUSTER)
    manifest["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, RAY_CLUSTER)


def test_the_token_is_on_and_nothing_is_kept_that_is_not_used(manifest: dict[str, Any]) -> None:
    spec = manifest["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["idleTimeoutSeconds"] == 300
    assert [(group["replicas"], group["minReplicas"]) for group in spec["workerGroupSpecs"]] == [
        (0, 0),
        (0, 0),
    ]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_what_is_announced_is_what_the_groups_may_come_to(manifest: dict[str, Any]) -> None:
    head = containers(manifest)[0]
    command = head["lifecycle"]["postStart"]["exec"]["command"]
    (said,) = re.findall(r"--announce '(.*)'", command[2], re.DOTALL)
    named = {"CPU": "cpu", "GPU": "nvidia.com/gpu", "memory": "memory"}
    nodes = []
    for group in manifest["spec"]["workerGroupSpecs"]:
        asked = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        has = {name: _amount(asked[key]) for name, key in named.items() if key in asked}
        nodes.append({"most": group["maxReplicas"], **has})
    assert json.loads(said) == nodes
    subprocess.run(["bash", "-n", "-c", command[2]], check=True)
    assert {item["name"]: item["value"] for item in head["env"]} == HEAD_ENVIRONMENT


def _amount(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) * (2**30 if quantity.endswith("Gi") else 1)


def test_a_pod_that_is_to_go_tells_its_workers_and_waits_for_them(manifest: dict[str, Any]) -> None:
    for group in manifest["spec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        (worker,) = pod["containers"]
        assert [item["name"] for item in worker["env"]] == ["CHUNKFLOW_NOTICE"]
        *shell, script = worker["lifecycle"]["preStop"]["exec"]["command"]
        assert shell == ["sh", "-c"]
        subprocess.run(["sh", "-n", "-c", script], check=True)
        assert 'touch "$CHUNKFLOW_NOTICE"' in script
        assert f"'^ray::{Actor.__name__}'" in script  # the name that Ray gives its processes
        (seconds,) = re.findall(r"seq (\d+)", script)
        assert int(seconds) < pod["terminationGracePeriodSeconds"] - 5


def test_nodes_are_named_as_the_price_table_names_them(manifest: dict[str, Any]) -> None:
    table = load_prices()
    for group in manifest["spec"]["workerGroupSpecs"]:
        resources = json.loads(json.loads(group["rayStartParams"]["resources"]))
        ((name, amount),) = resources.items()
        assert (table.hourly(name.removeprefix("device:")) is not None, amount) == (True, 1)


def test_all_run_the_same_image_and_ray(manifest: dict[str, Any]) -> None:
    images = {container["image"] for container in containers(manifest)}
    assert images == {f"REGISTRY/chunkflow:{chunkflow.__version__}"}
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.count("==") == 1
    )
    assert manifest["spec"]["rayVersion"] == pins["ray"]


def instructions() -> list[list[str]]:
    """The words of each instruction of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_image_has_a_python_that_chunkflow_takes_and_is_nobodys() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    (image,) = [words[1] for words in instructions() if words[0] == "FROM"]
    assert image == "python:${PYTHON}-slim"
    assert instructions()[0][0] == "ARG", "what comes after FROM is not known to it"
    (minor,) = re.findall(r"^PYTHON=3\.(\d+)$", instructions()[0][1])
    assert low <= int(minor) < high
    assert [words[1] for words in instructions() if words[0] == "USER"] == ["chunkflow"]
    assert not [
        words for words in instructions() if words[0] == "ENTRYPOINT"
    ]  # KubeRay and apptainer say what runs


def test_what_is_copied_into_the_image_is_a_whole_chunkflow(tmp_path: Path) -> None:
    """Build it from these files alone, as the image does."""
    copied = [words[1:] for words in instructions() if words[0] == "COPY"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for *sources, target in copied:
        for source in sources:
            assert f"!{source}" in ignored
            place = tmp_path / "root" / target.lstrip("/")
            place = place / source if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            kept = "--exclude=__pycache__"
            archive = subprocess.run(["tar", "-c", kept, "-C", ROOT, source], check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", place.parent], input=archive.stdout, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    folder = tmp_path / "root" / "tmp" / "chunkflow"
    subprocess.run([*command, "--wheel-dir", tmp_path, folder], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "chunkflow", "tasks", "cluster", "cli"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert not [name for name in tracked if name.endswith((".py", ".yaml", ".html")) and name not in names]


def test_cluster_up_says_how_it_is_done_there(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("provider: kubernetes")
    with pytest.raises(BadInput, match="On Kubernetes kubectl makes the cluster"):
        load_place(tmp_path / "file.yaml")
