"""Goes through a table in its own process: `python rows_run.py WHAT FOLDER` prints the peak of its memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.outputs.annotate_run import peak
from benchmarks.outputs.rows import go

if __name__ == "__main__":
    go(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps({"peak": peak()}))
