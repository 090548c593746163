"""The server for one person: its token, its port, its pages, and nothing but the layers it was given."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import struct
from pathlib import Path

import pytest
import uvloop

from chunkflow.errors import BadInput
from chunkflow.people.service.lab import metrics
from chunkflow.people.service.local.server import LocalServer, accepting, listening
from chunkflow.people.service.local.token import token_of
from testbed.people.streams import EventStreams
from tests.support.people.service import ask, folder_server


@pytest.mark.parametrize(
    "path",
    [
        "d/set/data/a%20b/../secret",
        "d/set/data/a%20b/%2e%2e/secret",
        "d/set/data/a%20b/..%2fsecret",
        "d/set/data/a%20b/../layer-two/secret",
        "d/set/data/a%20b/sub/../../secret",
        "d/set/data/a%20b//etc/passwd",
        "d/set/data/a%20b/sub",
        "d/set/data/a%20b/",
        "d/set/data/other/info",
        "d/other/data/a%20b/info",
        "d/set/data/",
        "d/",
        "client/../static/__init__.py",
        "client/%2e%2e%2f__init__.py",
        "client/index.html",
        "static/%2e%2e%2f__init__.py",
        "static/../app.py",
        "",
    ],
)
def test_nothing_else_can_be_reached(server: LocalServer, path: str) -> None:
    status, _, content = ask(server, path)
    assert status == (302 if path == "" else 404)
    assert content == b""


def test_without_the_token_there_is_nothing(server: LocalServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for path in ("/", "/d/set/data/a%20b/info", "/wrong/d/set/data/a%20b/info", "/w%C3%B6/state.json"):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def test_the_page_is_the_client_and_the_state_follows_the_port_that_the_browser_uses(
    server: LocalServer,
) -> None:
    status, headers, _ = ask(server, "")
    assert (status, headers["location"]) == (302, "/token/d/set/v/viewer/")
    status, headers, _ = ask(server, "d/set/")
    assert (status, headers["location"]) == (302, "/token/d/set/v/viewer/")
    state = json.loads(ask(server, "d/set/state.json", Host="localhost:9999")[2])
    assert state == {"base": "http://localhost:9999/token/d/set"}
    status, headers, content = ask(server, "d/set/v/viewer/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self' 'unsafe-eval';" in headers["content-security-policy"]
    for script in re.findall(r'(?:src|href)="/token/([^"]+)"', content.decode()):
        status, headers, content = ask(server, script)
        assert status == 200
        assert headers["content-type"] in ("application/javascript", "text/css")
        assert ("immutable" in headers["cache-control"]) == script.startswith("client/")


def test_a_host_that_is_no_host_is_not_repeated(server: LocalServer) -> None:
    for host in ('evil"/><x', "a b", "x@y", "[::1"):
        state = json.loads(ask(server, "d/set/state.json", Host=host)[2])
        assert state == {"base": f"http://127.0.0.1:{server.port}/token/d/set"}


def test_other_methods_are_refused_and_preflights_answered(server: LocalServer) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(server, "d/set/data/a%20b/info", method)[0] == 405
    status, headers, _ = ask(server, "d/set/data/a%20b/info", "OPTIONS")
    assert (status, headers["access-control-allow-private-network"]) == (204, "true")


def test_the_stream_that_the_client_wants_ends_with_the_server(folder: Path) -> None:
    with folder_server({"a": str(folder)}).start() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/token/d/set/events/viewer?c=x&gc=")
        answer = connection.getresponse()
        assert answer.getheader("content-type", "").startswith("text/event-stream")
        assert answer.readline() == b":\n"
    assert answer.read() == b"\n"
    connection.close()


def test_the_token_is_this_users_and_stays_the_same(tmp_path: Path) -> None:
    key = tmp_path / "config" / "view-key"
    token = token_of(["s3://a", "s3://b"], key)
    assert token == token_of(["s3://b", "s3://a"], key)
    assert token != token_of(["s3://a"], key)
    assert token != token_of(["s3://a", "s3://b"], tmp_path / "other" / "view-key")
    assert key.stat().st_mode & 0o077 == 0
    assert key.parent.stat().st_mode & 0o077 == 0


def test_without_a_place_for_the_key_every_server_has_a_token_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    key = tmp_path / "file" / "view-key"
    assert token_of(["s3://a"], key) != token_of(["s3://a"], key)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match=str(taken.getsockname()[1])):
            folder_server({}, port=taken.getsockname()[1])


def test_the_server_answers_this_machine_alone(server: LocalServer) -> None:
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port), 5)


def test_a_browser_that_goes_away_is_no_news(
    server: LocalServer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "large").write_bytes(bytes(64 << 20))
    for begun in (b"GET /", b"GET /token/d/set/data/a%20b/large HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as browser:
            browser.sendall(begun)
            browser.recv(10) if b"Host" in begun else None
            # closed with a reset, not an end
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(server, "d/set/data/a%20b/info")[0] == 200
    server.close()
    assert capfd.readouterr() == ("", "")


def test_many_connections_are_taken_up_in_a_few_turns_of_the_loop() -> None:
    """Else who connects last waits while all others are answered again and again."""
    taken: list[asyncio.Protocol] = []

    class Browser(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(self)
            transport.close()

    async def turns(listener: socket.socket) -> int:
        loop, count = asyncio.get_running_loop(), 0
        for each in accepting(listener):
            await loop.create_server(Browser, sock=each)
        while len(taken) < 100:
            count += 1
            await asyncio.sleep(0)
        return count

    with listening(0) as listener:
        browsers = [socket.create_connection(listener.getsockname()) for _ in range(100)]
        assert uvloop.run(turns(listener)) < 30
    for browser in browsers:
        browser.close()


def test_streams_beyond_the_limit_are_refused_and_the_others_go_on(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_STREAMS", 20)
    streams = EventStreams(f"{server.url}d/set/events/viewer?c=x&gc=")

    async def many() -> tuple[int, int]:
        await streams.open(100)
        assert streams.answers == {200: 20, 503: 80}
        info = await asyncio.to_thread(ask, server, "d/set/data/a%20b/info")
        assert info[0] == 200
        heard = await streams.heard(b":\n")
        await streams.close(5)
        while server.service.metrics.open[metrics.STREAM] > 15:
            await asyncio.sleep(0.01)
        await streams.open(10)
        going_on = streams.going_on()
        await streams.close()
        return heard, going_on

    assert asyncio.run(many()) == (20, 20)
    assert streams.answers == {200: 25, 503: 85}
