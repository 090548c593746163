"""A cluster on SLURM: its head is a job, and Ray's autoscaler there asks for workers as jobs.

1. `up` asks the site about all that can be wrong, writes scripts, a token and the autoscaler's config into
   the cluster's folder, and queues the head.
2. The head starts Ray with its autoscaler (cluster/slurm/provider.py), which puts its address there.
3. Where compute nodes may not submit, `up` stays and runs SLURM's commands for the head.
4. `down` cancels every job of the cluster until there is none.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import yaml

from chunkflow.errors import BadInput, ChunkflowError
from cluster.closed import write_token
from cluster.place import Say
from cluster.slurm.checks import SlurmFacts, check
from cluster.slurm.file import SlurmFile
from cluster.slurm.refusals import FAILED, REFUSED, Refusals
from cluster.slurm.scripts import head_script, memory_bytes, worker_script
from cluster.slurm.site import HEAD, Relay, Slurm, SlurmJob, SlurmRefused, write_whole

LOOK_SECONDS = 1.0
HEAD_LOOK_SECONDS = 30.0
DOWN_SECONDS = 120.0
_SPEED = 100_000.0  # the autoscaler asks for all that is wanted at once: one array job


class SlurmCluster:
    """A cluster that a file with `provider: slurm` describes."""

    def __init__(self, file: SlurmFile, path: Path) -> None:
        self._file, self._path = file, path
        self._folder = file.folder
        self._slurm = Slurm(file.name, tuple(file.workers))

    @classmethod
    def from_document(cls, document: dict[str, object], path: Path) -> Self:
        return cls(SlurmFile.from_document(document, path), path)

    def up(self, agree: Callable[[str], bool], say: Say) -> None:
        head = self._head()
        if head is None:
            site = check(self._file)
            if not agree(self._question(site)):
                raise BadInput("Nothing was started.")
            self._write(site)
            number = self._submit_head()
            say(f"The head is job {number}; its log is {self._log(number)}.")
        else:
            number = head.number
            say(f"The cluster {self._file.name} is there already: job {number}.")
        self._wait_for_head(number, say)
        for line in self._how_to_use():
            say(line)
        if self._file.submit_from == "login":
            self._serve(number, say)

    def _question(self, site: SlurmFacts) -> str:
        limit = site.limit(self._file.head)
        hours = f"up to {limit / 3600:.1f} h" if limit else "without an end"
        workers = ", ".join(f"{group.most} of {name}" for name, group in self._file.workers.items())
        return (
            f"This queues a head job of {self._file.head.cpus} CPUs that runs {hours} or until it is taken "
            f"down, and workers as work asks for them: at most {workers}."
        )

    def _head(self) -> SlurmJob | None:
        return next((job for job in self._slurm.jobs() if job.group == HEAD and not job.over), None)

    def _submit_head(self) -> int:
        try:
            return self._slurm.submit(self._folder / "head.sbatch", HEAD)
        except SlurmRefused as error:
            raise BadInput(f"SLURM refuses the head's job: {error}.") from error

    def _write(self, site: SlurmFacts) -> None:
        """All that the head and its workers read."""
        stale = [self._folder / name for name in ("address", "address.next", "token", REFUSED, FAILED)]
        for path in (*stale, *(self._folder / "asked").iterdir()):
            path.unlink(missing_ok=True)
        write_token(self._folder / "token")
        write_whole(self._folder / "head.sbatch", head_script(self._file))
        for name, group in self._file.workers.items():
            text = worker_script(self._file, name, group, site.limit(group))
            write_whole(self._folder / f"{name}.sbatch", text)
        config = autoscaler_config(self._file, site.longest_array)
        write_whole(self._folder / "autoscaling.yaml", yaml.safe_dump(config, sort_keys=False))

    def _wait_for_head(self, number: int, say: Say) -> None:
        """Until the head's address is in the folder; SLURM is asked more seldom the longer it takes."""
        relay, said, look, pause = self._relay(), "", 0.0, LOOK_SECONDS
        while self._address(number) is None:
            if relay is not None:
                relay.serve()
            if time.monotonic() >= look:
                head = self._head()
                if head is None:
                    raise ChunkflowError(f"The head ended as it started; see {self._log(number)}.")
                why = f": {head.reason}" if head.reason not in ("", "None") else ""
                state = f"The head waits{why}." if head.state == "PENDING" else "The head starts."
                if state != said:
                    say(said := state)
                look = time.monotonic() + pause
                pause = min(pause * 2, HEAD_LOOK_SECONDS)
            time.sleep(0.2)

    def _relay(self) -> Relay | None:
        return Relay(self._folder / "asked") if self._file.submit_from == "login" else None

    def _address(self, number: int) -> list[str] | None:
        """Where Ray, Ray's client and the dashboard of this head answer, once they do."""
        path = self._folder / "address"
        words = path.read_text().split() if path.exists() else []
        return words[:3] if words[3:] == [str(number)] else None

    def _log(self, number: int) -> Path:
        return self._folder / "logs" / f"head-{number}.out"

    def _how_to_use(self) -> list[str]:
        dashboard = (self._folder / "address").read_text().split()[2]
        return [
            "The cluster is up. Its token is in the folder; let chunkflow find it there:",
            f"  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={self._folder}/token",
            f"  chunkflow submit JOB --address http://{dashboard}",
        ]

    def _serve(self, number: int, say: Say) -> None:
        """Run SLURM's commands for the head until it is gone."""
        say(
            "This process submits for the cluster: leave it running, in tmux or with nohup. "
            "Ctrl-C ends it alone; chunkflow cluster up goes on with it."
        )
        relay = Relay(self._folder / "asked")
        look = time.monotonic() + HEAD_LOOK_SECONDS
        while True:
            relay.serve()
            if self._address(number) is None:  # taken down
                return
            if time.monotonic() >= look:
                try:
                    if self._head() is None:
                        say("The head is gone.")
                        return
                except SlurmRefused as error:  # it may be started anew
                    say(f"SLURM does not answer: {error}. It is asked again.")
                look = time.monotonic() + HEAD_LOOK_SECONDS
            time.sleep(LOOK_SECONDS / 4)

    def status(self) -> list[str]:
        jobs = self._slurm.jobs()
        if not jobs:
            return [f"Nothing of the cluster {self._file.name} is there; chunkflow cluster up {self._path}"]
        heads = [job for job in jobs if job.group == HEAD]
        lines = [_told(HEAD, heads)] if heads else ["head: gone; its workers end within a minute or so"]
        troubles = [Refusals.load(self._folder / name) for name in (REFUSED, FAILED)]
        for name, group in self._file.workers.items():
            lines.append(f"{_told(name, [job for job in jobs if job.group == name])} (at most {group.most})")
            for trouble in (known[name] for known in troubles if name in known):
                lines.append(f"  {time.time() - trouble.at:.0f} s ago: {trouble.said}")
        if heads and self._address(heads[0].number):
            lines += self._how_to_use()
        return lines

    def down(self, say: Say) -> int:
        deadline = time.monotonic() + DOWN_SECONDS
        (self._folder / "address").unlink(missing_ok=True)
        pause = LOOK_SECONDS / 2
        while jobs := self._slurm.jobs():
            if time.monotonic() > deadline:
                say(f"SLURM has not ended {len(jobs)} jobs yet: {' '.join(job.id for job in jobs)}")
                return len(jobs)
            self._slurm.cancel(job.id for job in jobs if not job.over)
            time.sleep(pause)
            pause = min(pause * 1.5, 10.0)
        for name in ("token", "address.next", REFUSED, FAILED):
            (self._folder / name).unlink(missing_ok=True)
        say(f"Nothing of the cluster is left. Logs are in {self._folder / 'logs'}")
        return 0


def _told(name: str, jobs: list[SlurmJob]) -> str:
    """How many of a group run and wait, since when, and why."""
    runs = [job for job in jobs if job.runs]
    waits = [job for job in jobs if job.state == "PENDING"]
    words = [f"{name}: {len(runs)} run" if runs or waits or not jobs else f"{name}:"]
    if waits:
        longest = time.time() - min(job.asked for job in waits)
        reasons = ", ".join(reason for reason, _ in Counter(job.reason for job in waits).most_common(3))
        words.append(f"{len(waits)} wait, the longest for {longest:.0f} s ({reasons})")
    others = Counter(job.state.lower() for job in jobs if not job.runs and job.state != "PENDING")
    words += [f"{count} {state}" for state, count in others.items()]
    nodes = sorted({job.node for job in runs})
    return ", ".join(words) + (f", on {' '.join(nodes[:10])}{' …' * (len(nodes) > 10)}" if nodes else "")


def autoscaler_config(file: SlurmFile, longest_array: int) -> dict[str, object]:
    """What Ray's autoscaler is told: the groups of workers, and who makes them."""
    kinds = {
        name: {"CPU": group.cpus, "GPU": group.gpus, "memory": memory_bytes(group)}
        for name, group in file.workers.items()
    }
    types: dict[str, object] = {HEAD: {"resources": {}, "node_config": {}, "max_workers": 0}}
    for name, group in file.workers.items():
        types[name] = {
            "resources": kinds[name],
            "node_config": {},
            "min_workers": 0,
            "max_workers": group.most,
        }
    provider = {
        "type": "external",
        "module": "cluster.slurm.provider.SlurmProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "foreground_node_launch": True,
        "worker_liveness_check": False,
        "folder": str(file.folder),
        "groups": {name: {"most": file.workers[name].most, **kind} for name, kind in kinds.items()},
        "relay": file.submit_from == "login",
        "poll": file.poll,
        "idle": file.idle,
        "longest_array": longest_array,
    }
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
             "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files",
             "rsync_exclude", "rsync_filter")  # fmt: skip
    return {
        "cluster_name": file.name,
        "max_workers": sum(group.most for group in file.workers.values()),
        "idle_timeout_minutes": file.idle / 60,
        "upscaling_speed": _SPEED,
        "provider": provider,
        "available_node_types": types,
        "head_node_type": HEAD,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    } | {name: [] for name in lists}
