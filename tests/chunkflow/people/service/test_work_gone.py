"""Work folders that change under a running service: made anew, away, brought back from a backup."""

from __future__ import annotations

import http.client
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.review.reviewing import check_review
from chunkflow.people.service.app import LabService
from chunkflow.people.service.catalogue import catalogues
from chunkflow.people.service.catalogue.catalogues import LabCatalogue
from chunkflow.people.service.local.server import LocalServer
from chunkflow.people.service.review import answers
from chunkflow.people.service.review.followers import ANEW, MADE_ANEW
from tests.support.people.reviews import job_to_review
from tests.support.people.service import ask

LINES = 3000
"""Of a stream on which nothing is said but that it is open, ten times a second."""
TABLE = "api/review/cells/classified"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a job whose table can be reviewed."""
    return Path(job_to_review(tmp_path_factory.mktemp("job")))


@pytest.fixture
def database() -> str:
    """The file that has the reviews, in a folder of its own; empty: each work folder has its own."""
    return ""


@pytest.fixture
def server(
    made: Path, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalServer]:
    """The service of a lab in this process, for one person, which looks at its data sets each time."""
    monkeypatch.setattr(catalogues, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(answers, "LOOK_SECONDS", 0.1)
    file = tmp_path / "catalog.yaml"
    file.write_text(json.dumps({"datasets": {"cells": {"work": str(made)}}}))
    accounts = Accounts.open(tmp_path / "accounts.sqlite")
    catalogue = LabCatalogue([str(file)], str(tmp_path / database) if database else "")
    with LocalServer(LabService(catalogue, accounts, "ann"), "token").start() as server:
        yield server
    catalogue.close()
    accounts.close()
    (made / "review.sqlite").unlink(missing_ok=True)


def get(server: LocalServer, path: str) -> Any:
    status, _, content = ask(server, f"{TABLE}/{path}")
    return json.loads(content) if status == 200 else status


def send(server: LocalServer, key: str, object: str, where: str = "", **more: Any) -> tuple[int, Any]:
    """Send the rejection of an object, as a page does."""
    edit = {"key": key, "operation": "reject", "object": object, "seen": None, **more}
    status, _, content = ask(server, f"{TABLE}/edits{where}", "POST", json.dumps(edit).encode())
    return status, json.loads(content or b"null")


def undecided(server: LocalServer) -> str:
    return str(get(server, "next?query=undecided&overlap=1")["object"]["id"])


def test_edits_wait_while_the_work_folder_is_away(server: LocalServer, made: Path) -> None:
    id = undecided(server)
    assert send(server, "before", id)[0] == 200
    away = made.with_name("away")
    made.rename(away)
    try:
        for path in ("table", "next?query=undecided", f"objects/{id}", "near?place=1,1,1"):
            status, _, content = ask(server, f"{TABLE}/{path}")
            assert (status, "No job has run in" in json.loads(content)["error"]) == (503, True), path
        status, answer = send(server, "while", id, seen=1)
        assert (status, "No job has run in" in answer["error"]) == (503, True)
        assert ask(server, "d/cells/state.json")[0] == 503
        assert ask(server, "health")[0] == 200
        assert not made.exists()
    finally:
        away.rename(made)
    status, answer = send(server, "while", id, seen=1, operation="accept", **{"class": "glia"})
    assert (status, answer["edit"]["seq"]) == (200, 2)
    assert check_review(made).faults == ()


def test_an_edit_goes_to_no_file_that_is_there_no_longer(server: LocalServer, made: Path) -> None:
    """The log was brought back from a backup while the service had the former file open."""
    database, backup = made / "review.sqlite", made.with_name("backup.sqlite")
    first, second = undecided(server), ""
    assert send(server, "kept", first)[0] == 200
    with closing(sqlite3.connect(database)) as log, closing(sqlite3.connect(backup)) as copy:
        log.backup(copy)
    second = undecided(server)
    assert send(server, "lost", second)[0] == 200
    for name in ("", "-wal", "-shm"):
        database.with_name(database.name + name).unlink(missing_ok=True)
    backup.rename(database)
    assert get(server, f"objects/{second}")["status"] == ""
    assert get(server, f"objects/{first}")["status"] == "rejected"
    status, answer = send(server, "again", second)
    assert (status, answer["edit"]["seq"]) == (200, 2)
    checked = check_review(made)
    assert (checked.edits, checked.faults) == (2, ())


@pytest.mark.parametrize("database", ["", "lab.sqlite"])
def test_a_page_of_a_table_that_was_made_anew_is_told_and_refused(
    server: LocalServer, made: Path, tmp_path: Path, database: str
) -> None:
    known = get(server, "table")["generation"]
    meant = f"?generation={known}"
    id = undecided(server)
    assert send(server, "before", id, meant)[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/{server.token}/{TABLE}/events{meant}&since=1")
    stream = connection.getresponse()
    shutil.rmtree(made)
    for name in ("dapi", "nuclei", "cells"):
        shutil.rmtree(made.with_name(name))
    assert job_to_review(made.parent, seed=7 if database else 8) == str(made)
    said = b"".join(islice(stream, LINES)).decode()
    assert said.endswith(ANEW)
    connection.close()
    status, answer = send(server, "after", id, meant)
    assert (status, answer) == (409, {"error": MADE_ANEW, "object": None})
    for path in ("table?", "next?query=all&", "near?place=1,1,1&", f"objects/{id}?"):
        assert get(server, f"{path}generation={known}") == 409, path
    assert ask(server, f"{TABLE}/events{meant}")[2].decode() == ANEW
    table = get(server, "table")
    assert (table["generation"] != known, table["seq"], table["counts"]["rejected"]) == (True, 0, 0)
    new = undecided(server)
    assert send(server, "after", new, f"?generation={table['generation']}")[0] == 200
    checked = check_review(made, database=str(tmp_path / database) if database else "")
    assert (checked.edits, checked.faults) == (2 if database else 1, ())
