"""Faults of an object store."""

from __future__ import annotations

import os
import random
from unittest.mock import patch

import boto3
import cloudfiles.interfaces

from benchmarks.chaos.attack import Attack, Outcome
from benchmarks.chaos.trial import PATIENCE, Trial
from testbed.fault_proxy import Faults, fault_proxy
from testbed.moto import CREDENTIALS, moto_server

BUCKET = "attacked"
RATES = (0.02, 0.1, 0.2)


def fail_requests(trial: Trial, dice: random.Random) -> Outcome:
    """Let a share of all requests fail, in every way that a request can."""
    faults = Faults(rate=dice.choice(RATES), seed=dice.randrange(10**6))
    with moto_server() as store, fault_proxy(store, faults) as address:
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": address}
        with patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": store}):
            cloudfiles.interfaces.reset_connection_pools()
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            job = trial.job(f"s3://{BUCKET}")
            with trial.runner(job, environment=environment) as runner:
                ended, said = runner.wait(PATIENCE)
            if ended != "complete":
                assert ended in ("Incomplete", "StorageError"), f"{ended}: {said}"
                faults.rate = 0.0
                with trial.runner(job, environment=environment) as again:
                    assert again.wait(PATIENCE) == ("complete", ""), "without faults it is not complete"
            trial.judge(root=f"s3://{BUCKET}")
        cloudfiles.interfaces.reset_connection_pools()
    assert any(faults.met.values()), "no fault befell it"
    return "identical" if ended == "complete" else "said so"


ATTACKS = {"storage": Attack("up to a fifth of all requests to S3 fail", fail_requests)}
