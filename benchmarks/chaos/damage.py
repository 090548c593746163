"""Damage to the files of a finished job."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import chunkflow as cf
from benchmarks.chaos.attack import Attack, Outcome
from benchmarks.chaos.runner import short_blocks
from benchmarks.chaos.trial import Trial

KINDS = {
    "part": "work/parts/**/*.arrow",
    "decided": "work/parts/*.prepare.json",
    "snapshot": "work/ledger/*.snapshot",
    "segment": "work/ledger/*.json",
    "info": "**/info",
    "table": "work/tables/**/*.parquet",
    "chunk": "*/*_*_*/*-*_*-*_*-*",
    "files": "*/**/*.shard",
}
NAMES = {
    "part": "a part",
    "decided": "what prepare decided",
    "snapshot": "a snapshot of the ledger",
    "segment": "a segment of the ledger",
    "info": "an info file",
    "table": "a file of a table",
    "chunk": "a storage chunk",
    "files": "a file of meshes or annotations",
}

RECORD_LOST = "The record of the job in"
"""So begins what is said where nothing of the ledger can be kept, and all is to be made again."""


def damage(kind: str, trial: Trial, dice: random.Random) -> Outcome:
    """Remove a file, empty it, cut it short, or flip a bit of it; have it found, and mended."""
    job = trial.job()
    trial.finish()
    path = dice.choice(sorted(trial.folder.glob(KINDS[kind])))
    what = f"{path.relative_to(trial.folder)} {_harm(path, dice)}"
    found = _check(job, repair=True)
    if any(said.startswith(RECORD_LOST) for said in found):
        shutil.rmtree(trial.folder)
        trial.folder.mkdir()
    try:
        trial.run_to_its_end(job)
        trial.judge()
        left = _check(job)
        assert not left, f"the check still finds {left}"
    except AssertionError as error:
        raise AssertionError(f"{what}, told as {found or 'nothing'}, and repaired: {error}") from error
    return "said so" if found else "identical"  # as where nobody reads any more what was damaged


def _check(job: dict[str, Any], repair: bool = False) -> list[str]:
    """What a check says is wrong."""
    with short_blocks():
        try:
            return [str(fault) for fault in cf.check(job["work"], deep=True, repair=repair).faults]
        except cf.DamagedInput as error:
            return [str(error)]


def _harm(path: Path, dice: random.Random) -> str:
    data = bytearray(path.read_bytes())
    how = dice.choice(("removed", "emptied", "cut short", "flipped"))
    if how == "removed":
        path.unlink()
        return how
    if how == "emptied":
        data.clear()
    elif how == "cut short":
        del data[dice.randrange(len(data)) :]
    else:
        at, bit = dice.randrange(len(data)), dice.randrange(8)
        data[at] ^= 1 << bit
        how = f"with bit {bit} of byte {at} flipped"
    path.write_bytes(data)
    return how


ATTACKS = {kind: Attack(f"damaged: {NAMES[kind]}", partial(damage, kind)) for kind in KINDS}
