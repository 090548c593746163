"""What a cluster has, and what must go along so that the running chunkflow runs there, too.

Python and Ray must be the same there. chunkflow may be missing or another one: then it goes along as a wheel
(cluster/submission/wheel.py), which Ray installs with what it needs on each node that gets work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chunkflow.errors import BadInput
from cluster import probe
from cluster.submission.jobs import Jobs, folder_of
from cluster.submission.wheel import NAME, build_wheel, constraints

SENT = "${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}"
"""Where Ray lays what was sent, on each node."""


@dataclass(frozen=True)
class There:
    """What the head of a cluster has."""

    host: str
    python: str
    ray: str
    chunkflow: str
    """The fingerprint of its files; empty where there is none."""
    virtualenv: bool
    seen: dict[str, bool]
    """Whether each path that was asked for is there."""

    def faults(self) -> list[str]:
        """Why the running chunkflow cannot run there."""
        here = probe.here()
        found = []
        if _minor(self.python) != _minor(here["python"]):
            found.append(
                f"The cluster has Python {self.python} and this machine {here['python']}: Ray needs the same "
                f"on both; make an environment with Python {_minor(self.python)} here."
            )
        if self.ray != here["ray"]:
            found.append(
                f"The cluster has Ray {self.ray} and this machine {here['ray']}: Ray needs the same on both; "
                f"here: pip install 'ray[default]=={self.ray}'."
            )
        if self.lacks_chunkflow and not self.virtualenv:
            found.append(
                "The cluster has not this chunkflow, and Ray cannot install it there without virtualenv: "
                "pip install virtualenv, or chunkflow itself, on its nodes."
            )
        return found

    @property
    def lacks_chunkflow(self) -> bool:
        """Whether it has none, or another one than this machine."""
        return self.chunkflow != probe.fingerprint(probe.package_files())


def look(jobs: Jobs, paths: Sequence[str] = ()) -> There:
    """Ask the head of a cluster what it has, and which paths it sees."""
    with folder_of({"probe.py": Path(probe.__file__).read_bytes()}) as folder:
        return There(**jobs.ask(folder, ["python", "probe.py", *paths], {}, probe.MARK))


def refuse_other(there: There) -> None:
    """Raise BadInput where the running chunkflow cannot run there."""
    for fault in there.faults():
        raise BadInput(fault)


def what_goes_along(there: There, extras: Sequence[str] = ()) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files to send and the environment to be made of them; both empty where all is there."""
    if not there.lacks_chunkflow:
        return {}, {}
    with TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        data = wheel.read_bytes()
    # Ray makes an environment once for each wording: another content must have another name
    place = f"wheel-{probe.fingerprint(probe.package_files())}"
    wanted = f"{NAME}[{','.join(extras)}]" if extras else NAME
    packages = [f"-c {SENT}/{place}/constraints.txt", f"{wanted} @ file://{SENT}/{place}/{wheel.name}"]
    files = {f"{place}/{wheel.name}": data, f"{place}/constraints.txt": constraints().encode()}
    return files, {"pip": {"packages": packages}}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
