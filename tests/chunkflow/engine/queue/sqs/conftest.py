"""A queue on a stand-in for SQS."""

from __future__ import annotations

import pytest

from tests.support.sqs import environment, new_queue


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable, value in environment().items():
        monkeypatch.setenv(variable, value)
    return monkeypatch


@pytest.fixture
def url() -> str:
    return new_queue()
