"""Who may do what: each address, each method and each role has a line here, and is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Role
from chunkflow.people.service.app import LabService
from chunkflow.people.service.catalogue.catalogues import LabCatalogue
from tests.support.commands import ROOT
from tests.support.people.lab import PEOPLE, Lab

pytestmark = pytest.mark.xdist_group("lab")

VIEW = json.dumps({"layers": []}).encode()
EDIT = json.dumps({"key": "rights", "operation": "nonsense"}).encode()
LOOK, REVIEW, OWN = Role.LOOK, Role.REVIEW, Role.OWN
DOCUMENTED = re.compile(r"^\| ([A-Z]+) \| `(\S+)` \| (\S+) \| .* \| ([\d, ]+) \|$", re.M)
"""A line of the table of addresses: method, address, role, statuses."""
TABLE = "/api/review/{dataset}/{table}"
LINES: dict[tuple[str, str], tuple[Role | None, str, bytes | None, int]] = {
    ("GET", "/"): (LOOK, "/", None, 200),
    ("GET", "/d/{dataset}/"): (LOOK, "/d/cells/", None, 302),
    ("GET", "/d/{dataset}/v/{view}/"): (LOOK, "/d/cells/v/viewer/", None, 200),
    ("GET", "/d/{dataset}/events/{view}"): (LOOK, "/d/cells/events/viewer", None, 200),
    ("GET", "/d/{dataset}/state.json"): (LOOK, "/d/cells/state.json", None, 200),
    ("GET", "/d/{dataset}/data/{layer}/{path:path}"): (LOOK, "/d/cells/data/dapi/info", None, 200),
    ("GET", "/d/{dataset}/thumbnail.png"): (LOOK, "/d/cells/thumbnail.png", None, 200),
    ("GET", "/d/{dataset}/tables/{table}.csv"): (LOOK, "/d/cells/tables/classified.csv", None, 200),
    ("GET", "/d/{dataset}/report/{path:path}"): (LOOK, "/d/cells/report/report.html", None, 200),
    ("PUT", "/d/{dataset}/view"): (LOOK, "/d/cells/view", VIEW, 204),
    ("POST", "/d/{dataset}/links"): (LOOK, "/d/cells/links", VIEW, 200),
    ("GET", "/s/{id}"): (LOOK, "/s/LINK", None, 302),
    ("GET", "/d/{dataset}/review/{table}"): (REVIEW, "/d/cells/review/classified", None, 302),
    ("GET", "/d/{dataset}/review/{table}/state.json"): (
        REVIEW,
        "/d/cells/review/classified/state.json",
        None,
        200,
    ),
    ("GET", "/d/{dataset}/review/{table}/events/{view}"): (
        REVIEW,
        "/d/cells/review/classified/events/r",
        None,
        200,
    ),
    ("GET", "/d/{dataset}/review/{table}/v/{view}/"): (
        REVIEW,
        "/d/cells/review/classified/v/review/",
        None,
        200,
    ),
    ("GET", f"{TABLE}/table"): (REVIEW, "/api/review/cells/classified/table", None, 200),
    ("GET", f"{TABLE}/objects/{{id}}"): (REVIEW, "/api/review/cells/classified/objects/OBJECT", None, 200),
    ("GET", f"{TABLE}/next"): (REVIEW, "/api/review/cells/classified/next?query=all", None, 200),
    ("GET", f"{TABLE}/near"): (REVIEW, "/api/review/cells/classified/near?place=1,2,3", None, 200),
    ("GET", f"{TABLE}/regions"): (REVIEW, "/api/review/cells/classified/regions", None, 200),
    ("GET", f"{TABLE}/features"): (REVIEW, "/api/review/cells/classified/features", None, 200),
    ("GET", f"{TABLE}/events"): (REVIEW, "/api/review/cells/classified/events", None, 200),
    ("POST", f"{TABLE}/edits"): (REVIEW, "/api/review/cells/classified/edits", EDIT, 400),
    ("PUT", f"{TABLE}/lists/{{name}}"): (REVIEW, "/api/review/cells/classified/lists/mine", b"[]", 204),
    ("GET", f"{TABLE}/points/{{version}}/{{path:path}}"): (
        REVIEW,
        "/api/review/cells/classified/points/other/info",
        None,
        404,
    ),
    ("GET", "/client/{file}"): (None, "/client/CLIENT", None, 200),
    ("GET", "/static/{file}"): (None, "/static/service.css", None, 200),
    ("GET", "/health"): (None, "/health", None, 200),
    ("GET", "/metrics"): (OWN, "/metrics", None, 200),
    ("GET", "/login"): (None, "/login", None, 200),
    ("POST", "/login"): (None, "/login", b"token=nonsense", 403),
    ("POST", "/logout"): (None, "/logout", None, 403),
}
"""The role that each method of each address needs (None: nobody needs one), how it is asked, and what those
get who may: a login is refused here, as it comes from no page of ours, and the edit is none."""


def test_each_address_has_a_line(tmp_path: Path, lab: Lab) -> None:
    accounts = Accounts.open(tmp_path / "accounts.sqlite")
    service = LabService(LabCatalogue([str(lab.folder / "catalog.yaml")]), accounts)
    there = {(method, one.path) for one in service.addresses() for method in one.methods if method != "HEAD"}
    accounts.close()
    assert there == set(LINES)


def test_the_documentation_has_each_address_with_its_role_and_answer() -> None:
    text = (ROOT / "docs" / "service-api.md").read_text("utf-8")
    lines = DOCUMENTED.findall(text)
    roles = {(method, path): "" if role == "–" else role for method, path, role, _ in lines}
    assert roles == {
        (method, path.replace(":path", "")): str(needs) if needs else ""
        for (method, path), (needs, *_) in LINES.items()
    }
    statuses = {(method, path): said.split(", ") for method, path, _, said in lines}
    assert [
        (method, path, status)
        for (method, path), (*_, status) in LINES.items()
        if str(status) not in statuses[method, path.replace(":path", "")]
    ] == []
    assert len(lines) == len(LINES)


@pytest.mark.parametrize(("method", "path"), sorted(LINES))
def test_only_those_who_may_get_an_answer(lab: Lab, method: str, path: str) -> None:
    needs, place, body, status = LINES[method, path]
    place = place.replace("OBJECT", lab.object_id()).replace("CLIENT", lab.client_file())
    if "LINK" in place:
        place = place.replace("LINK", lab.ask("/d/cells/links", "lena", "POST", VIEW).document["id"])
    for person in ("", *PEOPLE):
        role, dataset = PEOPLE.get(person, ("", ""))
        here = not dataset or dataset == "cells"
        of_all = path == "/metrics"
        enough = bool(role) and needs is not None and Role.named(role) >= needs
        allowed = needs is None or (enough and (not dataset if of_all else here or path == "/"))
        answer = lab.ask(place, person, method, body)
        if allowed:
            assert answer.status == status, (person, answer)
        else:
            assert answer.status == (401 if not person else 403 if here or of_all else 404), (person, answer)
            assert not answer.content, (person, answer)


@pytest.mark.parametrize(("method", "path"), sorted(LINES))
def test_other_methods_are_refused(lab: Lab, method: str, path: str) -> None:
    there = {other for other, one in LINES if one == path} | {"HEAD"}
    place = LINES[method, path][1]
    for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - there:
        assert lab.ask(place, "olga", other).status == 405, other
