"""A former owner's writes and deletions, at whichever step it slept, change nothing of its successor's."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.data.owned import OwnedFolder
from chunkflow.data.staging import Staging
from chunkflow.engine.ledger.chain import Held
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.run import ownership
from chunkflow.engine.run.ownership import close_off_former, forget_former, make_staging
from chunkflow.errors import Overtaken, StorageError
from tests.support.schedules import Actor, explore

NAMES = ("1_1_1/a", "1_1_1/b")


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def successor(root: Path, names: Sequence[str], ended: list[str]) -> Actor:
    """Closes off A, deletes what it made, and writes anew."""

    def act() -> None:
        Staging(root, "A").close_off()
        own = Staging(root, "B")
        own.make()
        for name in names:
            own.remove(root / name)
        for name in names:
            own.write(root / name, b"new")
        ended.append("B")

    return act


def writer(root: Path, names: Sequence[str]) -> Actor:
    """A worker of A in the middle of a chunk."""

    def act() -> None:
        with suppress(Overtaken):
            for name in names:
                Staging(root, "A").write(root / name, b"old")

    return act


def deleter(root: Path, names: Sequence[str]) -> Actor:
    """A itself in the middle of a restart."""

    def act() -> None:
        with suppress(Overtaken):
            for name in names:
                Staging(root, "A").remove(root / name)

    return act


@pytest.mark.parametrize(
    ("former", "names", "least"),
    [([writer], NAMES, 200), ([deleter], NAMES, 100), ([writer, deleter], NAMES[:1], 500)],
)
def test_nothing_of_a_former_owner_comes_in(
    tmp_path: Path, former: Sequence[Callable[[Path, Sequence[str]], Actor]], names: Sequence[str], least: int
) -> None:
    ended: list[str] = []

    def make(number: int) -> Sequence[Actor]:
        root = tmp_path / str(number)
        Staging(root, "A").make()
        (root / "1_1_1").mkdir()
        (root / NAMES[0]).write_bytes(b"older")
        ended.clear()
        return [*(act(root, names) for act in former), successor(root, names, ended)]

    def judge(number: int) -> None:
        assert ended == ["B"]
        assert contents(tmp_path / str(number)) == dict.fromkeys(names, "new")

    assert explore(make, judge) >= least


def take(folder: Folder) -> Ledger:
    while True:
        with suppress(Held):  # the other has just written
            return Ledger.load(folder).take(heartbeat=1000, lease=0)


def run(folder: Folder, ledger: Callable[[], Ledger], name: str, ended: list[str]) -> Actor:
    """A run up to its first file."""

    def act() -> None:
        with suppress(Overtaken):
            taken = ledger()
            close_off_former(taken)
            make_staging(taken, [folder.url])
            OwnedFolder(folder.url, taken.owner).put("made", name.encode())
            ended.append(name)

    return act


def test_of_two_runs_the_last_that_took_the_ledger_has_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the first has done by then: it may have no staging folder yet, or one that is not recorded."""
    monkeypatch.setattr(Folder, "check_conditional_put", lambda self: None)
    ended: list[str] = []

    def make(number: int) -> Sequence[Actor]:
        ended.clear()
        folder = Folder(str(tmp_path / str(number)))
        first = take(folder)
        return [run(folder, lambda: first, "A", ended), run(folder, lambda: take(folder), "B", ended)]

    def judge(number: int) -> None:
        folder = Folder(str(tmp_path / str(number)))
        assert "B" in ended
        assert folder.get("made") == b"B"
        assert len(Ledger.load(folder).state.staged) == 1

    assert explore(make, judge, ("link", "rename", "replace", "mkdir")) >= 50


def staging_folders(folder: Path) -> list[Path]:
    return list(folder.rglob(".~*"))


def test_a_run_that_cannot_be_opened_leaves_no_staging_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, other, closed = (str(tmp_path / name) for name in ("work", "other", "file/below"))
    (tmp_path / "file").write_text("no folder")
    with Ledger.load(Folder(work)).take() as ledger, pytest.raises(StorageError, match="could not make"):
        make_staging(ledger, [work, other, closed])
    assert not staging_folders(tmp_path)
    with Ledger.load(Folder(work)).take() as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "put_if_absent", refuse)
            with pytest.raises(StorageError, match="no connection"):
                make_staging(ledger, [work, other])
        assert staging_folders(tmp_path)
    assert not staging_folders(tmp_path)


def refuse(folder: Folder, name: str, data: bytes) -> bool:
    raise StorageError("no connection")


def test_a_staging_folder_that_could_not_be_removed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = Staging(tmp_path, "A")
    staging.make()
    with monkeypatch.context() as patch:
        patch.setattr("chunkflow.data.staging._TRIES", 0)
        patch.setattr(shutil, "rmtree", forbid)
        with pytest.raises(StorageError, match=r"could not remove .*: Permission denied"):
            staging.close_off()
    assert staging_folders(tmp_path)
    staging.close_off()
    assert not staging_folders(tmp_path)


def forbid(path: Path, ignore_errors: bool = False) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_where_nothing_can_be_closed_off_former_owners_are_known_until_they_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an object store: also where another run came and went meanwhile."""
    monkeypatch.setattr(ownership, "staging_of", lambda url, owner: None)
    folder = Folder(str(tmp_path))
    killed = take(folder)
    make_staging(killed, [folder.url])
    for _ in range(2):
        with take(folder) as ledger:
            assert close_off_former(ledger)
            make_staging(ledger, [folder.url])
    with take(folder) as ledger:
        assert close_off_former(ledger)
        forget_former(ledger)
    with take(folder) as ledger:
        assert not close_off_former(ledger)
