"""The part of a report that holds what a job was thought to take beside what it took."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence

from chunkflow.engine.cost.accounts import Account, Estimate, Figure, dollars_of
from chunkflow.engine.ledger.state import State
from chunkflow.words import dollars, in_words

Row = tuple[str, str, str, float | None]
"""What, estimate, actual, and how many times the estimate the actual is."""


def estimate_and_actual(state: State, accounts: Sequence[Account]) -> str:
    """A table, where any run left an account."""
    if not accounts:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(what)}<td>{thought}<td>{took}<td>{f'{ratio:.2f}' if ratio else '–'}</tr>"
        for what, thought, took, ratio in _rows(state, accounts)
    )
    notes = ["± is half the interval of 95 %, from chunks that were measured before."] if "±" in rows else []
    notes += [] if state.ended == "complete" else ["The actual figures are those so far."]
    return (
        "<h2>Estimate and actual</h2><table><tr><th>of all runs<th>estimate<th>actual<th>ratio</tr>"
        f"{rows}</table><p class=quiet>{' '.join(notes)}</p>"
    )


def _rows(state: State, accounts: Sequence[Account]) -> Iterator[Row]:
    known = _first_of_this_job(accounts)
    maps = [stage for name, stage in state.stages.items() if "." not in name]
    yield _row("chunks", known.chunks, sum(stage.done for stage in maps), "{:,.0f}".format)
    yield _bytes("read", known.bytes_in, sum(stage.bytes_in for stage in maps))
    yield _bytes("written", known.bytes_out, sum(stage.bytes_out for stage in maps))
    memory = max(account.memory for account in accounts)
    yield _row("most memory a worker, GiB", known.memory / 2**30, memory / 2**30, "{:,.2f}".format)
    yield "files", f"{known.files:,}", "not counted", None
    yield "requests", f"{known.requests:,}", "not counted", None
    for name, figure in known.seconds.items():
        if name in state.stages:
            yield _measured(f"work on {name}", figure, sum(state.stages[name].seconds.values()), in_words)
    yield from _paid(known, accounts)


def _paid(known: Estimate, accounts: Sequence[Account]) -> Iterator[Row]:
    """Hours and dollars of each device that was used."""
    for device in dict.fromkeys(device for account in accounts for device in account.spent):
        spent = [account.spent[device] for account in accounts if device in account.spent]
        hours = sum(one.hours for one in spent)
        cost = None if any(one.dollars is None for one in spent) else sum(one.dollars or 0.0 for one in spent)
        yield _measured(f"hours of {device}", known.hours.get(device), hours, "{:,.2f}".format)
        yield _measured(f"cost of {device}", known.dollars.get(device), cost, dollars)
    if len({device for account in accounts for device in account.spent}) > 1:
        yield "cost in all", "", dollars(dollars_of(list(accounts))), None


def _first_of_this_job(accounts: Sequence[Account]) -> Estimate:
    """What was thought before any chunk of the job as it is now was done."""
    last = accounts[-1].estimate
    return next(account.estimate for account in accounts if account.estimate.chunks == last.chunks)


def _row(what: str, thought: float, took: float, said: Callable[[float], str]) -> Row:
    return what, said(thought), said(took), took / thought if thought else None


def _bytes(what: str, thought: int, took: int) -> Row:
    """In GB, or MB where it is little."""
    name, unit = ("GB", 1e9) if max(thought, took) >= 1e9 else ("MB", 1e6)
    return _row(f"{what}, {name}", thought / unit, took / unit, "{:,.2f}".format)


def _measured(what: str, thought: Figure | None, took: float | None, said: Callable[[float], str]) -> Row:
    actual = "no price" if took is None else said(took)
    if thought is None:
        return what, "not measured", actual, None
    margin = f" ± {said(thought.margin)}" if thought.margin else ""
    ratio = took / thought.value if took is not None and thought.value else None
    return what, said(thought.value) + margin, actual, ratio
