"""What is closed to the other users of a machine: Ray's folder and its token."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray._raylet import AuthenticationTokenLoader

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from cli.demo.nuclei import document
from cluster.closed import closed_folder, keep_token, write_token
from cluster.cloud.file import CloudFile
from cluster.cloud.nodes import head_commands, worker_commands
from tests.support.clusters.nobody import NOBODY, needs_root

ROOT = Path(__file__).parents[2]
RAY = """#!/bin/sh
for word; do case $word in --temp-dir=*) folder=${word#--temp-dir=};; esac; done
mkdir -p "$folder" && chmod 777 "$folder"
"""
"""Does with its folder as Ray does."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a short name, as those of sockets below it are."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def within(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ray's folder is made."""
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    return place / f"cf-u{os.getuid()}"


def test_rays_folder_lies_in_one_that_is_closed(within: Path) -> None:
    before = os.umask(0)
    try:
        assert closed_folder() == within
    finally:
        os.umask(before)
    assert mode(within) == 0o700
    assert closed_folder() == within


def test_a_folder_that_is_open_or_leads_elsewhere_is_refused(within: Path, place: Path) -> None:
    within.mkdir()
    within.chmod(0o755)
    with pytest.raises(BadInput, match=r"is not a folder of this user alone.*RAY_TMPDIR"):
        closed_folder()
    within.rmdir()
    (place / "elsewhere").mkdir(mode=0o700)
    within.symlink_to(place / "elsewhere")
    with pytest.raises(BadInput, match="is not a folder of this user alone"):
        closed_folder()


@needs_root
def test_a_folder_of_another_user_is_refused(within: Path) -> None:
    within.mkdir(mode=0o700)
    os.chown(within, NOBODY, NOBODY)
    with pytest.raises(BadInput, match="is not a folder of this user alone"):
        closed_folder()


def test_a_folder_that_cannot_be_made_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(place / "file" / "below"))
    with pytest.raises(BadInput, match=r"cannot be made \(Not a directory\): name another place"):
        closed_folder()


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of so long a name that the system would not take those of the sockets in it."""
    place = tmp_path / ("a" * (107 - len(str(tmp_path))))
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    return place


def test_a_place_of_too_long_a_name_is_refused_with_what_to_do(long: Path) -> None:
    with pytest.raises(
        BadInput, match=rf"^{long} is too long a name .* a shorter place in TMPDIR or RAY_TMPDIR"
    ):
        closed_folder()
    assert not long.exists()


def test_a_place_of_28_letters_holds_rays_sockets(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As batch systems name those of a job."""
    monkeypatch.setenv("RAY_TMPDIR", f"{place}/{'a' * (28 - len(f'{place}/'))}")
    assert closed_folder().parent.is_dir()


def test_on_a_mac_rays_folder_lies_in_tmp(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of its own temporary folders are too long."""
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert closed_folder().parent == Path("/tmp")


def test_a_run_is_refused_for_its_place_before_anything_is_written(
    long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    before = sorted(tmp_path.rglob("*"))
    job = Job.from_document(document(tmp_path / "demo", (64, 64, 32), 3), tmp_path)
    with pytest.raises(BadInput, match="is too long a name"):
        Run.of(job, Means(workers=1)).start()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o2770])
def test_a_place_where_others_may_replace_the_folder_is_refused(
    within: Path, place: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    let_group(monkeypatch, "lab")
    place.chmod(mode)
    with pytest.raises(BadInput, match=r"other users may replace Ray's folder.*chmod \+t"):
        closed_folder()
    place.chmod(0o1000 | mode)
    assert closed_folder() == within


@pytest.mark.parametrize(("others", "fits"), [([], True), (["guest"], False)])
def test_a_place_may_be_open_to_the_group_that_is_the_users_alone(
    within: Path, place: Path, monkeypatch: pytest.MonkeyPatch, others: list[str], fits: bool
) -> None:
    """Many systems give each user one, and leave the user's own folders open to it."""
    let_group(monkeypatch, pwd.getpwuid(os.getuid()).pw_name, *others)
    os.chown(place, -1, pwd.getpwuid(os.getuid()).pw_gid)
    place.chmod(0o775)
    if fits:
        assert closed_folder() == within
    else:
        with pytest.raises(BadInput, match="other users may replace Ray's folder"):
            closed_folder()


def let_group(monkeypatch: pytest.MonkeyPatch, name: str, *members: str) -> None:
    """Let all groups of this machine have this name, and these members."""
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=name, gr_mem=members))


@needs_root
def test_a_place_of_another_user_is_refused(within: Path, place: Path) -> None:
    place.chmod(0o1777)
    os.chown(place, NOBODY, NOBODY)
    with pytest.raises(BadInput, match=r"is another user's, who may replace Ray's folder"):
        closed_folder()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without a token, where Ray is to have one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    AuthenticationTokenLoader.instance().reset_cache()
    yield tmp_path
    AuthenticationTokenLoader.instance().reset_cache()


def test_the_token_is_its_owners_from_the_start(home: Path) -> None:
    before = os.umask(0)
    try:
        keep_token()
    finally:
        os.umask(before)
    token = home / ".ray" / "auth_token"
    assert mode(token) == 0o600
    assert mode(token.parent) == 0o700
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]
    assert len(token.read_text()) == 64
    assert AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)


def test_a_token_that_is_there_is_kept_and_closed(home: Path) -> None:
    (home / ".ray").mkdir()
    token = home / ".ray" / "auth_token"
    token.write_text("of-an-earlier-ray")
    token.chmod(0o644)
    keep_token()
    assert token.read_text() == "of-an-earlier-ray"
    assert mode(token) == 0o600


def test_of_runs_that_start_together_all_have_one_token(home: Path) -> None:
    with ThreadPool(8) as pool:
        tokens = set(pool.map(_kept, [home] * 8))
    assert len(tokens) == 1
    assert len(tokens.pop()) == 64


def _kept(home: Path) -> str:
    keep_token()
    return (home / ".ray" / "auth_token").read_text()


def test_no_token_is_made_where_ray_is_to_have_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    keep_token()
    assert not (home / ".ray").exists()


def test_a_token_is_not_written_into_a_file_that_another_has_laid(tmp_path: Path) -> None:
    (tmp_path / "laid").touch()
    (tmp_path / "token").symlink_to(tmp_path / "laid")
    with pytest.raises(FileExistsError):
        write_token(tmp_path / "token")
    assert not (tmp_path / "laid").read_text()


def test_a_node_on_a_cloud_keeps_rays_folder_closed(tmp_path: Path) -> None:
    document = {"provider": "aws", "name": "lab", "region": "us-east-1", "bucket": "s3://lab-brains"}
    file = CloudFile.from_document(document | {"workers": [{"type": "m5.4xlarge", "most": 1}]}, tmp_path)
    programs = tmp_path / "chunkflow" / "env" / "bin"
    programs.mkdir(parents=True)
    (programs / "ray").write_text(RAY)
    (programs / "ray").chmod(0o755)
    start, _ = head_commands(file)
    subprocess.run(["bash", "-c", start], env={**os.environ, "HOME": str(tmp_path)}, check=True)
    assert mode(tmp_path / "chunkflow" / "ray") == 0o777
    assert mode(tmp_path / "chunkflow") == 0o700
    (start,) = worker_commands(file)
    assert "chmod 700 ~/chunkflow && ~/chunkflow/env/bin/ray start" in start
    assert "--temp-dir=$HOME/chunkflow/ray " in start
