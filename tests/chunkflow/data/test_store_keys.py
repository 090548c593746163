"""Keys and places of stores: found as CloudVolume finds them, also by the conditional put, and never written
anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from cloudfiles import CloudFiles
from cloudvolume import CloudVolume

from chunkflow.data.folder import Folder
from testbed.fault_proxy import Faults, fault_proxy
from testbed.moto import moto_server
from tests.support.servers import instance_role, s3_at

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
import numpy as np
from chunkflow.data.folder import Folder
from cloudvolume import CloudVolume
for url in sys.argv[1:]:
    folder = Folder(url)
    folder.check_conditional_put()
    folder.put("a", b"1")
    assert (folder.get("a"), folder.get_all(["a", "b"]), list(folder.list())) == (b"1", [b"1", None], ["a"])
    array = np.ones((8, 8, 8), np.uint8)
    CloudVolume.from_numpy(array, url + "/layer", chunk_size=(8, 8, 8), progress=False)
    assert (CloudVolume(url + "/layer", progress=False)[:][..., 0] == 1).all()
"""
JOB = """
job: keys
work: s3://kept/work
chunk: [32, 32, 32]
storage: [32, 32, 32]
layers: {image: s3://kept/image, copied: s3://brains/copied}
tasks:
  - copy: {source: image, target: copied}
"""


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def address(faults: Faults) -> Iterator[str]:
    with moto_server() as store, fault_proxy(store, faults) as found:
        with s3_at(found):
            boto3.client("s3").create_bucket(Bucket="brains")
        yield found


def bare(home: Path, **more: str) -> dict[str, str]:
    """The environment without keys or endpoints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    places = {"HOME": str(home), "CLOUD_VOLUME_DIR": str(home), "CLOUD_FILES_DIR": str(home)}
    return {**kept, **places, "PYTHONPATH": str(ROOT), **more}


def do(environment: dict[str, str], *urls: str) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, *urls], env=environment, check=True, cwd=ROOT)


def secrets(home: Path, file: str, key: str) -> None:
    (home / "secrets").mkdir(exist_ok=True)
    text = json.dumps({"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": f"hidden-{key}"})
    (home / "secrets" / file).write_text(text)


def test_the_role_of_the_instance(address: str, faults: Faults, tmp_path: Path) -> None:
    faults.keys.clear()
    with instance_role("KEYOFROLE", "hidden") as role:
        where = {"AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_SERVICE_ENDPOINT": role}
        do(bare(tmp_path, **where), "s3://brains/by-role")
    assert faults.keys == {"KEYOFROLE"}


def test_the_secret_of_a_bucket_before_that_of_all_and_before_the_environment(
    address: str, faults: Faults, tmp_path: Path
) -> None:
    where = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "KEYOFENV", "AWS_SECRET_ACCESS_KEY": "hidden"}
    for file, key in (("aws-secret.json", "KEYOFALL"), ("brains-aws-secret.json", "KEYOFBUCKET")):
        secrets(tmp_path, file, key)
    faults.keys.clear()
    do(bare(tmp_path, **where), "s3://brains/by-secret")
    assert faults.keys == {"KEYOFBUCKET"}


def test_a_store_of_ones_own_by_an_alias(address: str, faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "aliases.json").write_text(json.dumps({"lab": {"host": f"s3://{address}/"}}))
    secrets(tmp_path, "aws-secret.json", "KEYOFALL")
    secrets(tmp_path, "lab-secret.json", "KEYOFLAB")
    faults.keys.clear()
    do(bare(tmp_path), "lab://brains/by-alias")
    assert faults.keys == {"KEYOFLAB"}


def test_no_key_is_written_anywhere(address: str, faults: Faults, tmp_path: Path) -> None:
    """A run on Ray with chunks that fail: nothing of it, said or kept, holds a key that was in use."""
    secrets(tmp_path, "kept-aws-secret.json", "KEYOFBUCKET")
    with s3_at(address), tempfile.TemporaryDirectory(prefix="keys-", dir="/tmp") as ray:
        boto3.client("s3").create_bucket(Bucket="kept")
        image = np.ones((64, 32, 32), np.uint8)
        layer = {"chunk_size": (32, 32, 32), "layer_type": "image", "progress": False}
        CloudVolume.from_numpy(image, "s3://kept/image", **layer)
        CloudFiles("s3://kept/image").delete("4_4_40/32-64_0-32_0-32")
        (tmp_path / "job.yaml").write_text(JOB)
        faults.keys.clear()
        keys = {"AWS_ACCESS_KEY_ID": "KEYOFENV", "AWS_SECRET_ACCESS_KEY": "hidden-KEYOFENV"}
        environment = bare(tmp_path, AWS_ENDPOINT_URL=address, RAY_TMPDIR=ray, **keys)
        said = subprocess.run(
            [sys.executable, "-m", "cli.main", "run", str(tmp_path / "job.yaml"), "--workers", "1"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
        )
        assert said.returncode == 1, said.stderr.decode()
        assert b"incomplete" in said.stderr
        assert {"KEYOFENV", "KEYOFBUCKET"} <= faults.keys
        folder = Folder("s3://kept/work")
        found = {name: folder.get(name) or b"" for name in folder.list()}
        assert {"report.html"} <= found.keys()
        assert any(name.startswith("logs/") for name in found)
        logs = {str(file): file.read_bytes() for file in Path(ray).rglob("*") if file.is_file()}
        assert any(name.endswith(".log") for name in logs)
        for where, text in {**found, **logs, "stdout": said.stdout, "stderr": said.stderr}.items():
            for key in (b"KEYOFENV", b"KEYOFBUCKET"):
                assert key not in text, where
