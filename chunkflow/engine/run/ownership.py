"""Ownership of the places that a run writes: what a former owner does later does not come in.

1. Whoever takes the ledger closes off the staging folders of all owners that it records.
2. It makes its own, and records them before it writes through them: where another has taken the ledger
   meanwhile, who does not know of them, the record is refused.
3. As it closes the ledger it closes off its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from chunkflow.data.owned import staging_of
from chunkflow.data.staging import Staging
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import StorageError


def close_off_former(ledger: Ledger) -> bool:
    """Close off what owners before this one have; whether any may write all the same, as it has places in an
    object store: it does until its workers' fences have fallen, and is forgotten then."""
    former = _former(ledger)
    for owner, urls in former.items():
        for staging in _stagings(urls, owner):
            staging.close_off()
    closed = [owner for owner, urls in former.items() if all(staging_of(url, owner) for url in urls)]
    _forget(ledger, closed)
    unknown = ledger.took_over and not former  # of an earlier chunkflow
    return unknown or len(closed) < len(former)


def forget_former(ledger: Ledger) -> None:
    """Record that no owner before this one can write any more."""
    _forget(ledger, _former(ledger))


def _former(ledger: Ledger) -> dict[str, list[str]]:
    return {owner: urls for owner, urls in ledger.state.staged.items() if owner != ledger.owner}


def _forget(ledger: Ledger, owners: Iterable[str]) -> None:
    for owner in owners:
        ledger.record_unstaged(owner)


def make_staging(ledger: Ledger, urls: Iterable[str]) -> None:
    """Make this owner's staging folders, through which alone it and its workers write."""
    places = list(dict.fromkeys(urls))
    own = list(_stagings(places, ledger.owner))
    ledger.before_close = partial(_close_off_own, ledger, ledger.owner, own)
    for staging in own:
        staging.make()
    ledger.record_staged(places)
    ledger.flush(now=True)


def _close_off_own(ledger: Ledger, owner: str, own: Sequence[Staging]) -> None:
    with suppress(StorageError):  # then the next owner does it
        for staging in own:
            staging.close_off()
        if ledger.is_writing:
            ledger.record_unstaged(owner)


def _stagings(urls: Iterable[str], owner: str) -> Iterator[Staging]:
    for url in urls:
        staging = staging_of(url, owner)
        if staging is not None:
            yield staging
