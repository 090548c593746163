"""What all tests share: one Ray cluster on this machine, started when the first test needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

hypothesis.settings.register_profile("busy", deadline=None)  # machines are shared: time proves nothing
hypothesis.settings.load_profile("busy")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray cluster with room for four workers."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=96 * 2**20,
    )
    yield
    ray.shutdown()
