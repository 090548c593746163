"""The file of a cluster on SLURM: what is asked for, in the words of sbatch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cluster.place import ClusterFile
from cluster.slurm.site import HEAD

_NAME = r"^[a-z][a-z0-9-]{0,30}$"
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_SOCKET_BYTES = 107
_LONGEST_SOCKET = "/cf-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1"
_OURS = ("array", "job-name", "signal", "output", "open-mode", "requeue", "no-requeue", "nodes", "ntasks",
         "cpus-per-task", "mem", "partition", "account", "qos", "time", "gres", "wrap")  # fmt: skip


def _time(value: object) -> object:
    """YAML reads 12:00:00 as a whole number."""
    if isinstance(value, int):
        raise ValueError('write it in quotes, as in "12:00:00", "2-00:00:00" or "90" (minutes)')
    if isinstance(value, str) and value and not _TIME.fullmatch(value):
        raise ValueError('write it as sbatch takes it, as in "12:00:00", "2-00:00:00" or "90" (minutes)')
    return value


def seconds_of(time: str) -> float | None:
    """A time as SLURM writes it, in seconds; None where it has no end."""
    found = _TIME.fullmatch(time)
    if found is None:
        return None
    parts = [int(part) for part in found["rest"].split(":")]
    if found["days"] is not None:  # D-HH, D-HH:MM, D-HH:MM:SS
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return float(((int(found["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds)
    if len(parts) == 3:
        return float((parts[0] * 60 + parts[1]) * 60 + parts[2])
    minutes, seconds = (*parts, 0)[:2]
    return float(minutes * 60 + seconds)


class Request(BaseModel):
    """What one job asks SLURM for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: str = Field(default="", description="by default the site's default partition")
    account: str = ""
    qos: str = ""
    time: Annotated[str, BeforeValidator(_time)] = Field(
        default="", description="walltime; by default the partition's"
    )
    cpus: int = Field(gt=0)
    memory: float = Field(ge=1, description="GiB")
    sbatch: tuple[str, ...] = Field(
        default=(), description='more lines for sbatch, as in "--constraint=skylake"'
    )

    @field_validator("partition", "account", "qos")
    @classmethod
    def _plain(cls, name: str) -> str:
        if name and not re.fullmatch(r"[\w.+-]+", name):
            raise ValueError("this must be one name as SLURM knows it")
        return name

    @field_validator("sbatch")
    @classmethod
    def _lines(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            option = re.fullmatch(r"--([a-z-]+)(=.*)?", line)
            if option is None:
                raise ValueError('each must be one option of sbatch, as in "--constraint=skylake"')
            if option[1] in _OURS:
                raise ValueError(f"--{option[1]} is set by chunkflow, or is a key of its own")
        return lines


class Head(Request):
    """The job that holds Ray's head and asks for workers; it runs no chunks."""

    cpus: int = Field(default=2, gt=0)
    memory: float = Field(default=8, ge=2, description="GiB")


class Workers(Request):
    """A group of workers that are alike; each is one job."""

    most: int = Field(gt=0, lt=10_000, description="how many there may be at a time")
    gpus: int = Field(default=0, ge=0)
    gpu_type: str = Field(default="", pattern=r"^[\w.-]*$", description="as the site names it, as in a100")
    preemptable: bool = Field(default=False, description="its jobs may be preempted: they are queued again")
    device: str = Field(
        default="",
        pattern=r"^[\w.-]*$",
        description="what its nodes are called in a price table; left out where nothing is paid for them",
    )

    @model_validator(mode="after")
    def _counted(self) -> Workers:
        if self.gpu_type and not self.gpus:
            raise ValueError(f"gpu_type: {self.gpu_type} needs gpus, how many of them a worker has")
        return self


class SlurmFile(ClusterFile):
    """The whole file."""

    provider: Literal["slurm"]
    folder: Path = Field(description="seen by all nodes: scripts, logs, address and token lie there")
    name: str = Field(pattern=_NAME, description="by default the folder's name")
    head: Head = Head()
    workers: dict[str, Workers] = Field(min_length=1)
    submit_from: Literal["head", "login"] = "head"
    idle: float = Field(default=60, gt=0, description="seconds after which a node without work is returned")
    poll: float = Field(default=30, ge=1, description="seconds between two looks at SLURM's queue, at least")
    patience: int = Field(default=60, ge=5, description="seconds without the head after which a worker ends")
    scratch: str = Field(default="/tmp", description="on each node, for sockets and Ray's logs; a short path")

    @field_validator("folder")
    @classmethod
    def _whole(cls, folder: Path) -> Path:
        whole = folder.expanduser()
        if not whole.is_absolute() or not re.fullmatch(r"[\w./+-]+", str(whole)):
            raise ValueError(
                "this must be a whole path of letters, digits and . _ - + on a shared file system"
            )
        return whole

    @field_validator("scratch")
    @classmethod
    def _short(cls, scratch: str) -> str:
        most = _SOCKET_BYTES - len(_LONGEST_SOCKET)
        if not re.fullmatch(r"/[\w./-]*", scratch) or len(scratch) > most:
            raise ValueError(
                f"this must be a whole path of at most {most} characters, as sockets lie below it"
            )
        return scratch.rstrip("/")

    @field_validator("workers")
    @classmethod
    def _names(cls, workers: dict[str, Workers]) -> dict[str, Workers]:
        for name in workers:
            if name == HEAD or not re.fullmatch(_NAME, name):
                raise ValueError(f"{name!r} cannot name workers: use small letters, digits and -, not head")
        return workers

    @model_validator(mode="before")
    @classmethod
    def _named(cls, document: dict[str, object]) -> dict[str, object]:
        if document.get("name") or not isinstance(document.get("folder"), str):
            return document
        name = re.sub(r"[^a-z0-9-]+", "-", Path(str(document["folder"])).name.lower()).strip("-")
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"the key 'name' is missing, as the folder's name, {name!r}, cannot be one")
        return document | {"name": name}
