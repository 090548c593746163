"""What follows from a failure, cause by cause."""

from __future__ import annotations

import errno

import pyarrow as pa
import pytest

from chunkflow.engine.queue.cells import Answer, Cause, cause_of
from chunkflow.engine.run.retry_policy import LIMITS, LONGEST_BACKOFF, SUSPECTS, RetryPolicy, Verdict
from chunkflow.errors import BadInput, DamagedInput, StorageError


def verdicts(cause: Cause, times: int, alone: bool = False) -> list[Verdict]:
    policy = RetryPolicy(backoff=1.0)
    return [policy.decide(Answer(0, 1, "w", cause, alone)) for _ in range(times)]


@pytest.mark.parametrize("cause", [Cause.PREEMPTED, Cause.GIVEN_BACK])
def test_what_costs_no_attempt(cause: Cause) -> None:
    assert verdicts(cause, 50) == [Verdict(False)] * 50


@pytest.mark.parametrize("cause", list(LIMITS))
def test_a_cell_is_set_aside_when_its_attempts_are_used_up(cause: Cause) -> None:
    found = verdicts(cause, LIMITS[cause], alone=True)
    assert [verdict.final for verdict in found] == [False] * (LIMITS[cause] - 1) + [True]
    assert [verdict.charged for verdict in found] == list(range(1, LIMITS[cause] + 1))


def test_storage_is_asked_again_later_and_later() -> None:
    delays = [verdict.delay for verdict in verdicts(Cause.STORAGE, 8)]
    assert delays == [1, 2, 4, 8, 16, 32, LONGEST_BACKOFF, LONGEST_BACKOFF]
    assert not any(verdict.alone for verdict in verdicts(Cause.STORAGE, 8))


@pytest.mark.parametrize("cause", SUSPECTS)
def test_one_of_several_suspects_is_tried_alone_before_it_is_charged(cause: Cause) -> None:
    policy = RetryPolicy()
    for _ in range(20):
        assert policy.decide(Answer(0, 1, "w", cause, alone=False)) == Verdict(False, alone=True)
    found = [policy.decide(Answer(0, 1, "w", cause, alone=True)).final for _ in range(LIMITS[cause])]
    assert found == [False] * (LIMITS[cause] - 1) + [True]


def test_out_of_memory_goes_alone() -> None:
    assert verdicts(Cause.MEMORY, 1) == [Verdict(False, alone=True, charged=1)]


def test_every_third_lost_node_counts_as_a_crash() -> None:
    found = verdicts(Cause.NODE_LOST, 9)
    assert [verdict.charged for verdict in found] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [verdict.final for verdict in found] == [False] * 8 + [True]


def test_cells_are_judged_apart_and_attempts_are_counted() -> None:
    policy = RetryPolicy()
    policy.decide(Answer(0, 1, "w", Cause.BUG))
    policy.decide(Answer(0, 1, "w", Cause.STORAGE))
    assert (policy.attempt(0, 1), policy.attempt(0, 2), policy.attempt(1, 1)) == (3, 1, 1)
    policy.forget(0, 1)
    assert policy.attempt(0, 1) == 1


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), Cause.MEMORY),
        (pa.ArrowMemoryError("x"), Cause.MEMORY),
        (OSError(errno.ENOMEM, "x"), Cause.MEMORY),
        (OSError(errno.EIO, "x"), Cause.STORAGE),
        (TimeoutError(), Cause.STORAGE),
        (StorageError("x"), Cause.STORAGE),
        (DamagedInput("x"), Cause.DAMAGED),
        (BadInput("x"), Cause.INPUT),
        (ValueError("x"), Cause.BUG),
        (SystemExit(1), Cause.BUG),
    ],
)
def test_what_an_exception_stands_for(error: BaseException, cause: Cause) -> None:
    assert cause_of(error) is cause
