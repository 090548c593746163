"""Files on a file system that are seen whole or not at all.

A write goes in four steps:
1. the bytes go into a temporary file in the same folder (so that the rename cannot cross a file system);
2. the file is renamed over the old one, which a reader sees before or after, never in between;
3. twins, the same file under the name of another compression, are removed, as readers may prefer them;
4. if any of this fails (a full disk, an interrupt), the temporary file is removed and the error goes up.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cloudfiles.interfaces import FileInterface

from chunkflow.errors import BadInput

COMPRESSIONS = (".gz", ".br", ".zstd", ".xz", ".bz2")
_TEMPORARY = re.compile(r"^\.~.*\.tmp$")
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
    """Make a file, whole and on disk, only if none has its name; say whether this call made it."""
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
    return made


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise BadInput for a file or folder that is there and may not be replaced."""
    if path.exists() and not overwrite:
        raise BadInput(f"{path} exists already: name another, or allow it to be replaced (overwrite).")


def twins_of(path: Path, compression: str = "") -> list[Path]:
    """The names under which other compressions of the file `path` (without its ending) would lie."""
    return [path.with_name(path.name + ending) for ending in ("", *COMPRESSIONS) if ending != compression]


def _put_file(
    self: Any,
    file_path: str,
    content: Any,
    content_type: str | None,
    compress: str | bool | None,
    cache_control: str | None = None,
    storage_class: str | None = None,
) -> None:
    """Takes the place of FileInterface.put_file, with its signature; the names are chosen as it does."""
    plain = Path(self.get_path_to_file(file_path))
    ending = self.get_extension(compress)
    if ending and plain.suffix == ending:
        plain = plain.with_suffix("")
    target = plain.with_name(plain.name + ending)
    data = content.encode("utf-8") if isinstance(content, str) else content
    self.io_with_lock(
        lambda: write_whole(target, data, twins_of(plain, ending)),
        self.get_path_to_file(file_path),
        exclusive=True,
    )


def make_file_writes_atomic() -> None:
    """Let all that CloudVolume and CloudFiles write on file:// in this process be atomic.

    Their own way opens the file and writes in place: under a reader, or a kill, it is seen half written.
    Calling this again changes nothing.
    """
    if FileInterface.put_file is not _put_file:
        FileInterface.put_file = _put_file
