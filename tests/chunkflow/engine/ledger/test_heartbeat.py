"""A writer gives signs of life whatever it is at, and they keep nothing waiting."""

from __future__ import annotations

import time

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import PACE, Ledger
from chunkflow.errors import Overtaken
from tests.support.ledgers import CELLS, JOB, done


def test_records_are_written_at_most_each_second(folder: Folder) -> None:
    with Ledger.load(folder).take() as ledger:
        ledger.record_job(JOB, {}, CELLS)
        assert ledger.flush()
        done(ledger, "segment", 1)
        assert not ledger.flush()
        ledger._written -= PACE
        assert ledger.flush()


def test_heartbeats_do_not_keep_records_waiting(folder: Folder) -> None:
    with Ledger.load(folder).take(heartbeat=0.05) as ledger:
        ledger.record_job(JOB, {}, CELLS)
        ledger.flush(now=True)
        done(ledger, "segment", 1)
        while not ledger.stages["segment"].done:
            ledger.flush()
            time.sleep(0.01)


def test_a_writer_gives_signs_of_life_from_the_first_to_the_last(folder: Folder) -> None:
    reader = Ledger.load(folder)
    with Ledger.load(folder).take(heartbeat=0.04):
        for _ in range(3):  # it is asleep, or at work for long
            before = reader.segments
            while reader.segments == before:
                reader.refresh()
    reader.refresh()
    last = reader.segments
    time.sleep(0.2)
    reader.refresh()
    assert reader.segments == last


def test_who_is_overtaken_while_it_is_at_something_else_hears_of_it(folder: Folder) -> None:
    first = Ledger.load(folder).take(heartbeat=0.04)
    second = Ledger.load(folder).take(heartbeat=0.04, lease=0)
    while first.is_writing:
        time.sleep(0.01)
    with pytest.raises(Overtaken):
        first.check()
    with pytest.raises(Overtaken):
        first.flush()
    second.close()
    assert Ledger.load(folder).state.runs[-1][4] is None
