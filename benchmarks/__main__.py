"""`make bench`: every comparison in one run, as a table of ratios; what is not reached is said.

`python -m benchmarks mesh segment_kernel` runs some of them; `networks`, an hour of training, runs only so.
"""

from __future__ import annotations

import importlib
import os
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure

MODULES = {
    "segment_kernel": "benchmarks.segment_kernel",
    "engine": "benchmarks.engine.engine",
    "disturbed": "benchmarks.engine.disturbed",
    "chaos": "benchmarks.chaos.table",
    "ledger": "benchmarks.engine.ledger",
    "scaling": "benchmarks.engine.scaling",
    "mesh": "benchmarks.outputs.mesh",
    "downsample": "benchmarks.outputs.downsample",
    "annotate": "benchmarks.outputs.annotate",
    "rows": "benchmarks.outputs.rows",
    "service": "benchmarks.service.data_path",
    "people": "benchmarks.service.people",
    "browser": "benchmarks.service.browser",
    "infer": "benchmarks.networks.infer",
    "cuts": "benchmarks.networks.cuts",
    "detection": "benchmarks.quality.detection",
    "tune": "benchmarks.quality.tune",
    "stitch": "benchmarks.quality.stitch",
    "classification": "benchmarks.quality.classification",
    "learning": "benchmarks.quality.learning",
}
ONLY_NAMED = {"networks": "benchmarks.networks.cells"}
"""Those that take an hour."""


def main(chosen: list[str]) -> None:
    console = Console(width=max(Console().width, 140))
    figures: dict[str, list[Figure]] = {}
    for name in chosen or MODULES:
        console.print(f"{name} …")
        figures[name] = importlib.import_module((MODULES | ONLY_NAMED)[name]).run()
        for figure in figures[name]:
            console.print(f"  {figure.what}: {figure.ours} {figure.unit}", highlight=False)
    console.print(table(figures))


def table(figures: dict[str, list[Figure]]) -> Table:
    shown = Table(title=f"{os.cpu_count()} cores", title_justify="left")
    for name in ("what", "chunkflow", "peer", "ratio", "target", "reached"):
        shown.add_column(name, justify="left" if name == "what" else "right")
    for found in figures.values():
        for figure in found:
            shown.add_row(*figure.row())
    return shown


if __name__ == "__main__":
    main(sys.argv[1:])
