"""Jobs given to a cluster from outside of it: submit, jobs, logs, and what must not go along."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput, ChunkflowError
from cluster import probe
from cluster.submission import jobs as submission
from cluster.submission.environment import SENT, There, what_goes_along
from cluster.submission.jobs import shown_address
from cluster.submission.submit import check, entrypoint, extras, local_paths, refuse_unseen
from cluster.submission.wheel import build_wheel, constraints
from tests.support.clusters.ray_head import NODE_KEY, TOKEN, USER_KEY, Head
from tests.support.commands import Command

WORK = "s3://lab/jobs/rat"


def bucket(head: Head) -> object:
    return boto3.client(
        "s3",
        endpoint_url=head.s3,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 10}),
    )


def files_in(head: Head) -> dict[str, bytes]:
    """All that lies in the bucket."""
    s3 = bucket(head)
    names = [item["Key"] for item in s3.list_objects_v2(Bucket="lab").get("Contents", [])]  # type: ignore[attr-defined]
    return {name: s3.get_object(Bucket="lab", Key=name)["Body"].read() for name in names}  # type: ignore[attr-defined]


def own_job(lab: Path, **keys: object) -> Path:
    """A job with a task of the user's own, its layers on a disk, its work folder in a bucket."""
    job = {
        "job": "rat",
        "work": WORK,
        "chunk": [32, 32, 32],
        "storage": [16, 16, 16],
        "layers": {"dapi": "dapi", "copied": "copied"},
        "tasks": [{"own:Keep": {"image": "dapi", "kept": "copied"}}],
        **keys,
    }
    (lab / "own.yaml").write_text(yaml.safe_dump(job))
    return lab / "own.yaml"


def test_a_job_runs_on_a_cluster_and_is_known_by_its_work_folder(lab: Path, head: Head) -> None:
    bucket(head).create_bucket(Bucket="lab")  # type: ignore[attr-defined]
    told = head.chunkflow("submit", own_job(lab), "--address", head.address, "--set", "job=mouse", cwd=lab)
    assert told.code == 0, told
    assert "this machine may go" in told.out
    followed = head.chunkflow("logs", WORK, "-f")
    assert followed.code == 0, followed
    assert "Keep 8/8" in followed.out
    listed = head.chunkflow("jobs", "--address", head.address)
    row = next(line for line in listed.out.splitlines() if WORK in line)
    assert "mouse" in row
    assert "succeeded" in row
    one = head.chunkflow("logs", WORK, "--chunk", "Keep/3")
    assert "Keep chunk 3, done, read" in one.out
    assert "by worker-" in one.out
    assert " on " in one.out, "which node it was"
    assert "The ledger says of Keep chunk 3: done." in one.out
    assert (lab / "copied" / "info").exists()
    ended = head.chunkflow("stop", WORK)
    assert (ended.code, "the last run ended complete" in ended.err) == (2, True)
    assert_no_secrets(head)


def assert_no_secrets(head: Head) -> None:
    """In what the cluster tells of its jobs, its logs, the bucket, and all that was printed."""
    told = {"jobs": head.get(f"{head.address}/api/jobs/").encode()}
    assert "own.Keep" in str(told) or "rat" in str(told)
    runtime = [job["runtime_env"] for job in json.loads(told["jobs"]) if job.get("metadata")]
    assert runtime
    assert all(set(environment) == {"working_dir"} for environment in runtime)
    logs = (head.folder / "ray" / "session_latest" / "logs").resolve().rglob("*")
    told |= {str(file): file.read_bytes() for file in logs if file.is_file()}
    told |= {name: data for name, data in files_in(head).items() if name.startswith("jobs/")}
    assert any("submitted/" in name for name in told)
    assert any(name.endswith(".jsonl") for name in told)
    told |= {f"said {n}": text.encode() for n, text in enumerate(head.said)}
    for secret in (TOKEN, NODE_KEY, USER_KEY):
        assert not [name for name, data in told.items() if secret.encode() in data], secret


def test_a_token_that_is_missing_or_wrong_is_said(head: Head) -> None:
    words = ("jobs", "--address", head.address)
    missing = head.chunkflow(*words, RAY_AUTH_TOKEN_PATH="")
    assert (missing.code, "asks for a token" in missing.err) == (2, True), missing
    wrong = head.chunkflow(*words, RAY_AUTH_TOKEN="another")
    assert (wrong.code, "does not take this machine's token" in wrong.err) == (2, True), wrong
    assert "another" not in wrong.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "head"], "must be that of the cluster's dashboard"),
        (["--address", "ray://head:10001"], "as in http://HOST:8265"),
        (["--address", "http://head:x"], "must be that of the cluster's dashboard"),
        (["--address", "http://127.0.0.1:9"], "No Ray cluster answers at http://127.0.0.1:9"),
        (["--address", "http://me:secret@127.0.0.1:9"], "answers at http://127.0.0.1:9:"),
        (["--address", "http://127.0.0.1:9", "--box", "1-0"], "box takes"),
        (["--address", "http://127.0.0.1:9", "--set", "chunks=1"], "'chunks' is unknown"),
        (["--address", "http://127.0.0.1:9", "--until", "mesh"], "no task mesh"),
        (["--address", "http://127.0.0.1:9", "--budget", "-1"], "dollars above 0"),
        (["--address", "http://127.0.0.1:9", "--budget", "nan"], "dollars above 0"),
        (["--address", "http://127.0.0.1:9", "--budget", "inf"], "dollars above 0"),
        ([], "Missing option '--address'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    lab: Path, command: Command, words: list[str], said: str
) -> None:
    told = command("submit", "job.yaml", *words)
    assert (told.code, said in told.err) == (2, True), told.err
    assert not (lab / "work").exists()


def test_a_path_that_the_cluster_does_not_see_is_named(lab: Path) -> None:
    paths = local_paths(Job.from_file(lab / "job.yaml"))
    assert paths["layer dapi"] == str(lab / "dapi")
    assert paths["the folder of the work folder"] == str(lab)
    seen = dict.fromkeys(paths.values(), True)
    refuse_unseen(paths, There("", "", "", "", True, seen))
    refuse_unseen(
        paths, There("", "", "", "", True, {**seen, str(lab / "nuclei"): False})
    )  # is yet to be made
    with pytest.raises(BadInput, match=r"dapi \(layer dapi\) is on this machine"):
        refuse_unseen(paths, There("", "", "", "", True, {**seen, str(lab / "dapi"): False}))


def test_other_versions_there_are_named_with_what_to_do() -> None:
    here = probe.here()
    same = There("head", here["python"], here["ray"], here["chunkflow"], False, {})
    assert same.faults() == []
    other = There("head", "3.12.1", "2.9.0", "", False, {})
    python, ray, chunkflow = other.faults()
    assert "make an environment with Python 3.12 here" in python
    assert "pip install 'ray[default]==2.9.0'" in ray
    assert "virtualenv" in chunkflow


def test_the_wheel_is_the_running_chunkflow(tmp_path: Path) -> None:
    first, again = (build_wheel(folder) for folder in (tmp_path, tmp_path / ".."))
    assert first.read_bytes() == again.read_bytes()
    again.unlink()
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(installed), str(first)], check=True)
    script = "import chunkflow, cli.main, cluster.probe as p; print(chunkflow.__file__, p.here())"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith(str(installed))
    assert probe.here()["chunkflow"] in ran.stdout
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
    assert "cluster/workers/grafana.json" in names
    assert any(name.endswith("METADATA") for name in names)


def test_what_goes_along_is_named_by_its_content_and_pinned() -> None:
    here = probe.here()
    assert what_goes_along(There("", "", "", here["chunkflow"], True, {})) == ({}, {})
    files, environment = what_goes_along(There("", "", "", "another", True, {}), ["cnn"])
    pinned, wheel = environment["pip"]["packages"]
    assert here["chunkflow"] in wheel
    assert "chunkflow-ray[cnn] @ file://" in wheel
    for package in (pinned, wheel):
        assert package.partition(SENT + "/")[2] in files
    assert f"ray=={here['ray']}\n" in constraints()
    assert "+" not in constraints()
    assert "chunkflow" not in constraints()


def test_libraries_that_only_some_tasks_need(lab: Path) -> None:
    job = Job.from_file(own_job(lab))
    assert extras(job, {"job/own.py": b"import numpy\n"}) == []
    assert extras(job, {"job/own.py": b"import numpy\n\nfrom torch.nn import Conv3d\n"}) == ["cnn"]


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ({"ingest": {"source": "brain.nii.gz", "layer": "copied"}}, ["formats"]),
        ({"ingest": {"source": "brain.h5:raw", "layer": "copied"}}, ["formats"]),
        ({"ingest": {"source": "planes", "layer": "copied"}}, ["formats"]),
        ({"ingest": {"source": "brain.ome.zarr", "layer": "copied"}}, []),
        ({"ingest": {"source": "brain.czi:0", "layer": "copied"}}, ["microscopes"]),
        ({"stitch": {"tiles": "{row}_{column}.nd2", "images": ["copied"]}}, ["microscopes"]),
        ({"copy": {"source": "dapi", "target": "copied"}}, []),
    ],
)
def test_packages_that_only_some_stacks_need(lab: Path, task: dict[str, object], wanted: list[str]) -> None:
    assert extras(Job.from_file(own_job(lab, tasks=[task])), {}) == wanted


def test_a_layer_may_need_a_codec(lab: Path) -> None:
    layers = {"dapi": "dapi", "copied": {"url": "copied", "encoding": "crackle"}}
    job = Job.from_file(own_job(lab, layers=layers))
    assert extras(job, {}) == ["formats"]


def test_what_is_run_there() -> None:
    words = entrypoint(4, None, ["mesh"], 12.5, ["job/prices.yaml"])
    assert words == (
        "python -m cli.main run job/job.yaml --address auto --workers 4 --restart mesh --yes --budget 12.5 "
        "--prices job/prices.yaml"
    )
    assert shown_address("https://me:secret@head:8265/") == "https://head:8265"


def test_a_job_as_sent_is_the_job(lab: Path) -> None:
    job = Job.from_file(own_job(lab), ["memory=3"])
    (lab / "sent.yaml").write_text(yaml.safe_dump(job.model_dump(mode="json")))
    assert Job.from_file(lab / "sent.yaml") == job


def test_a_dashboard_that_never_answers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        in_the_end = threading.Timer(20, silent.shutdown, [socket.SHUT_RDWR])  # who waits on is answered so
        in_the_end.start()
        with pytest.raises(ChunkflowError, match="takes connections, but gives no answer"):
            submission.Jobs(address)
        in_the_end.cancel()


def test_what_a_restart_deletes_is_told_before_anything_is_sent(lab: Path, command: Command) -> None:
    assert command("run", "job.yaml", "--serial", "--until", "segment").code == 0
    deleted = check(Job.from_file(lab / "job.yaml"), None, "segment")
    assert re.search(r"segment.*: [1-9]\d* finished chunks, \d+\.\d MB written", deleted)


def test_an_address_that_only_a_work_folder_names_is_not_asked(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(lab / "config"))
    assert command("run", "job.yaml", "--serial", "--until", "segment").code == 0
    asked: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(500)

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        note = {"address": f"http://127.0.0.1:{server.server_port}", "submission": "x"}
        (lab / "work" / "submitted").mkdir()
        (lab / "work" / "submitted" / "1.json").write_text(json.dumps(note))
        told = command("logs", "work")
        server.shutdown()
    assert "segment chunk 0, done" in told.out
    assert not asked
