"""What a machine has: its Python, Ray and chunkflow, and which paths it sees.

It is sent to clusters as it is and run there by itself, so it needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("chunkflow", "tasks", "cluster", "cli")
KINDS = (".py", ".typed", ".yaml", ".html", ".json", ".safetensors", ".md")
"""What is installed of them; other files may lie about in a source tree."""
MARK = "what this machine has: "


def package_files() -> dict[str, Path]:
    """The files of the running chunkflow, by its name as it is imported; nothing is imported for that."""
    files: dict[str, Path] = {}
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations if found else None) or ():
            root = Path(place)
            for file in root.rglob("*"):
                if file.suffix in KINDS and file.is_file():
                    files[f"{package}/{file.relative_to(root).as_posix()}"] = file
    return dict(sorted(files.items()))


def fingerprint(files: dict[str, Path]) -> str:
    """A word for the content of these files; empty where there are none."""
    if not files:
        return ""
    total = hashlib.sha256()
    for name, file in files.items():
        total.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def installed(name: str) -> str:
    """The version of a distribution; empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def here() -> dict[str, Any]:
    """What is installed where this runs."""
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "ray": installed("ray"),
        "chunkflow": fingerprint(package_files()),
        "virtualenv": bool(installed("virtualenv")),
    }


if __name__ == "__main__":
    del sys.path[0]  # where this file lies; what is asked is what is installed
    seen = {path: os.path.exists(path) for path in sys.argv[1:]}
    print(MARK + json.dumps(here() | {"seen": seen}), flush=True)
