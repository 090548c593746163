"""What a job of SLURM asks of the place for Ray's folder, before it starts Ray."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.slurm.file import SlurmFile
from cluster.slurm.scripts import head_script, worker_script
from tests.support.clusters.nobody import NOBODY, as_nobody, needs_root

JOB = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
UNSAFE = {
    "folder": "cf-7 cannot be made, or is another user's",
    "link": "cf-7 cannot be made, or is another user's",
    "full": "cf-7 cannot be made, or is another user's",
    "absent": "there is no folder",
    "open": "others may replace",
    "group": "others may replace",
    "another's": "others may replace",
}


@pytest.fixture
def scratch() -> Iterator[Path]:
    """As /tmp is on a node: anyone may write there, and nobody remove what is another's."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:  # short: names of sockets are
        Path(folder).chmod(0o1777)
        yield Path(folder)


def script_of(scratch: Path, folder: Path, group: str = "") -> str:
    """The batch script of the head, or of a group of workers."""
    workers = {"cpu": {"cpus": 1, "memory": 1, "most": 1}}
    document = {"provider": "slurm", "folder": str(folder / "cluster"), "scratch": str(scratch)}
    file = SlurmFile.from_document(document | {"workers": workers}, folder / "slurm.yaml")
    return worker_script(file, group, file.workers[group], None) if group else head_script(file)


def lay(scratch: Path, what: str) -> None:
    """Let `scratch` be a place where a job of nobody cannot have a folder of its own."""
    if what == "folder":
        (scratch / "cf-7").mkdir(mode=0o777)
    elif what == "link":
        (scratch / "elsewhere").mkdir()
        (scratch / "elsewhere").chmod(0o777)
        (scratch / "cf-7").symlink_to(scratch / "elsewhere")
    elif what == "absent":
        scratch.rmdir()
    elif what == "another's":
        os.chown(scratch, 1, 1)
    else:
        os.chown(scratch, -1, NOBODY)
        scratch.chmod({"open": 0o777, "group": 0o2770, "full": 0o755}[what])


@needs_root
@pytest.mark.parametrize("laid", UNSAFE)
@pytest.mark.parametrize("group", ["", "cpu"])
def test_a_job_does_not_start_ray_where_others_could_reach_it(
    scratch: Path, tmp_path: Path, laid: str, group: str
) -> None:
    lay(scratch, laid)
    ran = as_nobody(["bash", "-c", script_of(scratch, tmp_path, group)], **JOB)
    assert ran.returncode == 1
    said = rf"^Ray's folder is not safe: .*{scratch}.*; name another place as scratch"
    assert re.search(said, ran.stderr, re.MULTILINE)
    assert UNSAFE[laid] in ran.stderr
    assert not list(scratch.glob("*/*"))


@needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o700, 0o755, 0o775])
@pytest.mark.parametrize("linked", [False, True])
def test_a_job_has_its_folder_in_a_place_of_roots_or_its_own(
    scratch: Path, tmp_path: Path, mode: int, linked: bool
) -> None:
    """The group is root's alone, as many systems make one for each user."""
    scratch.chmod(mode)
    (tmp_path / "link").symlink_to(scratch)
    script = script_of(scratch, tmp_path).replace(str(scratch), str(tmp_path / "link" if linked else scratch))
    begins = script.partition("trap end EXIT")[0]
    subprocess.run(["bash", "-c", begins], env={**os.environ, **JOB}, check=True)
    assert stat.S_IMODE((scratch / "cf-7").stat().st_mode) == 0o700
