"""A real SLURM of three nodes on this machine, on free ports, ended by process id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from testbed.moto import free_port

NODES = ("n1", "n2", "n3")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CONF = """
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobSubmitPlugins=lua
MpiDefault=none
ReturnToService=2
MaxArraySize=101
FirstJobId={first_job}
GresTypes=gpu
KillWait=30
MinJobAge=10
{nodes}
PartitionName=gpu Nodes=n1,n2 MaxTime=1:00:00 DefaultTime=30:00 PriorityTier=10 State=UP
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1:00:00 DefaultTime=30:00 PriorityTier=10 State=UP
PartitionName=spare Nodes=n3 MaxTime=1:00:00 DefaultTime=30:00 PriorityTier=1 State=UP
PartitionName=closed Nodes=ALL MaxTime=1:00:00 State=DOWN
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=6000"
GPU_NODES = NODES[:2]
"""Each has a GPU, as the site says: /dev/null stands for it."""
SITE_RULES = """
function slurm_job_submit(job, partitions, user)
  if job.account ~= nil and job.account ~= "lab" then
    return slurm.ESLURM_INVALID_ACCOUNT
  end
  local last = tonumber(string.match(job.array_inx or "", "%d+%-(%d+)") or "0")
  if last > 2 then
    return 2050  -- ESLURM_ACCOUNTING_POLICY
  end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end
"""
"""What this site refuses: an account other than lab, and arrays of more than two jobs."""


@dataclass
class Site:
    """A SLURM that runs; its commands find it by SLURM_CONF."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def jobs(self, *names: str) -> list[str]:
        """The ids of the jobs that are not over, of any name or of these."""
        words = ["squeue", "--noheader", "--array", "--format=%A %j"]
        lines = [line.split(maxsplit=1) for line in self.run(*words).splitlines()]
        return [number for number, name in lines if not names or name in names]


@contextmanager
def slurm_site() -> Iterator[Site]:
    """Start SLURM; everything that it still runs at the end is cancelled."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        pytest.fail(
            f"These tests start a SLURM of their own, as root: apt install slurm-wlm munge ({absent} absent)"
        )
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    site = Site(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            _start(site)
            yield site
        finally:
            _end(site)


def _end(site: Site) -> None:
    """SLURM ends its jobs, also where a test was interrupted; then its own processes are ended."""
    try:
        site.run("scancel", f"--user={os.getuid()}")
        wait_until(lambda: not site.jobs(), "SLURM to have ended its jobs", 60.0)
    finally:
        for process in reversed(site.processes):
            process.send_signal(signal.SIGTERM)
        for process in site.processes:
            process.wait(30)
        shutil.rmtree(site.folder, ignore_errors=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes whose command names something in a folder."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if str(folder) in " ".join(process.info["cmdline"] or ())]


def _start(site: Site) -> None:
    folder = site.folder
    folder.chmod(0o755)
    (folder / "state").mkdir()
    for name in NODES:
        (folder / name).mkdir()
    gpus = dict.fromkeys(GPU_NODES, " Gres=gpu:small:1")
    nodes = [NODE.format(name=name, port=free_port()) + gpus.get(name, "") for name in NODES]
    devices = [f"NodeName={name} Name=gpu Type=small File=/dev/null\n" for name in GPU_NODES]
    (folder / "gres.conf").write_text("".join(devices))
    (folder / "slurm.conf").write_text(
        CONF.format(
            port=free_port(),
            first_job=random.randrange(10**6, 5 * 10**7),
            folder=folder,
            nodes="\n".join(nodes),
        )
    )
    (folder / "job_submit.lua").write_text(SITE_RULES)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    places = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid"}
    places |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    _run(site, "munged", "--foreground", "--force", *(f"--{k}={folder / v}" for k, v in places.items()))
    wait_until((folder / "munge.socket").exists, "munged")
    conf = str(folder / "slurm.conf")
    _run(site, "slurmctld", "-D", "-f", conf)
    for name in NODES:
        _run(site, "slurmd", "-D", "-f", conf, "-N", name)
    wait_until(lambda: _idle_nodes() == len(NODES), "three nodes of SLURM")


def _run(site: Site, *words: str) -> None:
    with open(site.folder / "processes.log", "ab") as log:
        site.processes.append(subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL))


def _idle_nodes() -> int:
    found = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%T"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.split().count("idle")


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait for something that happens in its own time; fails where it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.2)
