"""Ownership of the places that a run writes: what a former owner does later does not come in.

1. Whoever takes the ledger closes off the staging folders of all owners that it records.
2. It makes its own, and records them before it writes through them: where another has taken the ledger
   meanwhile, who does not know of them, the record is refused.
3. As it closes the ledger it closes off its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from chunkflow.data.owned import staging_of
from chunkflow.data.staging import Staging
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import StorageError


def close_off_former(ledger: Ledger) -> bool:
    """Close off what owners before this one have; whether none of them can write anything any more."""
    former = {owner: urls for owner, urls in ledger.state.staged.items() if owner != ledger.owner}
    for owner, urls in former.items():
        for staging in _stagings(urls, owner):
            staging.close_off()
        ledger.record_unstaged(owner)
    on_disks = all(staging_of(url, owner) for owner, urls in former.items() for url in urls)
    return not ledger.took_over or (bool(former) and on_disks)


def make_staging(ledger: Ledger, urls: Iterable[str]) -> None:
    """Make this owner's staging folders, through which alone it and its workers write."""
    places = list(dict.fromkeys(urls))
    for staging in _stagings(places, ledger.owner):
        staging.make()
    ledger.before_close = partial(_close_off_own, ledger)
    ledger.record_staged(places)
    ledger.flush(now=True)


def _close_off_own(ledger: Ledger) -> None:
    with suppress(StorageError):  # then the next owner does it
        for staging in _stagings(ledger.state.staged.get(ledger.owner, []), ledger.owner):
            staging.close_off()
        ledger.record_unstaged(ledger.owner)


def _stagings(urls: Iterable[str], owner: str) -> Iterator[Staging]:
    for url in urls:
        staging = staging_of(url, owner)
        if staging is not None:
            yield staging
