"""How people and programs are known: tokens, cookies, login proxies; what is refused, and written down."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chunkflow.people.service.lab.proxies import BehindProxies
from tests.support.people.lab import OURS, Lab, ask_at

pytestmark = pytest.mark.xdist_group("lab")

PAGE = {"Accept": "text/html"}
VIEW = json.dumps({"layers": []}).encode()


def actions(lab: Lab, person: str) -> list[str]:
    return [f"{line.action} {line.subject}".strip() for line in lab.accounts.audit() if line.person == person]


def test_a_browser_is_led_to_the_login_and_back(lab: Lab) -> None:
    answer = lab.ask("/d/cells/v/viewer/?link=a&b", headers=PAGE)
    assert (answer.status, answer.headers["location"]) == (
        303,
        "/login?next=%2Fd%2Fcells%2Fv%2Fviewer%2F%3Flink%3Da%26b",
    )
    page = lab.ask(answer.headers["location"]).content.decode()
    assert 'value="/d/cells/v/viewer/?link=a&amp;b"' in page
    form = f"token={lab.tokens['rob']}&next=/d/cells/v/viewer/".encode()
    answer = lab.ask("/login", method="POST", body=form, headers=OURS)
    assert (answer.status, answer.headers["location"]) == (303, "/d/cells/v/viewer/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("chunkflow=")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=2592000"))
    assert lab.tokens["rob"] not in cookie
    answer = lab.ask("/", headers={"Cookie": cookie.split(";")[0]})
    assert answer.status == 200
    assert b"Cells &lt;of&gt; rat 7" in answer.content
    assert b"dapi/v/viewer" not in answer.content  # rob has no role there


@pytest.mark.parametrize(
    "place", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1", "/a\nb"]
)
def test_the_login_leads_nowhere_else(lab: Lab, place: str) -> None:
    answer = lab.ask(f"/login?next={place}".replace("\n", "%0a"))
    assert b'name="next" value="/"' in answer.content


def test_a_session_ends_when_it_is_ended_and_when_the_account_is_revoked(lab: Lab) -> None:
    cookie = {"Cookie": lab.log_in("rob")}
    other = {"Cookie": lab.log_in("rob")}
    assert lab.ask("/", headers=cookie).status == 200
    assert lab.ask("/logout", method="POST", headers=cookie | OURS).status == 303
    assert lab.ask("/", headers=cookie).status == 401
    assert lab.ask("/", headers=other).status == 200
    token = lab.accounts.add("gone", "look")
    gone = {"Authorization": f"Bearer {token}"}
    lab.accounts.revoke("gone")
    assert lab.ask("/", headers=gone).status == 401
    assert [action for action in actions(lab, "rob") if "log" in action][-3:] == ["login", "login", "logout"]


@pytest.mark.parametrize("secret", ["", "a", "0" * 64, "\xff" * 64, "a" * 5000, "'; DROP TABLE accounts; --"])
def test_garbage_is_nobody(lab: Lab, secret: str) -> None:
    assert lab.ask("/", headers={"Authorization": f"Bearer {secret}"}).status == 401
    assert lab.ask("/", headers={"Cookie": f"chunkflow={secret}"}).status == 401
    assert lab.ask("/login", method="POST", body=f"token={secret}".encode(), headers=OURS).status == 403


def test_a_token_in_the_query_is_not_looked_at(lab: Lab) -> None:
    for name in ("token", "access_token", "authorization"):
        assert lab.ask(f"/?{name}={lab.tokens['olga']}").status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "OURS"}, 403),
        ({"Origin": "OURS"}, 204),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_what_comes_with_a_cookie_must_come_from_a_page_of_ours(
    lab: Lab, headers: dict[str, str], status: int
) -> None:
    ours = lab.service.url.rstrip("/")
    sent = {name: value.replace("OURS", ours) for name, value in headers.items()}
    answer = lab.ask("/d/cells/view", method="PUT", body=VIEW, headers={"Cookie": lab.log_in("lena")} | sent)
    assert answer.status == status
    assert (
        lab.ask("/d/cells/view", "lena", "PUT", VIEW, headers={"Sec-Fetch-Site": "cross-site"}).status == 204
    )


def test_a_proxy_vouches_from_its_own_address_alone(lab: Lab) -> None:
    vouched = {"X-Forwarded-User": "lena"}
    assert lab.ask("/", headers=vouched).status == 200
    assert lab.ask("/", headers={"X-Forwarded-User": "nobody"}).status == 401
    assert lab.ask("/", headers={"X-Auth-Request-User": "lena"}).status == 401
    put = {"method": "PUT", "body": VIEW}
    assert lab.ask("/d/cells/view", headers=vouched, **put).status == 403
    assert lab.ask("/d/cells/view", headers=vouched | OURS, **put).status == 204


def test_a_proxy_that_forwards_vouches_for_nobody() -> None:
    """Whoever is on the machine of HAProxy can reach the ports behind it, too."""
    seen: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["scheme"], scope["client"][0], scope.get("state", {}).get("vouched")))

    behind = BehindProxies(inside, ["10.0.0.5"], "X-Forwarded-User", ["127.0.0.1"])
    headers = {"x-forwarded-user": "olga", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    for address in ("127.0.0.1", "10.0.0.5", "10.0.0.6"):
        scope = {"type": "http", "scheme": "http", "client": (address, 9), "headers": sent}
        asyncio.run(behind(scope, None, None))  # type: ignore[arg-type]
    assert seen == [
        ("https", "203.0.113.9", None),
        ("https", "203.0.113.9", "olga"),
        ("http", "10.0.0.6", None),
    ]


def test_over_https_the_cookie_is_for_this_host_alone(lab: Lab) -> None:
    secure = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    form = f"token={lab.tokens['rob']}".encode()
    cookie = lab.ask("/login", method="POST", body=form, headers=OURS | secure).headers["set-cookie"]
    assert cookie.startswith("__Host-chunkflow=")
    assert "Secure" in cookie
    assert lab.ask("/", headers={"Cookie": cookie.split(";")[0]} | secure).status == 200
    assert lab.ask("/", headers={"Cookie": cookie.split(";")[0]}).status == 401
    assert lab.accounts.audit()[-1].origin == "203.0.113.9"


def test_scripts_of_named_pages_may_ask_with_a_token(lab: Lab) -> None:
    there, elsewhere = {"Origin": "https://pages.example"}, {"Origin": "https://evil.example"}
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = lab.ask("/d/cells/state.json", method="OPTIONS", headers=there | asks)
    assert answer.headers["access-control-allow-origin"] == "https://pages.example"
    assert "access-control-allow-credentials" not in answer.headers
    answer = lab.ask("/d/cells/state.json", method="OPTIONS", headers=elsewhere | asks)
    assert "access-control-allow-origin" not in answer.headers
    answer = lab.ask("/d/cells/state.json", "lena", headers=there)
    assert answer.headers["access-control-allow-origin"] == "https://pages.example"
    assert (
        "access-control-allow-origin" not in lab.ask("/d/cells/state.json", "lena", headers=elsewhere).headers
    )


def test_a_forged_host_reaches_no_page(lab: Lab) -> None:
    answer = lab.ask("/d/cells/state.json", "lena", headers={"Host": "evil.example/<script>"})
    assert b"evil" not in answer.content
    assert lab.ask("/", "lena", headers={"Host": "evil.example"}).content.count(b"evil") == 0


def test_pages_say_what_may_run_in_them(lab: Lab) -> None:
    policies = {
        place: lab.ask(place, "rob").headers["content-security-policy"]
        for place in ("/", "/login", "/d/cells/v/viewer/", "/d/cells/report/report.html")
    }
    for place in ("/", "/login"):
        assert "'unsafe" not in policies[place]
        assert "default-src 'none'" in policies[place]
    assert "script-src 'self' 'unsafe-eval'" in policies["/d/cells/v/viewer/"]
    assert policies["/d/cells/report/report.html"].endswith("sandbox allow-downloads")


def test_what_people_do_is_written_down(lab: Lab) -> None:
    lab.ask("/d/dapi/state.json", "rob")
    lab.ask("/metrics", "rob")
    lab.ask("/d/cells/tables/classified.csv", "rob")
    id = lab.object_id()
    edit = {"key": f"audit-{id}", "operation": "reject", "object": id, "seen": None}
    answer = lab.ask("/api/review/cells/classified/edits", "rob", "POST", json.dumps(edit).encode())
    assert answer.status == 200, answer
    seq = answer.document["edit"]["seq"]
    assert actions(lab, "rob")[-4:] == [
        "refused GET /d/dapi/state.json",
        "refused GET /metrics",
        "export cells/classified",
        f"edit reject {id} of cells/classified, edit {seq}",
    ]
    lab.ask("/login", method="POST", body=b"token=0123", headers=OURS)
    assert actions(lab, "")[-1] == "login refused"


def test_another_data_set_hides_its_objects(lab: Lab) -> None:
    id, url = lab.object_id(), lab.service.url
    sam = {"Authorization": f"Bearer {lab.tokens['sam']}"}
    for place in ("cells/classified", "dapi/classified", "cells/nothing", "nothing/classified"):
        answer = ask_at(url, f"/api/review/{place}/objects/{id}", "GET", None, sam)
        assert answer.status == 404, place
