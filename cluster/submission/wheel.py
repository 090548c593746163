"""The running chunkflow as a wheel, for clusters that have none or another; made without a network.

All of it is Python, so the files that run here are the wheel, whether they were installed or lie in a source
tree. What it needs is pinned to the versions that are installed here.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

from chunkflow.errors import BadInput
from cluster.probe import package_files

NAME = "chunkflow-ray"
_WHEEL = "Wheel-Version: 1.0\nGenerator: chunkflow\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; the same files always give the same bytes."""
    try:
        distribution = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise BadInput(
            f"{NAME} runs here without being installed, so what it needs is not known: pip install it first."
        ) from None
    metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    stem = f"{NAME.replace('-', '_')}-{distribution.version}"
    files = {name: file.read_bytes() for name, file in package_files().items()}
    files[f"{stem}.dist-info/METADATA"] = metadata.encode()
    files[f"{stem}.dist-info/WHEEL"] = _WHEEL.encode()
    files[f"{stem}.dist-info/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join([*(_recorded(n, data) for n, data in files.items()), f"{record},,\n"]).encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return wheel


def _recorded(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def constraints() -> str:
    """Every other distribution that is installed here, pinned. What follows a + names a build for one kind of
    machine, and is left out."""
    pinned = {
        found.name.lower(): found.version.partition("+")[0] for found in importlib.metadata.distributions()
    }
    pinned.pop(NAME, None)
    return "".join(f"{name}=={version}\n" for name, version in sorted(pinned.items()))
