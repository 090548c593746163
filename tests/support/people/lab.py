"""A lab's service over two data sets, with people of each role, and how to ask it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.reports.report import write_report
from chunkflow.people.service.files.client import client_files
from chunkflow.people.service.lab.serve import LabServing, serve
from tests.support.people.reviews import job_to_review

PEOPLE = {"lena": ("look", "cells"), "rob": ("review", "cells"), "olga": ("own", ""), "sam": ("own", "dapi")}
"""The role of each person, and the data set that it is for; "" is all of them."""
OURS = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Answered:
    """An answer of a service."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.content)


@dataclass
class Lab:
    """A service that runs, its accounts, and everybody's token."""

    service: LabServing
    accounts: Accounts
    tokens: dict[str, str]
    folder: Path

    def ask(
        self,
        path: str,
        person: str = "",
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """Ask as a program of a person, by a token."""
        known = {"Authorization": f"Bearer {self.tokens[person]}"} if person else {}
        return ask_at(self.service.url, path, method, body, known | (headers or {}))

    def log_in(self, person: str, then: str = "/") -> str:
        """Log a person in as a browser does; the cookie."""
        form = urlencode({"token": self.tokens[person], "next": then}).encode()
        answer = self.ask("/login", method="POST", body=form, headers=OURS)
        assert answer.status == 303, answer
        return answer.headers["set-cookie"].split(";")[0]

    def client_file(self) -> str:
        """The name of a script of the client."""
        return client_files().scripts[0]

    def object_id(self) -> str:
        """The id of an object of the table that is reviewed."""
        found = self.ask("/api/review/cells/classified/next?query=undecided", "rob")
        return str(found.document["object"]["id"])


def ask_at(url: str, path: str, method: str, body: bytes | None, headers: dict[str, str]) -> Answered:
    """Ask a service at an address."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    connection.request(method, place.path.rstrip("/") + path, body, headers)
    answer = connection.getresponse()
    content = b"" if answer.getheader("content-type", "").startswith("text/event-stream") else answer.read()
    connection.close()
    return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)


def catalogued(folder: Path) -> Path:
    """A catalogue file with a job whose objects can be reviewed, and a layer."""
    if not (folder / "work").exists():
        write_report(f"file://{job_to_review(folder)}")
    file = folder / "catalog.yaml"
    datasets = {"cells": {"work": "work", "title": "Cells <of> rat 7"}, "dapi": {"layer": "dapi"}}
    file.write_text(json.dumps({"datasets": datasets}))
    return file


@contextmanager
def lab_service(folder: Path, database: str = "", processes: int = 1) -> Iterator[Lab]:
    """A service with accounts, from an empty database."""
    place = database or str(folder / "lab.sqlite")
    accounts = Accounts.open(place)
    tokens = {name: accounts.add(name, role, dataset) or "" for name, (role, dataset) in PEOPLE.items()}
    with serve(
        catalogued(folder),
        port=0,
        database=place,
        processes=processes,
        proxies=["127.0.0.0/30"],
        user_header="X-Forwarded-User",
        origins=["https://pages.example"],
    ) as service:
        yield Lab(service, accounts, tokens, folder)
    accounts.close()
