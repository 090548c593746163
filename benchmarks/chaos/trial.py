"""Trial: the job that is attacked, run in processes that may be killed, and held against a reference.

The job is small: eight chunks of synthetic tissue, with all that a job may leave: voxels, parts, decided
values, tables, meshes, annotations. It is run by forks of one process that has loaded all there is to load.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.runner import Runner
from chunkflow.data.checksums import unseal
from chunkflow.data.folder import Folder
from cli.demo.nuclei import DIAMETER_UM, document

SIZE, CHUNK = (64, 64, 64), [32, 32, 32]
HEARTBEAT = 0.25
TASK, OTHER = "segment", 0.75 * DIAMETER_UM
"""A task that a restart names, and another diameter for it."""
PATIENCE = 120.0


class Trial:
    """A folder for one job after the other, and what an undisturbed one makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trial"
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["benchmarks.chaos.runner"])
        self.expected, self.seconds = self._reference(DIAMETER_UM)
        """The contents of all files of an undisturbed job, and how long it takes."""
        self.expected_other, _ = self._reference(OTHER)

    def _reference(self, diameter: float) -> tuple[dict[str, str], float]:
        for _ in range(2):  # once more, as the first run compiles what is not compiled yet
            with self.begun():
                begin = time.monotonic()
                self.run_to_its_end(self.job(diameter=diameter))
                seconds = time.monotonic() - begin
                found = contents(self.folder)
        return found, seconds

    def finish(self) -> None:
        """Put a job into the folder that has just ended, with its ledger."""
        kept = self.folder.with_name("finished")
        if kept.exists():
            shutil.copytree(kept, self.folder, dirs_exist_ok=True)
        else:
            self.run_to_its_end(self.job())
            shutil.copytree(self.folder, kept)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """An empty folder, which is deleted in the end."""
        self.folder.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self.folder)

    def job(self, root: str = "", diameter: float = DIAMETER_UM) -> dict[str, Any]:
        """The job's document; `root` is the folder or bucket of its layers, by default the trial's."""
        written = document(self.folder, SIZE, 3) | {"chunk": CHUNK, "storage": CHUNK, "heartbeat": HEARTBEAT}
        written["tasks"][1][TASK]["diameter"] = diameter
        place = root or str(self.folder)
        layers = {name: f"{place}/{name}" for name in written["layers"]}
        return written | {"work": f"{place}/work", "layers": layers}

    def runner(
        self, job: Mapping[str, Any], restart: str = "", environment: Mapping[str, str] | None = None
    ) -> Runner:
        """A process that begins to run the job."""
        return Runner(self._forks, job, restart, environment or {})

    def run_to_its_end(self, job: Mapping[str, Any], restart: str = "") -> None:
        """Run the job undisturbed."""
        with self.runner(job, restart) as runner:
            ended, said = runner.wait(PATIENCE)
        assert ended == "complete", f"undisturbed, it ended as {ended}: {said}"

    def judge(self, other: bool = False, root: str = "") -> None:
        """Raise AssertionError where the job's files are not those of the reference."""
        expected = self.expected_other if other else self.expected
        found = contents(root or self.folder)
        wrong = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        assert not wrong, f"{len(wrong)} of {len(expected)} files are others, or missing: {wrong[:5]}"
        if not root:
            left = [str(path) for path in self.folder.rglob(".~*")]
            assert not left, f"left behind: {left[:5]}"


def contents(root: Path | str) -> dict[str, str]:
    """The hashes of all files that follow from the job: not of its ledger, its logs, and who made it when."""
    folder = Folder(str(root))
    names = [name for name in sorted(folder.list()) if _follows(name)]
    own = folder.url.encode()  # which the description of a table names
    found = {}
    for name, data in zip(names, folder.get_all(names), strict=True):
        content = unseal(data or b"", name) if name.startswith("work/parts/") else data or b""
        found[name] = hashlib.sha256(content.replace(own, b"")).hexdigest()
    return found


def _follows(name: str) -> bool:
    kept = not name.startswith("work/") or name.startswith(("work/parts/", "work/tables/"))
    return kept and not name.endswith("/provenance")
