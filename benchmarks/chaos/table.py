"""A row for each kind of attack: how many rounds, and what came of them; none may fail."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.chaos import damage, kills, power, stops, storage
from benchmarks.chaos.attack import Round, attacked
from benchmarks.chaos.trial import Trial
from benchmarks.figure import Figure

ATTACKS = kills.ATTACKS | stops.ATTACKS | power.ATTACKS | damage.ATTACKS | storage.ATTACKS
ROUNDS = {"runner": 20, "workers": 1, "nodes": 1, "stop": 14, "restart": 14, "power": 8, "storage": 4}
ROUNDS |= dict.fromkeys(damage.ATTACKS, 5)
AT_ONCE = 2


def run() -> list[Figure]:
    return attacks({name: range(rounds) for name, rounds in ROUNDS.items()})


def attacks(seeds: dict[str, range]) -> list[Figure]:
    """Do the attacks of these names, a round for each seed, two rounds at a time."""
    asked = [(name, seed) for name, chosen in seeds.items() for seed in chosen if not ATTACKS[name].absent]
    with tempfile.TemporaryDirectory(prefix="chunkflow-bench-") as folder:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(AT_ONCE, spawn, _begin, (folder,)) as pool:
            rounds = list(pool.map(_round, asked))
    return [_figure(name, [round for round in rounds if round.name == name]) for name in seeds]


_trials: list[Trial] = []
"""That of this process."""


def _begin(folder: str) -> None:
    _trials.append(Trial(Path(folder) / str(os.getpid())))


def _round(asked: tuple[str, int]) -> Round:
    name, seed = asked
    return attacked(name, ATTACKS[name], _trials[0], seed)


def _figure(name: str, rounds: list[Round]) -> Figure:
    """The figure of one attack; a round that failed is named, with what does it again."""
    attack = ATTACKS[name]
    if attack.absent:
        return Figure(f"{attack.what}: {attack.absent}", 0, "rounds")
    what = f"{attack.what}: {len(rounds)} rounds, {_count(rounds, 'identical')} identical, "
    what += f"{_count(rounds, 'said so')} said so"
    failed = [round for round in rounds if round.outcome == "failed"]
    what += "".join(f"\n  python -m benchmarks.chaos {name} {round.seed}: {round.said}" for round in failed)
    return Figure(what, len(failed), "failed", better="lower", target=0)


def _count(rounds: list[Round], outcome: str) -> int:
    return sum(round.outcome == outcome for round in rounds)
