"""A PostgreSQL server of its own for tests, on 127.0.0.1, and new databases on it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pg8000.dbapi
import pytest

USER, GUARDED = "lab", "guarded"
"""A user who needs no password, and one that a test may make, who does."""
NOBODY = 65534
SECONDS = 60
NewPlace = Callable[[], str]


def binary(name: str) -> str:
    """A program of PostgreSQL, which Debian does not put on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    path = str(found[0]) if found else shutil.which(name)
    assert path, f"{name} is missing: install the package postgresql"
    return path


def as_user(command: list[str]) -> list[str]:
    """A command as a user whom PostgreSQL serves: it refuses root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a server without databases of ours, as postgresql://lab@127.0.0.1:PORT."""
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-postgresql-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    made = [binary("initdb"), "-D", data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run(as_user([*made, "--locale=C"]), check=True, capture_output=True)
    rules = folder / "data" / "pg_hba.conf"
    rules.write_text(f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    command = as_user([binary("postgres"), "-D", data, "-p", str(port), *options])
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("PostgreSQL did not start")
        yield f"postgresql://{USER}@127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=SECONDS)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """One server for all tests of a process."""
    with postgresql() as address:
        yield address


def new_database(address: str) -> str:
    """The URL of a new database on a server."""
    name = f"d{uuid.uuid4().hex}"
    administer(address, f"CREATE DATABASE {name}")
    return f"{address}/{name}"


def administer(address: str, command: str) -> None:
    """Run a command of PostgreSQL on a server."""
    host, port = address.rpartition("@")[2].split(":")
    connection = pg8000.dbapi.connect(USER, host=host, port=int(port), database="postgres")
    connection.autocommit = True
    connection.cursor().execute(command)
    connection.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """Makes a place for a new database, of both kinds in turn."""
    if request.param == "sqlite":
        return lambda: str(tmp_path_factory.mktemp("database") / "people.sqlite")
    server = request.getfixturevalue("postgresql_server")
    return lambda: new_database(server)
