"""HAProxy as it is configured here: what it repeats, what it refuses, what it lets through."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from chunkflow.people.service.lab.haproxy import EDITS, LOGINS, haproxy_configuration, write_haproxy
from testbed.people.certificates import make_certificate
from tests.support.people.backend import END, PINGS
from tests.support.people.haproxy import Proxied, accepted, proxied

EDIT = "/api/review/rat/cells/edits"
TILE = "/d/rat/data/dapi/0-64_0-64_0-64"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Proxied]:
    with proxied(tmp_path, user_header="X-Lab-Person") as found:
        yield found


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "localhost"])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("header", ["", "X-Lab-Person"])
@pytest.mark.parametrize("processes", [1, 5])
def test_haproxy_takes_every_configuration(
    tmp_path: Path, host: str, secure: bool, header: str, processes: int
) -> None:
    folder = tmp_path / "a $HOME #1 \\n ü"
    folder.mkdir()
    certificate = make_certificate(folder / "lab.pem") if secure else ""
    file = tmp_path / "haproxy.cfg"
    ports = range(8081, 8081 + processes)
    write_haproxy(file, 8080, ports, host=host, certificate=certificate, user_header=header)
    said = accepted(file)
    assert (said.returncode, said.stdout.strip()) == (0, "Configuration file is valid")
    assert "WARNING" not in said.stderr
    assert "haproxy -f FILE" in file.read_text().splitlines()[0]
    assert ("Strict-Transport-Security" in file.read_text()) == secure


def test_a_process_that_is_killed_costs_no_answer(lab: Proxied) -> None:
    """Of those that it was about to give, and of those that come before its end is known."""
    answered = itertools.count()
    killed = threading.Event()

    def ask(number: int) -> tuple[int, str]:
        if next(answered) == 80:
            lab.backends[0].send_signal(signal.SIGKILL)
            killed.set()
        status, headers, _ = lab.ask("/slow", method="HEAD" if number % 10 == 0 else "GET")
        return status, headers.get("x-pid", "")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(240)))
    assert killed.is_set()
    assert {status for status, _ in answers} == {200}
    first = str(lab.backends[0].pid)
    assert first in {pid for _, pid in answers[:80]}
    assert first not in {pid for _, pid in answers[-80:]}


def test_an_edit_is_never_repeated(lab: Proxied) -> None:
    status, _, _ = lab.ask("/api/review/rat/die/edits", "POST")
    assert status == 502
    assert [request["method"] for request in lab.arrived()] == ["POST"]
    assert lab.ask(EDIT, "POST")[0] == 200  # by the other process


def test_what_clients_say_of_themselves_does_not_arrive(lab: Proxied) -> None:
    forged = ["X-Forwarded-User", "x-forwarded-email", "X-Forwarded-Preferred-Username", "X-Forwarded-Host"]
    forged += ["X-Auth-Request-User", "X-Auth-Request-Email", "Remote-User", "Remote-Groups", "Forwarded"]
    forged += ["X-Lab-Person", "X_Forwarded_User", "X-Real-IP"]
    said = dict.fromkeys(forged, "owner") | {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https"}
    headers = json.loads(lab.ask("/echo", headers=said | {"Cookie": "chunkflow=abc", "X-Kept": "kept"})[2])[
        "headers"
    ]
    assert "owner" not in headers.values()
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert (headers["cookie"], headers["x-kept"]) == ("chunkflow=abc", "kept")


def test_logins_and_edits_are_limited_by_address_and_tiles_are_not(lab: Proxied) -> None:
    tiles = lab.ask_all(TILE, 400)
    assert {status for status, _, _ in tiles} == {200}
    logins = lab.ask_all("/login", 3 * LOGINS, "POST")
    assert {status for status, _, _ in logins[:LOGINS]} == {200}
    status, headers, content = logins[-1]
    assert (status, headers["retry-after"], headers["content-type"]) == (429, "10", "application/json")
    assert "wait for ten seconds" in json.loads(content)["error"]
    for path in ("/%6cogin", f"http://127.0.0.1:{lab.port}/login"):  # as the service reads them
        assert lab.ask(path, "POST", {"X-Forwarded-For": "10.1.2.3"})[0] == 429
    edits = lab.ask_all(EDIT, EDITS + 60, "POST")
    assert {status for status, _, _ in edits[:EDITS]} == {200}
    assert edits[-1][0] == 429
    assert len([request for request in lab.arrived() if request["path"] == EDIT]) < len(edits)
    assert lab.ask("/api/review/rat/other%20table/edits", "POST")[0] == 429
    assert lab.ask("/login", "POST", source="127.0.0.2")[0] == 200
    assert lab.ask(EDIT, "POST", source="127.0.0.2")[0] == 200
    assert lab.ask("/login")[0] == lab.ask(TILE)[0] == 200


def test_people_come_by_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "lab.pem")
    with proxied(tmp_path, certificate=certificate) as lab:
        trusting = ssl.create_default_context(cafile=str(certificate))
        trusting.set_alpn_protocols(["h2", "http/1.1"])
        with _connected(lab, trusting) as connection:
            assert connection.selected_alpn_protocol() == "h2"
        trusting.set_alpn_protocols(["http/1.1"])
        with _connected(lab, trusting) as connection:
            connection.sendall(b"GET /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            head, _, content = _read_all(connection).partition(b"\r\n\r\n")
        assert b"strict-transport-security: max-age=31536000" in head.lower()
        assert json.loads(content)["headers"]["x-forwarded-proto"] == "https"
        old = ssl.create_default_context(cafile=str(certificate))
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            _connected(lab, old).close()


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /echo HTTP/1.1\r\nhost: loc",
        b"POST " + EDIT.encode() + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    ],
)
def test_a_request_that_does_not_go_on_is_ended(tmp_path: Path, begun: bytes) -> None:
    changes = {"timeout http-request 10s": "timeout http-request 300ms", "time 10s": "time 300ms"}
    with proxied(tmp_path, changes) as lab:
        with socket.create_connection(("127.0.0.1", lab.port), timeout=30) as connection:
            connection.sendall(begun)
            assert _read_all(connection).startswith(b"HTTP/1.1 408 ")
        assert lab.arrived() == []


def test_a_stream_of_events_outlasts_the_time_in_which_nothing_may_come(tmp_path: Path) -> None:
    changes = {"timeout client 60s": "timeout client 2s", "timeout server 60s": "timeout server 2s"}
    with proxied(tmp_path, changes) as lab:
        assert lab.ask("/events")[2] == b":\n\n" * PINGS + END
        assert lab.ask("/silent")[2] == b""


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"certificate": "lab.pem"}, "whole path"),
        ({"certificate": "/lab.pem' alpn 'h2"}, "without quotes"),
        ({"certificate": "/lab.pem\nglobal"}, "line breaks"),
        ({"certificate": "/" + "a" * 2000}, "1024 characters"),
        ({"host": "0.0.0.0:80\n    bind 0.0.0.0"}, "no address"),
        ({"host": ""}, "no address"),
        ({"host": "/run/socket"}, "no address"),
        ({"user_header": "X-User if FALSE"}, "no name of a header"),
        ({"user_header": "X-User\n"}, "no name of a header"),
    ],
)
def test_nothing_breaks_out_of_the_configuration(named: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        haproxy_configuration(8080, [8081], **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("port", "backends", "said"),
    [
        (0, [8081], "0 is no port"),
        (65535, [65536], "65536 is no port"),
        (8080, [], "at least one"),
        (8080, [8081, 8081], "two are the same"),
        (8080, [8080], "two are the same"),
    ],
)
def test_each_has_a_port_of_its_own(port: int, backends: list[int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        haproxy_configuration(port, backends)


def test_only_what_was_written_here_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    write_haproxy(file, 8080, [8081])
    write_haproxy(file, 8080, [8082])
    assert "127.0.0.1:8082" in file.read_text()
    file.write_text("global\n")
    with pytest.raises(BadInput, match="not written by chunkflow"):
        write_haproxy(file, 8080, [8081])
    assert file.read_text() == "global\n"
    with pytest.raises(BadInput, match="cannot be written"):
        write_haproxy(tmp_path, 8080, [8081])


def test_a_certificate_without_its_key_is_refused_at_once(tmp_path: Path) -> None:
    whole = make_certificate(tmp_path / "lab.pem").read_text()
    chain = tmp_path / "chain.pem"
    chain.write_text(whole.partition("-----BEGIN PRIVATE KEY")[0])
    with pytest.raises(BadInput, match="cat fullchain"):
        write_haproxy(tmp_path / "haproxy.cfg", 8080, [8081], certificate=chain)
    with pytest.raises(BadInput, match="cannot be read"):
        write_haproxy(tmp_path / "haproxy.cfg", 8080, [8081], certificate=tmp_path / "absent.pem")
    (tmp_path / "chain.pem.key").write_text(whole[whole.index("-----BEGIN PRIVATE KEY") :])
    write_haproxy(tmp_path / "haproxy.cfg", 8080, [8081], certificate=chain)
    assert accepted(tmp_path / "haproxy.cfg").returncode == 0


def _connected(lab: Proxied, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", lab.port), timeout=30)
    return context.wrap_socket(plain, server_hostname="localhost")


def _read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))
