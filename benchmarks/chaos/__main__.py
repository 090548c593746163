"""Single attacks: `python -m benchmarks.chaos NAME FIRST_SEED [ROUNDS]`."""

from __future__ import annotations

import sys

from rich.console import Console

from benchmarks.chaos.table import attacks


def main(name: str, first: str, rounds: str = "1") -> None:
    for figure in attacks({name: range(int(first), int(first) + int(rounds))}):
        Console(soft_wrap=True).print(f"{figure.what}: {figure.ours:g} {figure.unit}", highlight=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
