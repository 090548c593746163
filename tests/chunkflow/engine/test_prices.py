"""The price table and what is reckoned from it: nodes, hours, dollars, intervals, traffic between regions."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from chunkflow.engine.cost.estimate import (
    Offer,
    Wanted,
    crossings,
    effort_on,
    fees,
    offers,
    workers_on,
)
from chunkflow.engine.cost.measures import CellSeconds, chosen_cells, measure, together
from chunkflow.engine.cost.prices import PACKAGED, Device, PriceTable, load_prices
from chunkflow.engine.cost.quote import cheapest, refuse_all
from chunkflow.engine.planning.forecast import Traffic, forecast, traffic
from chunkflow.engine.planning.plan import Plan, Product, Step
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from chunkflow.resources import Resources
from tests.support.jobs import make_job, make_layer

T4 = {"provider": "aws", "region": "us-east-1", "cpus": 4, "gpus": 1, "memory": 16}
S3 = {"provider": "aws", "gigabyte_month": 0.02, "put_1000": 0.005, "get_1000": 0.0004}
STORAGE = {"s3": {**S3, "other_region": 0.02, "elsewhere": 0.09}}


def table(storage: object = STORAGE, **devices: dict[str, object]) -> PriceTable:
    named = {name: {**T4, **values} for name, values in devices.items()}
    return PriceTable.model_validate({"as_of": "2026-01-01", "devices": named, "storage": storage})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Sixteen chunks that are copied, and copied again."""
    make_layer(tmp_path / "image", np.zeros((64, 32, 32), np.uint16), chunk=(16, 16, 16))
    layers = {name: str(tmp_path / name) for name in ("image", "once", "twice")}
    tasks = [{"copy": {"source": "image", "target": "once"}}, {"copy": {"source": "once", "target": "twice"}}]
    return open_plan(make_job(tmp_path, layers, tasks, chunk=[16, 16, 16], storage=[16, 16, 16]))


def measured(*seconds: float) -> CellSeconds:
    found = CellSeconds(voxels=16**3)
    for one in seconds:
        found.add(one)
    return found


def test_the_table_that_comes_along_is_whole() -> None:
    prices = load_prices()
    assert {device.provider for device in prices.devices.values()} == {"aws", "gcp"}
    for name, device in prices.devices.items():
        assert device.preemptible is not None
        assert device.on_demand is not None
        assert 0 < device.preemptible < device.on_demand, name
        assert prices.hourly(name) == device.on_demand
        assert prices.hourly(f"{name} spot") == device.preemptible
    assert prices.hourly("abacus") is None
    assert {price.provider for price in prices.storage.values()} == {"aws", "gcp"}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("cpus: 4, memory: 8,", "cpus: 0, memory: 8,", "devices.c5.xlarge.cpus"),
        ("cpus: 4, memory: 8,", "cpu: 4, memory: 8,", "cpu"),
        ("on_demand: 0.17, preemptible: 0.07", "region: x", "c5.xlarge"),
        ("on_demand: 0.17, preemptible: 0.07", "on_demand: -1", "on_demand"),
        ("on_demand: 0.17", "on_demand: cheap", "on_demand"),
        ("preemptible: 0.07}", "preemptible: 0.07, kvoxels_per_second: {a: 0}}", "kvoxels_per_second"),
        ("preemptible: 0.07}", "preemptible: 0.07, kvoxels_per_second: {a: .nan}}", "kvoxels_per_second"),
        ("  c5.xlarge:", "  c5.xlarge spot:", "c5.xlarge spot"),
        ("as_of: 2025-06-01", "as_of: soon", "as_of"),
        ("as_of: 2025-06-01", "as_of: 2025-06-01\nprice: 3", "price"),
        ("devices:", "devices: [", "line"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_one_sentence(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    text = PACKAGED.read_text()
    assert old in text
    (tmp_path / "prices.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as refused:
        load_prices(tmp_path / "prices.yaml")
    assert named in str(refused.value)
    assert "prices.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1]", "devices: {}", "as_of: 2026-01-01\ndevices: {}"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(BadInput, match="price table"):
        load_prices(tmp_path / "prices.yaml")
    with pytest.raises(BadInput, match="copy"):
        load_prices(tmp_path / "none.yaml")


def test_workers_fill_a_node_by_what_they_take_most_of() -> None:
    node = Device(cpus=8, gpus=1, memory=32, on_demand=1)
    assert workers_on(node, Resources()) == 8
    assert workers_on(node, Resources(cpus=3)) == 2
    assert workers_on(node, Resources(gpus=0.25)) == 4
    assert workers_on(node, Resources(memory=10)) == 3
    assert workers_on(node, Resources(gpus=2)) == 0
    tiny = Device(cpus=0.3, memory=1, on_demand=1)
    assert workers_on(tiny, Resources(cpus=0.1)) == 3, "though 0.3 / 0.1 is less than 3"


def test_measured_cells_give_seconds_with_an_interval(plan: Plan) -> None:
    measures = {"copy": measured(2, 3, 4, 5), "copy-2": measured(10, 10, 10)}
    effort = effort_on(plan, Device.model_validate({**T4, "on_demand": 1}), measures)
    assert effort.seconds == pytest.approx(16 * (3.5 + 10) / 4)
    spread = sqrt(5 / 3 / 4 * (1 - 4 / 16))
    assert effort.margin == pytest.approx(16 / 4 * spread * t.ppf(0.975, 2))
    assert effort.shortest == pytest.approx(13.5)
    assert not effort.unmeasured


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    cells = rng.gamma(4, 1, 400)
    held = 0
    for _ in range(400):
        one = measured(*rng.choice(cells, 8, replace=False))
        held += abs(one.mean - cells.mean()) <= t.ppf(0.975, 7) * one.error(400)
    assert 0.92 <= held / 400 <= 0.98


def test_what_is_not_measured_is_named_and_no_pool_is_chosen_by_it(plan: Plan) -> None:
    prices = table(t4={"on_demand": 1}, k80={"on_demand": 1}, small={"on_demand": 1, "cpus": 0.5})
    half = {"t4": {"copy": measured(2, 3)}}
    found = {offer.device: offer for offer in offers(plan, prices, half, Wanted(deadline=9e9), {}, {})}
    assert found["t4"].effort.unmeasured == ("copy-2",)
    assert found["k80"].effort.obstacle == "not measured"
    assert found["small"].effort.obstacle == "no room for copy"
    assert cheapest(list(found.values())) is None
    assert "copy-2 is not measured" in str(refuse_all(list(found.values()), 9e9))
    nothing = offers(plan, prices, {}, Wanted(deadline=9e9), {}, {})
    assert "No device of the price table is measured" in str(refuse_all(nothing, 9e9))
    one = {"t4": {"copy": measured(2), "copy-2": measured(2)}}
    single = offers(plan, prices, one, Wanted(deadline=9e9), {}, {})
    assert single[0].effort.margin == inf
    assert "a sample of 2" in str(refuse_all(single, 9e9))


def test_a_deadline_chooses_the_fewest_nodes_in_time_of_the_cheapest_device(plan: Plan) -> None:
    prices = table(
        slow={"on_demand": 1.0, "preemptible": 0.3},
        quick={"on_demand": 4.0, "preemptible": 1.0, "most": 3},
        dear={"on_demand": 30.0},
    )
    slow, quick = measured(50, 60, 70, 55), measured(10, 12, 14, 11)
    measures = {
        "slow": {"copy": slow, "copy-2": slow},
        "quick": {"copy": quick, "copy-2": quick},
        "dear": {"copy": quick, "copy-2": quick},
    }

    def at(deadline: float) -> dict[str, Offer]:
        return {o.device: o for o in offers(plan, prices, measures, Wanted(deadline=deadline), {}, {})}

    loose = at(300)
    best = cheapest(list(loose.values()))
    assert best is not None
    assert best.device == "quick"
    assert best.latest <= 300
    fewer = replace(best, nodes=best.nodes - 1)
    assert best.nodes == 1 or fewer.latest > 300
    strict = at(117)
    assert not strict["slow"].in_time, "one chunk alone takes as long"
    tight = at(30)
    assert not tight["quick"].in_time, "its most is 3 nodes"
    chosen = cheapest(list(tight.values()))
    assert chosen is not None
    assert chosen.device == "dear"
    late = list(at(1).values())
    assert cheapest(late) is None
    assert "Raise `most` in the table, or the deadline" in str(refuse_all(late, 1))


def test_a_sample_is_measured_of_what_can_be_read_now(plan: Plan) -> None:
    chosen = chosen_cells(plan, 3)
    assert {step: len(set(cells)) for step, cells in chosen.items()} == {0: 3}
    assert chosen == chosen_cells(plan, 3)
    assert sorted(chosen_cells(plan, 99)[0]) == list(range(16))
    found = measure(plan, chosen)
    assert found["copy"].cells == 3
    assert not Path(plan.job.work.removeprefix("file://")).exists()
    both = together(plan, [found, found])
    assert both["copy"].cells == 6
    assert both["copy"].mean == pytest.approx(found["copy"].mean)
    coarse = {"copy": CellSeconds(voxels=2 * 16**3, cells=2, seconds=8, squares=34)}
    assert together(plan, [coarse])["copy"] == measured(1.5, 2.5), "in cells of this plan"


def test_requests_and_months_are_paid_by_bucket_and_what_crosses_regions_by_the_gigabyte(
    tmp_path: Path,
) -> None:
    prices = table(here={"on_demand": 1}, far={"on_demand": 1, "region": "eu-west-1"})
    used = {"s3://lab": Traffic(gets=10**6, puts=10**5, bytes_in=10**12, bytes_out=10**11)}
    assert fees(prices, used) == pytest.approx((10**3 * 0.0004 + 10**2 * 0.005, 100 * 0.02))
    regions = {"s3://lab": "us-east-1"}
    assert crossings(prices.devices["here"], prices, used, regions) == {}
    found = crossings(prices.devices["far"], prices, used, regions)
    assert found == {"s3://lab": (0.02, pytest.approx(1100 * 0.02))}
    elsewhere = Device.model_validate({**T4, "provider": "gcp", "on_demand": 1})
    assert crossings(elsewhere, prices, used, regions)["s3://lab"][0] == 0.09
    assert fees(prices, {"mem://x": used["s3://lab"]}) == (0, 0)


def test_traffic_is_what_the_forecast_says_by_bucket(plan: Plan) -> None:
    assert traffic(plan) == {}, "file systems ask for nothing"
    moved = replace(plan, steps=tuple(_in_bucket(step) for step in plan.steps))
    (found,) = traffic(moved).values()
    steps = forecast(plan)
    assert found.bytes_in == sum(step.bytes_in for step in steps)
    assert found.bytes_out == sum(step.bytes_out for step in steps)
    assert found.puts == sum(step.files for step in steps)
    assert found.gets + found.puts == sum(step.requests for step in steps)


def _in_bucket(step: Step) -> Step:
    def moved(product: Product) -> Product:
        return replace(product, info=product.info.model_copy(update={"url": f"s3://lab/{product.name}"}))

    inputs = {field: tuple(map(moved, products)) for field, products in step.inputs.items()}
    outputs = {field: moved(product) for field, product in step.outputs.items()}
    return replace(step, inputs=inputs, outputs=outputs)
