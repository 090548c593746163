"""The database of a review or a service: SQLite in a file, or PostgreSQL.

1. Writers of SQLite begin with a lock, so that none must begin anew at the end of a transaction; what is
   committed outlasts a cut of power.
2. SQLite's log lies in memory that processes share, which network file systems do not have: a file there is
   refused.
3. Tables are made where they are missing. A database that a later chunkflow has written is refused.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from chunkflow.errors import BadInput, ChunkflowError, StorageError
from chunkflow.extras import missing_package
from chunkflow.people.passwords import postgresql_password

VERSION = 1
LOCK_SECONDS = 10
MOUNTS = Path("/proc/self/mountinfo")
ESCAPED = re.compile(r"\\([0-7]{3})")
"""A blank and its like in the name of a mount point."""
NETWORKED = (
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    *("gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs", "smb3", "smbfs", "wekafs"),
)
MAKING = 7_203_958_114
"""The number of the lock that is held in PostgreSQL while tables are made."""
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""The type of a key of one column: only as INTEGER is it the key by which SQLite stores the rows."""
META = sa.Table(
    "meta", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text)
)

_FOUND_VERSION = sa.select(META.c.value).where(META.c.name == "version")


class Database:
    """A database that any thread may read and write."""

    def __init__(self, engine: sa.Engine, url: str) -> None:
        self.url = url
        """Without a password."""
        self._engine = engine
        self._file: tuple[int, int] | None = None
        """The device and inode of the file of SQLite, which nobody else gets while it is open here."""

    @classmethod
    def open(cls, place: str | Path, mounts: Path = MOUNTS) -> Database:
        """Open a database, by its path (the file is made where there is none) or postgresql://USER@HOST/NAME."""
        text = str(place)
        if text.startswith(("postgresql://", "postgres://")):
            return cls._postgresql(text)
        if "://" in text and not text.startswith(("file://", "sqlite:///")):
            raise BadInput(f"{text} is no database: give the path of a file, or postgresql://USER@HOST/NAME.")
        path = Path(text.removeprefix("sqlite:///").removeprefix("file://")).absolute()
        _refuse_path(path, mounts)
        _refuse_other(path)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": LOCK_SECONDS}
        )
        sa.event.listen(engine, "connect", _set_up)
        sa.event.listen(engine, "begin", _begin)
        opened = cls(engine, str(path))._begun()
        opened._file = _identity(path)
        return opened

    @classmethod
    def _postgresql(cls, text: str) -> Database:
        try:
            url = sa.make_url(text).set(drivername="postgresql+pg8000")
        except sa.exc.ArgumentError:
            raise BadInput(f"{text} is no address of a database: postgresql://USER@HOST/NAME.") from None
        if not (url.username and url.host and url.database):
            raise BadInput(f"{text} lacks a user, a host or a name: postgresql://USER@HOST/NAME.")
        if url.password is None:
            known = postgresql_password(url.host, url.port, url.database, url.username)
            url = url.set(password=known) if known else url
        try:
            engine = sa.create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise missing_package("pg8000", "A database in PostgreSQL") from error
        shown = url.set(drivername="postgresql").render_as_string(hide_password=True)
        return cls(engine, shown)._begun()

    def _begun(self) -> Database:
        """Look at the version, and write it where the database is new."""
        try:
            self.create(META.metadata, _begin_version)
            with self.read() as connection:
                found = connection.execute(_FOUND_VERSION).scalar_one()
            if int(found) > VERSION:
                raise BadInput(
                    f"{self.url} was written by a later chunkflow (its format is {found}, and this one reads "
                    f"up to {VERSION}): install that chunkflow here."
                )
        except BaseException:
            self.close()
            raise
        return self

    def create(
        self, metadata: sa.MetaData, fill: Callable[[sa.Connection], None] = lambda connection: None
    ) -> None:
        """Make those tables that are missing, and let `fill` put into them what must be there from the
        beginning; other processes may do so at the same time."""
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MAKING})"))
            metadata.create_all(connection)
            fill(connection)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        options = {"isolation_level": "REPEATABLE READ"} if self._engine.dialect.name == "postgresql" else {}
        with self._explained(), self._engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction, durable once the block ends, undone where it raises."""
        if self.is_replaced():
            raise StorageError(f"The file {self.url} is gone, or is another now: open it again.")
        engine = self._engine.execution_options(writes=True)
        with self._explained(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise what the database complains of as an error of ours."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._error(error) from error
        except sa.exc.TimeoutError as error:
            raise StorageError(f"The database {self.url} is too busy: try again.") from error

    def _error(self, error: sa.exc.DBAPIError) -> ChunkflowError:
        first = error.orig.args[0] if error.orig and error.orig.args else ""
        said = str(first["M"] if isinstance(first, dict) else first)  # PostgreSQL tells in parts
        if "not a database" in said or "malformed" in said:
            return BadInput(f"{self.url} is no database of chunkflow, or it is damaged: {said}.")
        if "readonly" in said or "unable to open" in said:
            return BadInput(
                f"{self.url} cannot be written: {said}. Mind its folder, which must be writable, too."
            )
        if "is full" in said:
            return StorageError(f"There is no room for {self.url}: {said}. Make room, and try again.")
        if "locked" in said or "busy" in said:
            return StorageError(f"{self.url} is locked by another process: try again.")
        return StorageError(f"The database {self.url} did not do as asked: {said}.")

    def is_replaced(self) -> bool:
        """Whether the file that is open is no longer the one of its name, so that what it takes is lost."""
        return self._file is not None and _identity(Path(self.url)) != self._file

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _begin_version(connection: sa.Connection) -> None:
    if connection.execute(_FOUND_VERSION).scalar() is None:
        connection.execute(META.insert().values(name="version", value=str(VERSION)))


def _identity(path: Path) -> tuple[int, int] | None:
    """By which a file is known, whatever its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions begin as `_begin` says
    for setting in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {LOCK_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _refuse_path(path: Path, mounts: Path) -> None:
    if path.is_dir():
        raise BadInput(f"{path} is a folder: give the path of a file in it.")
    if not path.parent.is_dir():
        raise BadInput(f"There is no folder {path.parent} for the database: make it first.")
    kind = file_system(path.parent, mounts)
    if kind in NETWORKED:
        raise BadInput(
            f"{path} lies on a network file system ({kind}), where SQLite loses data: give the path of a "
            "file on a disk of this machine, or a PostgreSQL database (postgresql://USER@HOST/NAME)."
        )


def _refuse_other(path: Path) -> None:
    """Raise BadInput for the file of another program, which is left as it is."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.OperationalError:  # it is held, or cannot be written beside: said when it is opened
        return
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{path} is no database of chunkflow, or it is damaged: {error}.") from None
    if tables and (META.name,) not in tables:
        raise BadInput(f"{path} is a database of another program: give another file.")


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that a folder lies on; empty where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    place, best, kind = folder.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind
