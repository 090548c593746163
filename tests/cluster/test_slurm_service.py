"""A lab's service as a job on a real SLURM: it answers, comes again after its walltime, leaves nothing."""

from __future__ import annotations

import json
import re
import shlex
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydantic import ValidationError

from chunkflow.errors import BadInput
from chunkflow.people.accounts.accounts import Accounts
from cluster.slurm.scripts import STORE_BYTES
from cluster.slurm.service import ServiceRequest, SlurmService, service_script, write_service_script
from testbed.moto import free_port
from tests.support.clusters.slurm_site import Site, slurm_site, wait_until
from tests.support.jobs import make_layer
from tests.support.people.databases import new_database, postgresql_server
from tests.support.people.lab import Answered, ask_at, catalogued

__all__ = ["postgresql_server"]

DATABASE = "postgresql://lab@db.example.org/lab"
EDITS = "/api/review/cells/classified/edits"
START_SECONDS = 240
"""For which a busy machine may take to start Ray, two serving processes and HAProxy at once."""


@pytest.fixture
def site() -> Iterator[Site]:
    with slurm_site() as running:
        yield running


def queued(site: Site, sources: list[str], database: str, port: int, *options: str) -> str:
    """Queue a service with two processes, with options of sbatch; gives the number of its job."""
    file = site.folder / "lab.sbatch"
    request = ServiceRequest(cpus=3, memory=4, partition="cpu", account="lab", time="30:00")
    write_service_script(
        file, SlurmService(sources, database, port, request=request, scratch=str(site.folder))
    )
    return site.run("sbatch", "--parsable", *options, str(file)).strip()


def asked(port: int, path: str, token: str, edit: dict[str, object] | None = None) -> Answered:
    """What somebody is answered through HAProxy, with or without an edit to be taken."""
    body = None if edit is None else json.dumps(edit).encode()
    headers = {"Authorization": f"Bearer {token}"}
    return ask_at(f"http://127.0.0.1:{port}", path, "POST" if edit else "GET", body, headers)


def is_healthy(port: int) -> bool:
    """Whether HAProxy has a process that answers."""
    with suppress(OSError):
        return asked(port, "/health", "").status == 200
    return False


def shown(site: Site, job: str) -> str:
    return site.run("scontrol", "--oneliner", "show", "job", job)


def takes_connections(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as asked:
        return asked.connect_ex((host, int(port))) == 0


def running_of(job: str) -> dict[str, psutil.Process]:
    """The processes of a job, by name: they have its number in their environment."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_JOB_ID") == job:
                found[process.name()] = process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.xdist_group("postgresql")
def test_a_service_comes_again_after_its_walltime_and_leaves_nothing(
    site: Site, postgresql_server: str, tmp_path: Path
) -> None:
    port, database = free_port(), new_database(postgresql_server)
    with closing(Accounts.open(database)) as accounts:
        token = accounts.add("rob", "review") or ""
    job = queued(site, [str(catalogued(tmp_path))], database, port, "--cpus-per-task=4")
    log = site.folder / "lab" / "logs" / f"serve-{job}.out"
    wait_until(lambda: is_healthy(port), "an answer", START_SECONDS)
    said = log.read_text()
    assert re.search(rf"ssh -N -L {port}:n[123]:{port} \S+\nthen open http://localhost:{port}/", said)
    (dashboard,) = re.findall(r"--address http://(\S+)", said)
    wait_until(lambda: takes_connections(dashboard), "Ray", START_SECONDS)
    wait_until(lambda: "raylet" in running_of(job), "the whole of Ray", START_SECONDS)
    running = running_of(job)
    assert {"gcs_server", "haproxy"} < running.keys()
    (given,) = [word for word in running["raylet"].cmdline() if word.startswith("--static_resource_list=")]
    resources = given.partition("=")[2].split(",")
    ray_has = dict(zip(resources[::2], resources[1::2], strict=True))
    assert (float(ray_has["CPU"]), float(ray_has["memory"])) == (2, 2 * 2**30 - STORE_BYTES)
    found = asked(port, "/api/review/cells/classified/next?query=undecided", token).document["object"]
    edit = {"key": "a", "operation": "reject", "object": found["id"], "seen": None}
    assert asked(port, EDITS, token, edit).status == 200
    site.run("scancel", "--batch", "--signal=USR1", job)
    wait_until(
        lambda: "Restarts=1" in shown(site, job) and "PENDING" in shown(site, job), "the job to wait", 60
    )
    assert not running_of(job)
    assert not is_healthy(port)
    site.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: is_healthy(port), "an answer again", START_SECONDS)
    assert log.read_text().count("ssh -N -L") == 2
    held = asked(port, f"/api/review/cells/classified/objects/{found['id']}", token).document
    assert (held["status"], held["person"]) == ("rejected", "rob")
    site.run("scancel", job)
    wait_until(lambda: not site.jobs(), "the job to end", 60)
    assert not running_of(job)
    assert not list(site.folder.glob("cf-*"))
    assert not is_healthy(port)


@pytest.mark.xdist_group("postgresql")
def test_where_one_of_its_parts_ends_all_do(site: Site, postgresql_server: str, tmp_path: Path) -> None:
    port, database = free_port(), new_database(postgresql_server)
    with closing(Accounts.open(database)) as accounts:
        accounts.add("rob", "look")
    layer = make_layer(tmp_path / "an image", np.zeros((8, 8, 8), np.uint8))
    job = queued(site, [layer], database, port)
    wait_until(lambda: is_healthy(port), "an answer", START_SECONDS)
    running_of(job)["haproxy"].kill()
    wait_until(lambda: not site.jobs(), "the job to end", 60)
    assert "HAProxy has ended" in (site.folder / "lab" / "logs" / f"serve-{job}.out").read_text()
    assert "JobState=FAILED" in shown(site, job)
    assert not running_of(job)


def test_a_script_holds_what_it_is_given_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "lab.sbatch"
    source = "/work/it's a @folder@ $(touch x); `y`"
    database = "postgresql://lab:$secret';@db/lab"
    write_service_script(file, SlurmService([source], database, certificate=tmp_path / "a b.pem"))
    text = file.read_text()
    (command,) = re.findall(r"^chunkflow serve .*?&$", text.replace("\\\n", ""), re.M)
    words = shlex.split(command.removesuffix("&"))
    assert words[2] == source
    assert f"--database={database}" in words
    assert f"--cert={tmp_path}/a b.pem" in words
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "lab").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "lab" / "token").stat().st_mode) == 0o600
    token = (tmp_path / "lab" / "token").read_text()
    write_service_script(file, SlurmService([source], database))
    assert "--cert" not in file.read_text()
    assert (tmp_path / "lab" / "token").read_text() == token


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"database": ""}, "give postgresql://"),
        ({"database": "/shared/lab/service.sqlite"}, "SQLite loses data"),
        ({"database": "postgresql://a@b/c\nrm"}, "give postgresql://"),
        ({"sources": []}, "needs a work folder"),
        ({"sources": ["work\n#SBATCH"]}, "without line breaks"),
        ({"processes": 0}, "at least one process"),
        ({"port": 65535}, "up to 65535"),
        ({"processes": 8}, "need 9 cpus"),
        ({"request": ServiceRequest(cpus=16, memory=4), "processes": 4}, "5 GiB of memory"),
        ({"scratch": "/tmp/$x"}, "scratch"),
    ],
)
def test_what_cannot_be_a_job_is_refused(fields: dict[str, object], said: str, tmp_path: Path) -> None:
    given: dict[str, object] = {"sources": ["work/rat"], "database": DATABASE} | fields
    with pytest.raises(BadInput, match=re.escape(said)):
        service_script(SlurmService(**given), tmp_path)  # type: ignore[arg-type]


def test_files_of_others_and_odd_names_are_left_alone(tmp_path: Path) -> None:
    service = SlurmService(["work/rat"], DATABASE)
    with pytest.raises(BadInput, match=r"must end in \.sbatch"):
        write_service_script(tmp_path / "lab.sh", service)
    with pytest.raises(BadInput, match="letters, digits"):
        write_service_script(tmp_path / "a lab.sbatch", service)
    other = tmp_path / "other.sbatch"
    other.write_text("#!/bin/bash\n")
    with pytest.raises(BadInput, match="not written by chunkflow"):
        write_service_script(other, service)
    assert other.read_text() == "#!/bin/bash\n"
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(BadInput, match="open to others"):
        write_service_script(tmp_path / "open.sbatch", service)
    with pytest.raises(ValidationError, match="one name as SLURM knows it"):
        ServiceRequest(partition="cpu\n#SBATCH --uid=0")
