"""A folder and a token that no other user of a machine may open.

Ray opens its own folder, and all below, to everybody, and whoever writes there has their code run by the next
worker. So its folder lies in one that is closed.
"""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ray._private.utils import validate_socket_filepath
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

from chunkflow.errors import BadInput

_OTHERS, _OTHERS_WRITE = 0o077, 0o022


def closed_folder() -> Path:
    """A folder of this machine that its user alone may enter; its name is short, as sockets lie below it."""
    within = Path(os.environ.get("RAY_TMPDIR") or _temporary()).absolute()
    folder = within / f"cf-u{os.getuid()}"
    _refuse_long(folder)
    try:
        within.mkdir(parents=True, exist_ok=True)
        _refuse_replaceable(within)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise BadInput(
            f"Ray's folder {folder} cannot be made ({error.strerror}): name another place in RAY_TMPDIR."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & _OTHERS:
        raise BadInput(
            f"{folder} is not a folder of this user alone, and Ray's would lie in it: remove it, or name "
            "another place in RAY_TMPDIR."
        )
    return folder


def _temporary() -> str:
    """Where Ray itself looks: of a Mac's own temporary folders the names are too long."""
    return "/tmp" if sys.platform == "darwin" else tempfile.gettempdir()


def _refuse_long(folder: Path) -> None:
    """Raise BadInput where the system would not take the names of Ray's sockets."""
    moment = "2026-01-01_00-00-00_000000"
    try:
        validate_socket_filepath(f"{folder}/ray/session_{moment}_{os.getpid()}/sockets/plasma_store")
    except OSError as error:
        raise BadInput(
            f"{folder.parent} is too long a name for Ray's sockets to lie below it: name a shorter place in "
            "TMPDIR or RAY_TMPDIR, as /tmp."
        ) from error


def _refuse_replaceable(within: Path) -> None:
    """Raise BadInput where others could remove a folder that was made here, and lay one of their own."""
    found = within.stat()
    roots = {0, os.stat("/dev/null").st_uid}  # in a container root may go by another number
    if found.st_uid not in {os.getuid(), *roots}:
        raise BadInput(
            f"{within} is another user's, who may replace Ray's folder in it: name another place in "
            "RAY_TMPDIR."
        )
    theirs = found.st_mode & _OTHERS_WRITE
    if theirs == stat.S_IWGRP and _is_own_group(found.st_gid):
        theirs = 0
    if theirs and not found.st_mode & stat.S_ISVTX:
        raise BadInput(
            f"In {within} other users may replace Ray's folder: name another place in RAY_TMPDIR, or run "
            f"chmod +t {within}."
        )


def _is_own_group(group: int) -> bool:
    """Whether this is the group that many systems make for each user, with no one else in it."""
    try:
        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return (group, found.gr_name) == (user.pw_gid, user.pw_name) and set(found.gr_mem) <= {user.pw_name}


def write_token(path: Path) -> None:
    """Write a new token where there is no file; from its first byte on its owner alone can read it."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def keep_token() -> None:
    """Make the token with which Ray starts on this machine, where there is none, as one that Ray makes itself
    is for all to read; one that it has left is closed."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"  # where Ray looks for it
    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path)
        loader.reset_cache()
    elif path.is_file() and path.stat().st_uid == os.getuid():
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS)


def _write_once(path: Path) -> None:
    """Seen whole or not at all: of processes that start together all take the first one's."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as own:
        new = Path(own) / path.name
        write_token(new)
        with suppress(FileExistsError):
            os.link(new, path)
