"""A row for each kind of attack: how many rounds, and what came of them; none may fail."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.chaos import damage, kills, power, stops, storage
from benchmarks.chaos.attack import Attack, Round, attacked
from benchmarks.chaos.trial import Trial
from benchmarks.figure import Figure

ATTACKS = kills.ATTACKS | stops.ATTACKS | power.ATTACKS | damage.ATTACKS | storage.ATTACKS
ROUNDS = {"runner": 20, "workers": 1, "nodes": 1, "stop": 14, "restart": 14, "power": 8, "storage": 4}
ROUNDS |= dict.fromkeys(damage.ATTACKS, 5)


def run() -> list[Figure]:
    return attacks({name: range(rounds) for name, rounds in ROUNDS.items()})


def attacks(seeds: dict[str, range]) -> list[Figure]:
    """Do the attacks of these names, a round for each seed."""
    with tempfile.TemporaryDirectory(prefix="chunkflow-bench-") as folder:
        trial = Trial(Path(folder))
        return [row(name, ATTACKS[name], trial, chosen) for name, chosen in seeds.items()]


def row(name: str, attack: Attack, trial: Trial, seeds: range) -> Figure:
    """The figure of one attack; a round that failed is named, with what does it again."""
    if attack.absent:
        return Figure(f"{attack.what}: {attack.absent}", 0, "rounds")
    rounds = [attacked(attack, trial, seed) for seed in seeds]
    what = f"{attack.what}: {len(rounds)} rounds, {_count(rounds, 'identical')} identical, "
    what += f"{_count(rounds, 'said so')} said so"
    failed = [round for round in rounds if round.outcome == "failed"]
    what += "".join(f"\n  python -m benchmarks.chaos {name} {round.seed}: {round.said}" for round in failed)
    return Figure(what, len(failed), "failed", better="lower", target=0)


def _count(rounds: list[Round], outcome: str) -> int:
    return sum(round.outcome == outcome for round in rounds)
