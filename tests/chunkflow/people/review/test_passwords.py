"""Passwords of PostgreSQL, which stand on no command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.errors import StorageError
from chunkflow.people.database import Database
from chunkflow.people.passwords import postgresql_password
from tests.support.people.databases import GUARDED, USER, administer, new_database

LINES = """# host:port:database:user:password
other:*:*:*:no
db:5433:*:ann:of another port
db:*:lab:ann:a\\:b\\\\c
too:short
*:*:*:*:any
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of passwords, of which the environment tells."""
    path = tmp_path / "pgpass"
    path.write_text(LINES)
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    return path


def test_the_first_line_that_fits_has_the_password(file: Path) -> None:
    assert postgresql_password("db", None, "lab", "ann") == "a:b\\c"
    assert postgresql_password("db", 5433, "lab", "ann") == "of another port"
    assert postgresql_password("db", None, "lab", "bo") == "any"
    file.write_text(LINES.replace("*:*:*:*:any", ""))
    assert postgresql_password("db", None, "lab", "bo") is None


def test_the_environment_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "here")
    assert postgresql_password("db", None, "lab", "ann") == "here"


def test_a_file_that_others_may_read_is_left_alone(file: Path) -> None:
    file.chmod(0o640)
    assert postgresql_password("db", None, "lab", "ann") is None
    file.unlink()
    assert postgresql_password("db", None, "lab", "ann") is None


@pytest.mark.xdist_group("postgresql")
def test_a_database_opens_with_the_password_of_the_file(postgresql_server: str, file: Path) -> None:
    administer(postgresql_server, f"CREATE ROLE {GUARDED} LOGIN SUPERUSER PASSWORD 'it''s: secret'")
    place = new_database(postgresql_server).replace(f"{USER}@", f"{GUARDED}@")
    file.write_text("*:*:*:*:wrong\n")
    with pytest.raises(StorageError, match="password authentication failed"):
        Database.open(place)
    file.write_text(f"127.0.0.1:*:*:{GUARDED}:it's\\: secret\n")
    opened = Database.open(place)
    assert "secret" not in opened.url
    opened.close()
