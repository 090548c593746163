"""A cluster on a real SLURM of three nodes: it grows with the work and shrinks, keeps to itself, and leaves
nothing behind."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import BadInput, ChunkflowError
from cluster.providers import load_place
from cluster.slurm import provider as slurm_provider
from cluster.slurm.site import run_here
from tests.support.clusters.nobody import (
    ASKS,
    METRICS,
    answers,
    as_nobody,
    listening,
    needs_root,
    open_to_nobody,
    processes_of_job,
    used_by,
)
from tests.support.clusters.slurm_site import Site, processes_of, slurm_site, wait_until
from tests.support.clusters.slurm_up import CPU, GPU, Up, bring_up, job_file, small_job, write_file
from tests.support.jobs import run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with slurm_site() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(site: Site) -> Iterator[Up]:
    up = bring_up(site, write_file(site, "first"))
    yield up
    up.leave()


def test_what_a_site_would_refuse_is_said_before_anything_runs(site: Site) -> None:
    def refusal(**keys: object) -> str:
        path = write_file(site, "refused", **keys)
        with pytest.raises(BadInput) as raised:
            load_place(path).up(lambda what: True, lambda line: None)
        return str(raised.value)

    assert "no partition 'fast' here; there are gpu, cpu, spare, closed" in refusal(
        workers={"cpu": CPU | {"partition": "fast"}}
    )
    assert "over the limit of partition cpu, 01:00:00" in refusal(workers={"cpu": CPU | {"time": "2:00:00"}})
    assert "more than any node of partition cpu has; at most 4" in refusal(
        workers={"cpu": CPU | {"cpus": 64}}
    )
    assert "at most 5.9" in refusal(workers={"cpu": CPU | {"memory": 64}})
    assert "has no GPUs;" in refusal(workers={"gpu": CPU | {"gpus": 1, "partition": "spare"}})
    assert "has no GPUs of type 'large'; it has small." in refusal(
        workers={"gpu": GPU | {"gpu_type": "large"}}
    )
    assert "2 gpus are more than any node of partition gpu has; at most 1." in refusal(
        workers={"gpu": GPU | {"gpus": 2}}
    )
    assert "needs gpus, how many" in refusal(workers={"gpu": GPU | {"gpus": 0}})
    assert "the partition closed is down" in refusal(workers={"cpu": CPU | {"partition": "closed"}})
    assert "Invalid account" in refusal(workers={"cpu": CPU | {"account": "other"}})
    assert refusal(head={"partition": "fast"}).startswith("head: there is no partition")
    assert "cannot be written" in refusal(folder="/proc/cluster")
    (site.folder / "open").mkdir(mode=0o755)
    assert "is open to others" in refusal(folder=str(site.folder / "open"))
    assert not (site.folder / "refused").exists()
    assert not site.jobs()


def test_where_no_slurm_answers_one_is_sent_to_a_login_node(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = (site.folder / "slurm.conf").read_text()
    elsewhere = tmp_path / "slurm.conf"
    elsewhere.write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1\nMessageTimeout=2", conf))
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    with pytest.raises(ChunkflowError, match="go to a login node"):
        run_here(["squeue"])


def test_nothing_is_started_without_consent(site: Site) -> None:
    asked: list[str] = []
    place = load_place(write_file(site, "asked"))
    with pytest.raises(BadInput, match="Nothing was started"):
        place.up(lambda what: bool(asked.append(what)), lambda line: None)
    assert re.search(r"head job of 1 CPUs that runs up to 0.5 h .* at most 3 of cpu, 2 of gpu", asked[0])
    assert not site.jobs()
    assert place.status() == [
        f"Nothing of the cluster asked is there; chunkflow cluster up {site.folder}/asked.yaml"
    ]
    assert place.down(lambda line: None) == 0


def test_a_job_gets_its_workers_and_gives_them_back(cluster: Up, site: Site, tmp_path: Path) -> None:
    """From none to two with a GPU to none, and the same as one process makes, although a worker is told to go
    meanwhile as SLURM does: by SIGTERM to its batch script. That costs no attempt."""
    (tmp_path / "serial").mkdir()
    (tmp_path / "slurm").mkdir()
    reference = small_job(tmp_path / "serial")
    assert run_job(reference) == "complete"
    job = small_job(tmp_path / "slurm", gpus=1, pause=0.4)
    assert not cluster.jobs("gpu")
    words = ("run", str(job_file(job, tmp_path / "slurm")), "--address", cluster.address, "--workers", "2")
    process = cluster.python("-m", "cli.main", *words)
    wait_until(
        lambda: process.poll() is not None or any((tmp_path / "slurm" / "labels").glob("*/*")), "a chunk"
    )
    workers = cluster.jobs("gpu")
    assert 1 <= len(workers) <= 2
    site.run("scancel", "--signal=TERM", "--batch", workers[0])
    wait_until(lambda: workers[0] not in cluster.jobs("gpu"), "the worker to leave")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert_same(all_made(job), all_made(reference), "on SLURM")
    assert_all_accounted(job)
    stages = Ledger.load(Folder(job.work)).stages.values()
    causes = {cause for stage in stages for cause in stage.causes}
    assert causes <= {"preempted"}
    assert not cluster.jobs("cpu")
    wait_until(lambda: not cluster.jobs("gpu"), "idle workers to be given back")


def test_what_slurm_refuses_is_asked_for_in_part(cluster: Up) -> None:
    """The site takes no array of three: one is asked for, and `status` says so. Nodes with GPUs do not
    stand in for the others."""
    cluster.ask_for(3)
    wait_until(lambda: "3 asked for, 1 taken" in "\n".join(cluster.place.status()), "the refusal to be told")
    assert len(cluster.jobs("cpu")) == 1
    assert "Job violates accounting/QOS policy" in "\n".join(cluster.place.status())
    wait_until(lambda: len(cluster.joined()) == 2, "the head and the one that was taken")  # some turns later
    assert not cluster.jobs("gpu")
    cluster.ask_for(1)  # the one stays for the tests below
    wait_until(lambda: len(cluster.jobs("cpu")) == 1, "one to stay")


@needs_root
def test_another_user_of_a_node_finds_nothing_open(cluster: Up, site: Site) -> None:
    """Neither in the folders of the head and its worker, nor in what they have open, nor at their ports."""
    assert as_nobody(["cat", str(site.folder / "slurm.conf")]).stdout  # nobody comes as far as the folders
    folders = list(site.folder.glob("cf-*"))
    assert len([folder for folder in folders if list(folder.glob("ray/session_latest/sockets/raylet"))]) == 2
    assert not open_to_nobody([*folders, cluster.folder], "-readable", "-writable", "-executable")
    processes = [one for job in cluster.jobs("head") + cluster.jobs("cpu") for one in processes_of_job(job)]
    used = used_by(processes)
    assert [path for path in used if path.endswith("sockets/raylet")]
    assert not [path for path in used if path.startswith("@")]
    assert not open_to_nobody([Path(path) for path in used if path.startswith("/")], "-writable")
    had = answers(listening(processes))
    assert set(had.values()) == {ASKS, METRICS}, had
    assert list(had.values()).count(ASKS) >= len(folders) * 4  # of each node, and of the head's services


@pytest.mark.parametrize(
    ("groups", "asked", "stands_in"),
    [
        ({"cpu": {"CPU": 4, "GPU": 0}, "gpu": {"CPU": 8, "GPU": 1}}, [{"CPU": 1}], False),
        ({"cpu": {"CPU": 4, "GPU": 0}, "gpu": {"CPU": 8, "GPU": 1}}, [{"GPU": 0.5}], True),
        ({"cpu": {"CPU": 4, "GPU": 0}, "gpu": {"CPU": 8, "GPU": 1}}, [{"CPU": 8}], True),
        ({"cpu": {"CPU": 4, "GPU": 0}, "gpu": {"CPU": 8, "GPU": 1}}, [{"GPU": 2}, {"CPU": 1}], False),
        ({"gpu": {"CPU": 8, "GPU": 1}}, [{"CPU": 1}], True),
    ],
)
def test_nodes_with_gpus_are_for_what_no_other_holds(
    monkeypatch: pytest.MonkeyPatch,
    groups: dict[str, dict[str, float]],
    asked: list[dict[str, float]],
    stands_in: bool,
) -> None:
    monkeypatch.setattr(slurm_provider, "_groups", groups)
    known = NodeAvailabilitySummary({})
    score = slurm_provider.in_order(groups["gpu"], asked, "gpu", node_availability_summary=known)
    assert (score is not None) == stands_in


def test_two_clusters_on_the_same_nodes_keep_apart(cluster: Up, site: Site) -> None:
    """The second submits by way of the login node. When its head is gone its worker ends, the first's not."""
    second = Up(site, "second", load_place(write_file(site, "second", submit_from="login")))
    login = threading.Thread(target=second.place.up, args=(lambda what: True, second.said.append))
    login.start()
    wait_until(lambda: any("submits for the cluster" in line for line in second.said), "the second cluster")
    second.ask_for(1)
    wait_until(lambda: len(second.keys()) == 2 and second.joined() == second.keys(), "its worker")
    assert cluster.joined() == cluster.keys()
    second.leave()
    assert not cluster.keys() & second.keys()
    site.run("scancel", *second.jobs("head"))
    wait_until(lambda: not second.jobs("cpu"), "the worker without a head to end")
    assert len(cluster.jobs("cpu")) == 1
    assert cluster.joined() == cluster.keys()
    assert second.place.down(second.said.append) == 0
    login.join(60)
    assert not login.is_alive()


def test_a_worker_that_is_queued_again_joins_again(cluster: Up, site: Site) -> None:
    (job,) = cluster.jobs("cpu")
    before = cluster.keys()
    cluster.ask_for(2)  # one more than there is, so that it is wanted when it comes back
    site.run("scontrol", "requeue", job)
    wait_until(lambda: not before <= cluster.keys(), "the worker to be stopped")
    wait_until(lambda: not _is_ending(site, job), "the worker to wait")
    site.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: before <= cluster.joined(), "the worker to be back")
    cluster.ask_for(1)
    wait_until(lambda: len(cluster.jobs("cpu")) == 1, "the other to go")


def test_nothing_is_left_when_a_cluster_is_taken_down(cluster: Up, site: Site) -> None:
    assert cluster.jobs("head")
    assert cluster.place.down(cluster.said.append) == 0
    assert not site.jobs()
    assert cluster.said[-1].startswith("Nothing of the cluster is left.")
    wait_until(lambda: len(processes_of(site.folder)) == len(site.processes), "all processes to end")
    assert not list(site.folder.glob("cf-*"))
    assert not (cluster.folder / "token").exists()


def _is_ending(site: Site, job: str) -> bool:
    return "COMPLETING" in site.run("squeue", "--noheader", f"--jobs={job}", "--format=%T")


def test_a_fixed_allocation_runs_a_job_and_ends(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    job = small_job(tmp_path)
    script = str(ROOT / "examples" / "slurm.sbatch")
    options = ["--nodes=2", "--cpus-per-task=2", "--mem=1G", "--time=10", f"--output={tmp_path}/log"]
    number = site.run("sbatch", "--parsable", *options, script, str(job_file(job, tmp_path))).strip()
    folders = Path("/tmp")
    wait_until(lambda: len(list(folders.glob(f"cf-{number}-*/**/sockets"))) == 2, "Ray on two nodes")
    assert not open_to_nobody(folders.glob(f"cf-{number}-*"), "-readable", "-writable", "-executable")
    wait_until(lambda: not site.jobs(), "the allocation to end")
    assert_all_accounted(job, clean=True)
    assert not list(Path("/tmp").glob(f"cf-{number}-*"))
    wait_until(lambda: not processes_of(Path(f"/tmp/cf-{number}")), "its processes to end")
