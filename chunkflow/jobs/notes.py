"""Where a job was submitted to, written into its work folder, so that its name is enough to find it.

Neither tokens nor passwords are written.
"""

from __future__ import annotations

import getpass
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chunkflow.data.folder import Folder

PLACE = "submitted/"


def note(work: str, address: str, submission: str, folder: Path) -> None:
    """Write down a submission; the address is without credentials, `folder` where the job file lies here."""
    now = time.time()
    known = {
        "address": address,
        "submission": submission,
        "at": round(now, 3),
        "by": getpass.getuser(),
        "from": platform.node(),
        "folder": str(folder),
    }
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now % 1 * 1e6):06d}.json"
    Folder(work).put(PLACE + name, json.dumps(known, indent=1).encode())


def notes(work: str) -> Iterator[dict[str, Any]]:
    """The submissions that were written down, the newest first."""
    folder = Folder(work)
    for name in sorted(folder.list(PLACE), reverse=True):
        try:
            known = json.loads(folder.get(name) or b"")
        except ValueError:
            continue
        if isinstance(known, dict):
            yield known
