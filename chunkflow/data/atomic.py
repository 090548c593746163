"""Files on a file system that are seen whole or not at all, and that outlast a cut of power.

A write goes in four steps:
1. the bytes go into a temporary file in the same folder (so that the rename cannot cross a file system);
2. the file is renamed over the old one, which a reader sees before or after, never in between;
3. twins, the same file under the name of another compression, are removed, as readers may prefer them;
4. if any of this fails (a full disk, an interrupt), the temporary file is removed and the error goes up.

After a cut of power a file that was only renamed may be empty. `make_durable` puts files, and the folders
that name them, onto the disk.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chunkflow.errors import BadInput

COMPRESSIONS = (".gz", ".br", ".zstd", ".xz", ".bz2")
_TEMPORARY = re.compile(r"^\.~.*\.tmp$")
SYNCS_AT_ONCE = 8
FEW_SYNCS = 4
"""Up to so many are quicker one after another than with threads of their own."""
_STALE_SECONDS = 600.0  # no single file takes this long: whoever began it was killed


def is_temporary(name: str) -> bool:
    """Whether this is the name of a file being written, which is no data."""
    return _TEMPORARY.match(os.path.basename(name)) is not None


def _open_temporary(target: Path) -> tuple[int, Path]:
    """Open a temporary file beside `target`; one that a killed writer left behind is removed first.

    The first name tried follows from the target's, so that the next writer meets what the last one left
    without listing a folder of a million files.
    """
    temporary = target.with_name(f".~{target.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for _ in range(3):
        try:
            return os.open(temporary, flags, 0o666), temporary
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            _remove_stale(temporary)
            temporary = target.with_name(f".~{target.name}.{secrets.token_hex(6)}.tmp")
    return os.open(temporary, flags, 0o666), temporary


def _remove_stale(temporary: Path) -> None:
    try:
        if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
            temporary.unlink()
    except FileNotFoundError:
        pass  # its writer has just finished


def _with_temporary(
    target: Path, data: bytes | IO[bytes], durable: bool, place: Callable[[Path], None]
) -> None:
    handle, temporary = _open_temporary(target)
    try:
        with os.fdopen(handle, "wb") as file:
            if hasattr(data, "read"):
                shutil.copyfileobj(data, file)
            else:
                file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        place(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes | IO[bytes], twins: Iterable[Path] = ()) -> None:
    """Write or replace a file atomically, then remove its twins."""
    _with_temporary(path, data, False, lambda temporary: os.replace(temporary, path))
    for twin in twins:
        if os.path.lexists(twin):  # to ask is cheap; to unlink in vain locks the folder for all writers
            twin.unlink(missing_ok=True)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` for whoever writes by a name; in the end it is a file, which takes the
    place of `path`. Nothing is left of it if that fails."""
    temporary = path.with_name(f".~{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def create_once(path: Path, data: bytes) -> bool:
    """Make a file, whole and durable, only if none has its name; say whether this call made it."""
    made = False

    def place(temporary: Path) -> None:
        nonlocal made
        try:
            os.link(temporary, path)
            made = True
        except FileExistsError:
            # NFS may lose the answer to a link that was made and refuse the repeated call: the count tells.
            made = temporary.stat().st_nlink == 2
        temporary.unlink(missing_ok=True)

    _with_temporary(path, data, True, place)
    if made:
        _sync(path.parent)
    return made


def make_durable(paths: Iterable[Path]) -> None:
    """Put files that were written whole onto the disk, and of folders the names that they hold. Where one
    fails, the OSError names it.

    Many at a time, as a file system commits together what is asked for together. (One syncfs was quicker
    where nobody else writes; it waits for all that others write, too.)
    """
    asked = list(paths)
    if len(asked) <= FEW_SYNCS:
        for path in asked:
            _sync_by_name(path)
        return
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync_by_name, asked))


def _sync_by_name(path: Path) -> None:
    try:
        _sync(path)
    except OSError as error:
        error.filename = str(path)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise BadInput for a file or folder that is there and may not be replaced."""
    if path.exists() and not overwrite:
        raise BadInput(f"{path} exists already: name another, or allow it to be replaced (overwrite).")


def refuse_model(to: Path, ending: str, overwrite: bool) -> None:
    """Raise BadInput where a trained model cannot be written to a file, whose name ends so."""
    if to.suffix != ending:
        raise BadInput(f"{to} must end in {ending}, as in cells{ending}.")
    if not to.resolve().parent.is_dir():
        raise BadInput(f"There is no folder {to.resolve().parent} to write {to.name} into.")
    refuse_existing(to, overwrite)


def twins_of(path: Path) -> list[Path]:
    """The names under which a file would lie if it were compressed."""
    return [path.with_name(path.name + ending) for ending in COMPRESSIONS]
