"""Nothing that people decide is lost or doubled while serving processes die and answers go astray."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chunkflow.people.review.log.review_log import ReviewLog
from testbed.fault_proxy import Faults, fault_proxy
from testbed.people.kills import processes_killed
from testbed.people.reviewers import ScriptedReviewer, work_together
from tests.support.people.databases import new_database, postgresql_server
from tests.support.people.lab import lab_service

__all__ = ["postgresql_server"]

TABLE = "/api/review/cells/classified"
REVIEWERS, RATE = 20, 0.5
SECONDS = 60
KILLED_EVERY = 4.0


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("sqlite", SECONDS), pytest.param("postgresql", 20, marks=pytest.mark.xdist_group("postgresql"))],
)
def test_each_edit_is_there_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, seconds: float
) -> None:
    place = str(tmp_path / "lab.sqlite")
    if kind == "postgresql":
        place = new_database(request.getfixturevalue("postgresql_server"))
    with lab_service(tmp_path, place, processes=2) as lab:
        ids = objects_of(lab.ask(f"{TABLE}/near?place=0,0,0", "rob").document)
        faults = Faults(rate=0.15, seed=7, kinds=("reset", "lost"), only="^POST")
        with fault_proxy(lab.service.url, faults) as proxy:
            people = [
                ScriptedReviewer(proxy, TABLE, lab.tokens["rob"], ids, RATE, seed)
                for seed in range(REVIEWERS)
            ]
            with processes_killed(lambda: lab.service.process_ids, KILLED_EVERY, seed=7) as killed:
                work_together(people, seconds)
        assert len(killed) >= seconds / KILLED_EVERY / 2
        assert min(faults.met["lost"], faults.met["reset"]) > 0
    log = ReviewLog.open(place)
    edits = log.edits(1)
    keys = Counter(edit.key for edit in edits)
    acknowledged = {key: seq for one in people for key, seq in one.acknowledged.items()}
    refused = {key for one in people for key in one.refused}
    assert len(acknowledged) > seconds
    assert keys == Counter(dict.fromkeys(acknowledged, 1))
    assert {edit.key: edit.seq for edit in edits} == acknowledged
    assert not refused & set(keys)
    assert [edit.seq for edit in edits] == list(range(1, len(edits) + 1))
    assert log.check() == []
    log.close()


def objects_of(near: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["id"] for one in near["objects"]]
