"""The configuration of nginx that docs/serve.md gives, as HAProxy's."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.support.people.backend import END, PINGS
from tests.support.people.nginx import behind_nginx, checked, write_nginx

EDIT = "/api/review/rat/cells/edits"


def test_nginx_takes_the_documented_configuration(tmp_path: Path) -> None:
    said = checked(write_nginx(tmp_path, {"listen 443 ssl": "listen 127.0.0.1:8443 ssl"}))
    assert said.returncode == 0, said.stderr
    assert "warn" not in said.stderr


def test_it_lets_through_what_haproxy_does(tmp_path: Path) -> None:
    forged = ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups"]
    forged += ["X-Auth-Request-User", "X-Auth-Request-Email", "Remote-User", "X_Forwarded_User"]
    said = dict.fromkeys(forged, "owner") | {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https"}
    with behind_nginx(tmp_path) as lab:
        headers = json.loads(lab.ask("/echo", headers=said | {"Cookie": "chunkflow=abc"})[2])["headers"]
        assert "owner" not in headers.values()
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert (headers["cookie"], headers["host"]) == ("chunkflow=abc", f"127.0.0.1:{lab.port}")
        assert {status for status, _, _ in lab.ask_all("/d/rat/data/dapi/0", 400)} == {200}
        assert {status for status, _, _ in lab.ask_all("/login", 60)} == {200}
        logins = [status for status, _, _ in lab.ask_all("/login", 60, "POST")]
        assert (set(logins[:20]), logins[-1]) == ({200}, 429)
        assert lab.ask("/%6cogin", "POST")[0] == 429
        edits = [status for status, _, _ in lab.ask_all(EDIT, 900, "POST")]
        assert set(edits[:300]) == {200}
        assert 429 in edits[300:]
        before = len(lab.arrived())
        assert lab.ask("/api/die", "POST")[0] == 502
        assert len(lab.arrived()) == before + 1  # and is not repeated


def test_events_come_as_they_are_sent(tmp_path: Path) -> None:
    with behind_nginx(tmp_path) as lab:
        connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=60)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        first = answer.read1(100)
        assert END not in first
        assert first + answer.read() == b":\n\n" * PINGS + END
        connection.close()
