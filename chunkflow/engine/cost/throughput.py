"""Throughput of nodes from measured chunks, as a price table has it; and where buckets lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chunkflow.engine.cost.estimate import kind_of, workers_on
from chunkflow.engine.cost.measures import Measures
from chunkflow.engine.cost.prices import Device, PriceTable
from chunkflow.engine.planning.plan import Plan, Step


def throughputs(plan: Plan, measures: Measures, workers: Callable[[Step], int]) -> dict[str, float]:
    """Thousands of voxels a second, by task, of a node that holds so many workers of each step."""
    rates = {}
    for entry in plan.job.tasks:
        steps = [step for step in plan.steps if step.entry == entry.name]
        if all(step.name in measures and workers(step) for step in steps):
            seconds = sum(len(step.grid) * measures[step.name].mean / workers(step) for step in steps)
            rates[entry.name] = max(step.region.voxels for step in steps) / seconds / 1000
    return rates


def device_throughputs(
    plan: Plan, prices: PriceTable, measures: Mapping[str, Measures]
) -> dict[str, dict[str, float]]:
    """The throughputs that were measured on nodes, by device of the price table."""

    def on(device: Device, found: Measures) -> dict[str, float]:
        return throughputs(plan, found, lambda step: workers_on(device, kind_of(plan, step)))

    known = {
        name: on(prices.devices[name], found) for name, found in measures.items() if name in prices.devices
    }
    return {name: rates for name, rates in known.items() if rates}


def bucket_region(bucket: str) -> str:
    """The region of an S3 bucket; empty where it is not known or may not be asked."""
    scheme, _, name = bucket.partition("://")
    if scheme != "s3":
        return ""
    try:
        answer = boto3.client("s3").get_bucket_location(Bucket=name)
    except (BotoCoreError, ClientError):
        return ""
    return str(answer.get("LocationConstraint") or "us-east-1")
