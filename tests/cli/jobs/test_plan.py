"""A plan with prices: devices, nodes, days and dollars, a pool for a deadline, and buckets elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
import ray
import yaml
from cloudvolume import CloudVolume

from testbed.moto import moto_server
from tests.support.clusters.ray_nodes import add_node, end_node
from tests.support.commands import Command, is_one_sentence, job_document
from tests.support.servers import s3_at

TALK = """
as_of: 2019-11-01
devices:
  K80: {cpus: 4, gpus: 1, memory: 15, most: 4000, preemptible: 0.19, kvoxels_per_second: {copy: 496.77}}
  P100: {cpus: 4, gpus: 1, memory: 15, most: 4000, preemptible: 0.48, kvoxels_per_second: {copy: 705.08}}
  T4: {cpus: 4, gpus: 1, memory: 15, most: 4000, preemptible: 0.34, kvoxels_per_second: {copy: 1310.72}}
  V100: {cpus: 4, gpus: 1, memory: 15, preemptible: 0.9}
"""
TOLD = {"K80": (2.56, 22_726.90), "P100": (1.80, 41_546.29), "T4": (0.97, 15_830.57)}
"""Days and dollars of 2,000 preemptible nodes for a cubic millimetre, as told by those who paid for it."""


@pytest.fixture
def cubic_millimetre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job over 2.197e14 voxels, of which there is the info file alone, and the prices of its time."""
    size = [65_000, 65_000, 52_000]
    info = CloudVolume.create_new_info(
        1, "image", "uint8", "raw", [4, 4, 40], [0, 0, 0], size, chunk_size=[128, 128, 64]
    )
    CloudVolume(f"file://{tmp_path}/image", info=info).commit_info()
    keys = {"job": "mm3", "work": "work", "chunk": [1024, 1024, 512], "storage": [128, 128, 64], "memory": 8}
    layers = {"layers": {"image": "image", "made": "made"}}
    tasks = {"tasks": [{"copy": {"source": "image", "target": "made"}}]}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**keys, **layers, **tasks}))
    (tmp_path / "prices.yaml").write_text(TALK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(out: str) -> dict[str, list[str]]:
    """The lines of the table of devices, by their first word."""
    lines = out[out.index("\ndevice") :].splitlines()[2:]
    words = [line.replace("◀", "").split() for line in lines if line]
    return {name: values for name, *values in words}


def test_the_table_that_was_told_for_a_cubic_millimetre(cubic_millimetre: Path, command: Command) -> None:
    said = command("plan", "job.yaml", "--prices", "prices.yaml", "--nodes", 2000)
    assert (said.code, said.err) == (0, "")
    found = rows(said.out)
    for device, (days, cost) in TOLD.items():
        rate, nodes, took, unit, interval, spot, on_demand, *_ = found[device]
        assert (nodes, unit, interval, on_demand) == ("2,000", "days", "given", "–")
        assert float(took) == days
        assert float(spot.removeprefix("$").replace(",", "")) == pytest.approx(cost, rel=0.03)
        assert float(rate.replace(",", "")) in (496.77, 705.08, 1310.72)
    assert "Not measured: V100 (give its kvoxels_per_second" in said.out


def test_a_deadline_chooses_the_pool(cubic_millimetre: Path, command: Command) -> None:
    said = command("plan", "job.yaml", "--prices", "prices.yaml", "--deadline", "2d")
    assert said.code == 0
    assert "In time and cheapest: 971 nodes of T4 spot, $15,830.57" in said.out
    assert rows(said.out)["P100"][1] == "1,804"
    hours = command("plan", "job.yaml", "--prices", "prices.yaml", "--deadline", "48")
    assert hours.out == said.out
    late = command("plan", "job.yaml", "--prices", "prices.yaml", "--deadline", "10h")
    assert late.code == 2
    assert is_one_sentence(late.err)
    assert "4,000 nodes of T4 take up to 11:38:24 h" in late.err
    assert "late" in late.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--deadline", "soon"], "'soon'"),
        (["--deadline", "0"], "'0'"),
        (["--deadline", "-3h"], "-3h"),
        (["--deadline", "2d", "--nodes", "5"], "one of them"),
        (["--nodes", "-1"], "nodes"),
        (["--prices", "none.yaml"], "none.yaml"),
        (["--prices", "job.yaml"], "job.yaml"),
        (["--prices", "."], "."),
        (["--address", "127.0.0.1:1"], "(sample)"),
        (["--address", "127.0.0.1:1", "--sample", "2"], "127.0.0.1:1"),
    ],
)
def test_what_is_asked_wrongly_is_refused_by_one_sentence(
    cubic_millimetre: Path, command: Command, words: list[str], named: str
) -> None:
    said = command("plan", "job.yaml", *words)
    assert said.code == 2
    assert is_one_sentence(said.err)
    assert named in said.err


def test_what_is_measured_here_can_be_kept_in_a_table(lab: Path, command: Command) -> None:
    said = command("plan", "job.yaml", "--sample", 3, "--workers", 2)
    assert said.code == 0
    line = next(line for line in said.out.splitlines() if "price table" in line)
    rates = yaml.safe_load("{" + line.partition("table: ")[2] + "}")
    assert list(rates["kvoxels_per_second"]) == ["segment"]
    device = {"cpus": 2, "memory": 4, "on_demand": 1, **rates}
    device["kvoxels_per_second"]["measure"] = 100
    prices = {"as_of": "2026-01-01", "devices": {"here": device}}
    (lab / "prices.yaml").write_text(yaml.safe_dump(prices).replace("'", ""))
    known = command("plan", "job.yaml", "--prices", "prices.yaml", "--nodes", 1)
    assert known.code == 0
    rate, nodes, *_ = rows(known.out)["here"]
    whole = 1 / (1 / rates["kvoxels_per_second"]["segment"] + 1 / 100)
    assert float(rate) == pytest.approx(whole, abs=0.01)
    assert nodes == "1"


def test_a_run_on_a_part_measures_what_reads_what_is_not_made_yet(lab: Path, command: Command) -> None:
    assert command("run", "job.yaml", "--serial", "--box", "0-32,0-32,0-32").code == 0
    said = command("plan", "job.yaml", "--workers", 2)
    line = next(line for line in said.out.splitlines() if "price table" in line)
    rates = yaml.safe_load("{" + line.partition("table: ")[2] + "}")["kvoxels_per_second"]
    assert list(rates) == ["segment", "measure"]


@pytest.fixture(scope="module")
def abroad() -> Iterator[str]:
    """A bucket in Ireland."""
    with ExitStack() as stack:
        stack.enter_context(s3_at(stack.enter_context(moto_server())))
        place = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket="abroad", CreateBucketConfiguration=place)
        yield "s3://abroad"


def test_a_bucket_in_another_region_is_shown_with_its_price(lab: Path, command: Command, abroad: str) -> None:
    info = CloudVolume.create_new_info(
        1, "image", "uint16", "raw", [40, 40, 40], [0, 0, 0], [1000, 1000, 1000], chunk_size=[50, 50, 50]
    )
    CloudVolume(f"{abroad}/dapi", info=info).commit_info()
    device = (
        "{provider: aws, region: REGION, cpus: 4, memory: 8, on_demand: 1, kvoxels_per_second: {copy: 9}}"
    )
    storage = (
        "{provider: aws, gigabyte_month: 0.02, put_1000: 5, get_1000: 1, other_region: 0.5, elsewhere: 1}"
    )
    devices = {name: device.replace("REGION", name) for name in ("us-east-1", "eu-west-1")}
    lines = ["as_of: 2026-01-01", "devices:", *(f"  n-{name}: {text}" for name, text in devices.items())]
    (lab / "prices.yaml").write_text("\n".join([*lines, f"storage: {{s3: {storage}}}"]))
    document = job_document() | {
        "chunk": [200, 200, 200],
        "storage": [50, 50, 50],
        "layers": {"dapi": f"{abroad}/dapi", "copied": f"{abroad}/copied"},
        "tasks": [{"copy": {"source": "dapi", "target": "copied"}}],
    }
    (lab / "job.yaml").write_text(yaml.safe_dump(document))
    said = command("plan", "job.yaml", "--prices", "prices.yaml", "--nodes", 2)
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    assert "s3://abroad is in eu-west-1, workers in us-east-1: 4.00 GB between them at $0.5 a GB." in text
    assert "workers in eu-west-1" not in text
    found = rows(said.out)
    requests, month, crossing = found["n-us-east-1"][-3:]
    assert (requests, month, crossing) == ("$48.00", "$0.04", "$2.00"), "8,000 chunks read and written"
    assert found["n-eu-west-1"][-3:] == [requests, month, "$0.00"]


def test_devices_of_a_cluster_are_measured_each_on_a_node_of_its_own(
    lab: Path, command: Command, ray_here: None
) -> None:
    node = add_node(cpus=2, device="tiny spot")
    try:
        address = ray.get_runtime_context().gcs_address
        device = "{cpus: 2, memory: 4, on_demand: 2, preemptible: 1}"
        (lab / "prices.yaml").write_text(f"as_of: 2026-01-01\ndevices: {{tiny: {device}, other: {device}}}")
        words = ("--address", address, "--sample", 4, "--prices", "prices.yaml")
        said = command("plan", "job.yaml", *words, "--until", "segment", "--deadline", "1h")
    finally:
        end_node(node)
    assert (said.code, said.err) == (0, "")
    rate, _nodes, *_ = rows(said.out)["tiny"]
    assert float(rate.replace(",", "")) > 0
    assert "Not measured: other (" in said.out
    kept = re.search(r"Measured on tiny, .*: kvoxels_per_second: \{segment: ([\d.]+)\}", said.out)
    assert kept is not None
    assert float(kept[1]) == pytest.approx(float(rate.replace(",", "")), rel=0.01)
    assert " of tiny spot" in said.out
    assert not (lab / "work").exists()
