"""The file of a cluster on a cloud: region, types of nodes, limits, bucket; all else has a default."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.prices import PACKAGED, SPOT, Device, PriceTable, load_prices
from chunkflow.errors import BadInput
from cluster.place import ClusterFile

HEADS = {"aws": "m5.xlarge", "gcp": "n2-standard-4"}
_FOR_WORKERS = 0.7
BUCKETS = {"aws": "s3://", "gcp": "gs://"}


class WorkerType(BaseModel):
    """One type of worker nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    spot: bool = True
    most: int = Field(gt=0, description="nodes of this type at once")
    least: int = Field(default=0, ge=0, description="nodes of this type that are kept, idle or not")

    @property
    def device(self) -> str:
        """As a price table names it."""
        return self.type + SPOT * self.spot

    @model_validator(mode="after")
    def _sensible(self) -> WorkerType:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, more than most, {self.most}")
        return self


class CloudFile(ClusterFile):
    """What a user says of a cluster on AWS or GCP."""

    model_config = ConfigDict(allow_inf_nan=False)

    provider: Literal["aws", "gcp"]
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,29}$")
    region: str = Field(pattern=r"^[a-z][a-z0-9-]+$")
    zones: list[str] = Field(default_factory=list)
    """Zones of the region that nodes may be started in, in this order; on AWS all of them if left out."""
    project: str = ""
    """The GCP project that pays."""
    bucket: str
    """Where jobs keep what they make; the nodes may read and write it."""
    reads: list[str] = Field(default_factory=list)
    """More buckets, which the nodes may only read."""
    head: str = ""
    """The type of the head, which is never preemptible."""
    workers: list[WorkerType] = Field(min_length=1)
    image: str = ""
    gpu_image: str = ""
    disk: int = Field(default=100, ge=20, description="GiB of each node's disk")
    extras: list[Literal["cnn", "formats", "microscopes"]] = Field(default_factory=list)
    """What of chunkflow's extras is installed on the nodes."""
    idle_minutes: float = Field(default=5.0, gt=0)
    """A worker node that has had nothing to do for so long is ended."""
    head_idle_minutes: float = Field(default=15.0, gt=0)
    """So long after its last job the whole cluster ends itself."""
    max_hours: float = Field(default=24.0, gt=0)
    """So long after its start the whole cluster ends itself, whatever it does."""
    head_role: str = ""
    worker_role: str = ""
    """The instance profile (AWS) or service account (GCP) of the head and of the workers."""
    prices: Path = PACKAGED

    @classmethod
    def from_document(cls, document: dict[str, object], path: Path) -> Self:
        found = super().from_document(document, path)
        found = found.model_copy(update={"prices": path.resolve().parent / found.prices.expanduser()})
        found._refuse_unknown_devices()
        return found

    @model_validator(mode="after")
    def _one_cloud(self) -> Self:
        scheme = BUCKETS[self.provider]
        for url in (self.bucket, *self.reads):
            if not url.removeprefix(scheme).strip("/") or not url.startswith(scheme):
                raise ValueError(f"on {self.provider} a bucket is {scheme}NAME, not {url}")
        if (self.provider == "gcp") != bool(self.project):
            raise ValueError("project must be given with provider: gcp, and only with it")
        if self.provider == "gcp" and len(self.zones) != 1:
            raise ValueError("zones must name the one zone that the nodes are started in, with provider: gcp")
        if bool(self.head_role) != bool(self.worker_role):
            raise ValueError("head_role and worker_role are given both, or neither")
        devices = [worker.device for worker in self.workers]
        if len(set(devices)) < len(devices):
            raise ValueError("a type of workers is named twice")
        return self

    @property
    def head_type(self) -> str:
        return self.head or HEADS[self.provider]

    @cached_property
    def table(self) -> PriceTable:
        return load_prices(self.prices)

    def device(self, name: str) -> Device:
        """What is in a type of node."""
        return self.table.devices[name]

    def _refuse_unknown_devices(self) -> None:
        """What a node has and costs is known from the price table alone, so it must be there."""
        for name in (self.head_type, *(worker.type for worker in self.workers)):
            known = self.table.devices.get(name)
            if known is None or known.provider != self.provider:
                have = ", ".join(
                    n for n, device in self.table.devices.items() if device.provider == self.provider
                )
                raise BadInput(
                    f"The price table {self.prices} has no {self.provider} device {name}; it has {have}. "
                    f"Copy {PACKAGED}, add the type with its cores, memory and prices, and name your copy as "
                    "`prices:` in the cluster's file."
                )
        for device in (self.head_type, *(worker.device for worker in self.workers)):
            if self.table.hourly(device) is None:
                raise BadInput(f"The price table {self.prices} has no price for {device}; add it there.")

    def greatest_cost(self) -> float:
        """Dollars an hour with all nodes that the file allows."""
        workers = sum(worker.most * (self.table.hourly(worker.device) or 0) for worker in self.workers)
        return (self.table.hourly(self.head_type) or 0) + workers

    def check_bucket(self) -> None:
        """Raise BadInput unless the bucket can be written from here, and makes a file only if absent."""
        Folder(self.bucket).check_conditional_put()

    def far_bucket(self, name: str, region: str) -> str:
        """What to say of a bucket that lies in another region than the nodes."""
        price = self.table.storage[BUCKETS[self.provider].removesuffix("://")].other_region
        return (
            f"The bucket {name} is in {region}, the nodes are in {self.region}: each GB that goes from one "
            f"to the other costs about ${price:g}."
        )

    def grows_to(self) -> list[dict[str, int]]:
        """Of each type of workers how many nodes there may be, and what one has, as a head announces it."""
        return [{"most": worker.most, **resources_of(self.device(worker.type))} for worker in self.workers]


def resources_of(device: Device) -> dict[str, int]:
    """What a node has for workers, as Ray names it. Ray's own store and processes take the rest."""
    memory = int(device.memory * 2**30 * _FOR_WORKERS)
    return {"CPU": int(device.cpus), "GPU": int(device.gpus), "memory": memory}
