"""What a run on a cluster costs: counted by its nodes, held to a budget, told at its end and afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import ray
import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import Account, Paid, dollars_of, read_accounts
from chunkflow.engine.cost.estimate import estimate_of
from chunkflow.engine.cost.meter import CostMeter
from chunkflow.engine.cost.prices import load_prices
from chunkflow.engine.planning.job import Job
from chunkflow.engine.queue.cells import Answer, WorkerPlace
from chunkflow.engine.queue.schedule import Schedule
from chunkflow.engine.run.events import CellDone, Ended
from chunkflow.jobs.budget import over_budget, said_cost
from chunkflow.jobs.means import Money
from chunkflow.jobs.planned import open_plan
from chunkflow.words import dollars
from tests.support.clusters.ray_nodes import add_node, end_node
from tests.support.commands import Command, is_one_sentence, job_document

TABLE = """
as_of: 2026-01-01
devices:
  tiny: {cpus: 1, memory: 2, on_demand: 90, preemptible: 36, kvoxels_per_second: {Slow: 50}}
"""
CHUNKS = 27


@pytest.fixture(scope="module")
def address(ray_here: None) -> Iterator[str]:
    """A cluster with a node that says what it is, on which alone the tasks of these tests can run."""
    node = add_node(cpus=5, device="tiny spot")
    yield ray.get_runtime_context().gcs_address
    end_node(node)


@pytest.fixture
def prices(lab: Path) -> Path:
    """A price table, and a job whose workers fit on the one node alone that it prices."""
    (lab / "prices.yaml").write_text(TABLE)
    (lab / "slow.py").write_text(SLOW)
    task = {"slow:Slow": {"image": "dapi", "kept": "copied", "pause": 0.5, "quick": str(lab / "quick")}}
    keys = {"chunk": [16, 16, 16], "tasks": [task], "resources": {"Slow": {"cpus": 5}}}
    (lab / "job.yaml").write_text(yaml.safe_dump({**job_document(), **keys}))
    return lab / "prices.yaml"


def test_a_job_stops_at_its_budget_and_its_end_tells_what_all_runs_cost(
    lab: Path, command: Command, address: str, prices: Path
) -> None:
    work = f"file://{lab}/work"
    words = ("--address", address, "--prices", prices)
    said = command("run", "job.yaml", *words, "--budget", 0.02)
    assert said.code == 1
    assert is_one_sentence(said.err)
    assert "budget of $0.02 is used up" in said.err
    assert "going on would cost about $" in said.err
    more = re.search(
        r"Go on with budget ([\d.]+) and prices \S+prices\.yaml: chunkflow retry", " ".join(said.err.split())
    )
    assert more is not None
    assert float(more[1]) > 0.02
    (first,) = read_accounts(work)
    spent = first.spent["tiny spot"]
    assert 0 < spent.hours <= (first.heard - first.began) / 3600
    assert spent.dollars is not None
    assert spent.dollars == pytest.approx(spent.hours * 36)
    assert 0 < first.measured["tiny spot"]["Slow"].cells < CHUNKS
    status = command("status", "work").out
    assert "incomplete: budget" in status
    assert f"{dollars(spent.dollars)} spent" in status

    again = command("retry", "work", *words, "--budget", 0.02)
    assert again.code == 2, "the budget is that of all runs"
    assert is_one_sentence(again.err)

    (lab / "quick").touch()
    rest = command("retry", "work", *words)
    assert (rest.code, rest.err) == (0, "")
    accounts = read_accounts(work)
    assert sum(account.measured.get("tiny spot", {})["Slow"].cells for account in accounts) == CHUNKS
    assert f"This job has cost {dollars(dollars_of(accounts))} so far." in rest.out
    assert_report(lab, first)


def assert_report(lab: Path, first: Account) -> None:
    """The estimate is the one that the first run began with, from the throughput in the table."""
    assert first.estimate.chunks == CHUNKS
    hours = 48 * 40 * 36 / 50_000 / 3600
    assert first.estimate.dollars["tiny spot"].value == pytest.approx(hours * 36)
    assert first.estimate.dollars["tiny"].value == pytest.approx(hours * 90)
    page = (lab / "work" / "report.html").read_text()
    assert f"<td>chunks<td>{CHUNKS}<td>{CHUNKS}<td>1.00" in page
    assert re.search(r"<td>hours of tiny spot<td>[\d.]+<td>[\d.]+<td>[\d.]+", page)
    assert re.search(r"<td>cost of tiny spot<td>\$0\.014<td>\$[\d.]+<td>[\d.]+", page)


def test_a_device_without_a_price_ends_a_run_with_a_budget_and_is_named(lab: Path, prices: Path) -> None:
    prices.write_text(TABLE.replace("preemptible: 36, ", ""))
    plan, table = open_plan(Job.from_file(lab / "job.yaml")), load_prices(prices)
    meter = CostMeter(plan, table, estimate_of(plan, table, {}), budget=50)
    schedule = Schedule(plan.stages)
    reached: list[bool] = []
    meter.attend(lambda: reached.append(True))
    meter(CellDone(Answer(0, 0, "w", place=WorkerPlace("node", "tiny spot", 0.0))))
    meter(Ended("incomplete: budget", schedule, 0))
    assert reached == [True]
    said = str(over_budget(meter, Money(prices, 50), schedule, "work"))
    assert "prices.yaml has no price for tiny spot" in said
    assert any("tiny spot: which the price table does not have" in line for line in said_cost(meter))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--budget", "5"], "this machine costs nothing"),
        (["--budget", "0", "--address", "127.0.0.1:1"], "budget takes dollars"),
        (["--budget", "nan", "--address", "127.0.0.1:1"], "budget takes dollars"),
        (["--prices", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_held_is_refused_before_anything_is_written(
    lab: Path, command: Command, words: list[str], named: str
) -> None:
    said = command("run", "job.yaml", *words)
    assert said.code == 2
    assert is_one_sentence(said.err)
    assert named in said.err
    assert not (lab / "work").exists()


def test_what_cannot_be_is_refused_before_queues_are_made(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", "job.yaml", "--serial").code == 0
    work = Folder(str(lab / "work"))
    (name,) = work.list("accounts/")
    account = Account.model_validate_json(work.get(name) or b"")
    paid = account.model_copy(update={"spent": {"tiny": Paid(hours=1.0, dollars=5.0)}})
    work.put(name, paid.model_dump_json().encode())
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/none")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    for words, named in (
        (["--prices", "none.yaml"], "none.yaml"),
        (["--budget", "5"], "have cost $5.00 already"),
        (["--set", "tasks.segment.diameter=12"], "tasks.segment.diameter: 10.0 -> 12.0"),
        ([], "no AWS region is known"),
    ):
        said = command("run", "job.yaml", "--serial", "--set", "queue=sqs://rat", *words)
        assert (said.code, named in said.err) == (2, True), said.err


SLOW = """
import time
from pathlib import Path

from own import Keep


class Slow(Keep):
    pause: float = 0.0
    quick: str = ""

    def map(self, cell, image):
        if not Path(self.quick).exists():
            time.sleep(self.pause)
        return image
"""
