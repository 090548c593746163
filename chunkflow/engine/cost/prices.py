"""Prices: what devices, storage and traffic cost, from a YAML file that users edit.

A node's device is named as the table names it, with ` spot` after it where the node is preemptible.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chunkflow.data.documents import first_fault, read_document
from chunkflow.errors import BadInput

PACKAGED = Path(__file__).with_name("prices.yaml")
SPOT = " spot"


class Device(BaseModel):
    """One type of node: what is in it, what it costs, what it does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    provider: str = ""
    region: str = ""
    cpus: float = Field(gt=0)
    gpus: float = Field(default=0, ge=0)
    memory: float = Field(gt=0, description="GiB")
    on_demand: float | None = Field(default=None, ge=0, description="dollars an hour")
    preemptible: float | None = Field(default=None, ge=0, description="dollars an hour")
    most: int = Field(default=100, ge=1, description="nodes that may be had at once")
    kvoxels_per_second: dict[str, float] = Field(default_factory=dict)
    """Thousand voxels a second that a node does of a task, by the task's name in the job."""

    @model_validator(mode="after")
    def _sensible(self) -> Device:
        if self.on_demand is None and self.preemptible is None:
            raise ValueError("a device must have a price: on_demand, preemptible or both")
        if any(rate <= 0 for rate in self.kvoxels_per_second.values()):
            raise ValueError("kvoxels_per_second must be above 0")
        return self


class StoragePrice(BaseModel):
    """What one kind of storage costs, in dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    provider: str
    gigabyte_month: float = Field(ge=0)
    put_1000: float = Field(ge=0)
    get_1000: float = Field(ge=0)
    other_region: float = Field(ge=0, description="a GB between regions of the provider")
    elsewhere: float = Field(ge=0, description="a GB between the provider and anywhere else")


class PriceTable(BaseModel):
    """All prices, as of a day."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    as_of: date
    devices: dict[str, Device] = Field(min_length=1)
    storage: dict[str, StoragePrice] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named(self) -> PriceTable:
        for name in self.devices:
            if name != name.strip() or not name or name.endswith(SPOT):
                raise ValueError(f"a device may not be named {name!r}")
        return self

    def hourly(self, device: str) -> float | None:
        """Dollars an hour for a node of this device, with ` spot` for a preemptible one; None if unknown."""
        found = self.devices.get(device.removesuffix(SPOT))
        if found is None:
            return None
        return found.preemptible if device.endswith(SPOT) else found.on_demand


def load_prices(path: Path = PACKAGED) -> PriceTable:
    """The price table of a file, by default the one that comes with chunkflow."""
    keys = "the keys as_of, devices and storage"
    document = read_document(path, "price table", keys, f"copy {PACKAGED} and edit it")
    try:
        return PriceTable.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"The price table {path}: {first_fault(error, PriceTable)}") from error


def rates_line(rates: Mapping[str, float]) -> str:
    """Throughputs by task as the line of a device in a price table."""
    said = ", ".join(f"{name}: {rate:.4g}" for name, rate in rates.items())
    return f"kvoxels_per_second: {{{said}}}"
