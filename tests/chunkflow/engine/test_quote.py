"""The quote for a job as a notebook shows it: a table of devices, sentences, the pool in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.cost.estimate import Wanted
from chunkflow.engine.cost.measures import CellSeconds
from chunkflow.engine.cost.prices import PriceTable
from chunkflow.engine.cost.quote import Quote, quote
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer

DEVICES = {
    "quick": {"cpus": 1, "memory": 8, "on_demand": 2.0, "kvoxels_per_second": {"copy": 32.768}},
    "unknown": {"cpus": 1, "memory": 8, "on_demand": 1.0},
}

Ask = Callable[..., Quote]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    make_layer(tmp_path / "image", np.zeros((64, 32, 32), np.uint16), chunk=(16, 16, 16))
    layers = {name: str(tmp_path / name) for name in ("image", "made")}
    tasks = [{"copy": {"source": "image", "target": "made"}}]
    plan = open_plan(make_job(tmp_path, layers, tasks, chunk=[16, 16, 16], storage=[16, 16, 16]))
    prices = PriceTable.model_validate({"as_of": "2026-01-01", "devices": DEVICES})

    def asked(wanted: Wanted, **measured: CellSeconds) -> Quote:
        return quote(plan, {name: {"copy": one} for name, one in measured.items()}, prices, wanted)

    return asked


def test_devices_and_what_is_not_known_are_told(ask: Ask) -> None:
    found = ask(Wanted(nodes=1))
    assert found.head == ("device", "kvoxel/s", "nodes", "time", "±95 %", "spot", "on demand")
    assert found.rows() == [("quick", "32.77", "1", "2.0 s", "given", "–", "$0.0011")]
    assert found.remarks() == [
        "Not measured: unknown (give its kvoxels_per_second in the table, or measure a sample on nodes of a "
        "cluster)."
    ]
    lines = repr(found).splitlines()
    assert (lines[0].split()[0], lines[1].split()[0], lines[2:]) == ("device", "quick", found.remarks())
    page = found._repr_html_()
    assert page.count("<tr>") == 2
    assert "<td>quick</td><td>32.77</td>" in page
    assert (found.pool(), found.choice()) == (None, "")


def test_what_was_measured_is_told_as_a_line_of_the_table(ask: Ask) -> None:
    one = CellSeconds(voxels=16**3, cells=2, seconds=1.0, squares=0.5)
    remarks = ask(Wanted(nodes=1), unknown=one, other=one).remarks()
    assert remarks[0] == "other was measured, but the price table does not have it."
    assert remarks[1].startswith("Measured on unknown, to be kept in the price table: kvoxels_per_second: {")


def test_a_deadline_chooses_a_pool_or_says_why_none(ask: Ask) -> None:
    found = ask(Wanted(deadline=60))
    assert found.choice().startswith(
        "In time and cheapest: 1 node of quick, $0.0011; all is done after 2.0 s"
    )
    assert found.choice() in repr(found)
    assert found.rows()[0][0] == "quick ◀"
    late = ask(Wanted(deadline=1e-3))
    with pytest.raises(BadInput, match="No pool of the price table"):
        late.choice()
    assert "No pool of the price table" in repr(late)
    assert " late" in late.rows()[0][3]


@pytest.mark.parametrize(
    ("nodes", "deadline", "said"),
    [(2, 60.0, "one of them"), (0, None, "nodes takes"), (None, 0.0, "deadline takes")],
)
def test_a_pool_that_cannot_be_is_refused(nodes: int | None, deadline: float | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Wanted(nodes, deadline)
