"""Notices that a node is about to be taken, from servers that speak as the clouds' metadata services do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.workers import notices
from cluster.workers.notices import Notices, aws_notice, file_notice, google_notice, sources_here

ACTION = '{"action": "terminate", "time": "2026-11-21T15:00:00Z"}'
TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"


class _Metadata(BaseHTTPRequestHandler):
    """As much of both clouds' metadata services as notices need."""

    said: dict[str, str]
    """By path."""
    asked: list[str]
    tokens: set[str]

    def do_PUT(self) -> None:
        self.asked.append(self.path)
        if self.path == "/latest/api/token" and 1 <= int(self.headers[TTL]) <= 21600:
            token = f"token-{len(self.tokens)}"
            self.tokens.add(token)
            self._answer(200, token)
        else:
            self._answer(400, "")

    def do_GET(self) -> None:
        self.asked.append(self.path)
        google = self.path.startswith("/computeMetadata/")
        if google and self.headers["Metadata-Flavor"] != "Google":
            self._answer(403, "")
        elif not google and self.headers[TOKEN] not in self.tokens:
            self._answer(401, "")
        elif self.path in self.said:
            self._answer(200, self.said[self.path])
        else:
            self._answer(404, "<html>404 - Not Found</html>")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def metadata() -> Iterator[tuple[str, type[_Metadata]]]:
    """A metadata service on a free port: its host and port, and what it says and was asked."""
    handler = type("Handler", (_Metadata,), {"said": {}, "asked": [], "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()


SPOT, PREEMPTED = "/latest/meta-data/spot/instance-action", "/computeMetadata/v1/instance/preempted"


def test_aws_is_asked_with_a_token() -> None:
    with metadata() as (place, service):
        assert aws_notice(f"http://{place}/") == ""
        assert service.asked == ["/latest/api/token", SPOT]
        service.said[SPOT] = ACTION
        assert aws_notice(f"http://{place}") == f"spot instance: {ACTION}"
    assert aws_notice(f"http://{place}") == "", "the service does not answer any more"


def test_google_says_true_or_false() -> None:
    with metadata() as (place, service):
        assert google_notice(place) == ""
        service.said[PREEMPTED] = "FALSE"
        assert google_notice(place) == ""
        service.said[PREEMPTED] = "TRUE"
        assert google_notice(place) == "spot instance preempted"
    assert google_notice(place) == ""


def test_a_file_is_a_notice_once_it_is_there(tmp_path: Path) -> None:
    assert file_notice(tmp_path / "notice") == ""
    (tmp_path / "notice").touch()
    assert file_notice(tmp_path / "notice") == "notice"
    (tmp_path / "notice").write_bytes(b"TERM from the batch system\xff\n")
    assert file_notice(tmp_path / "notice").startswith("TERM from the batch system")


@pytest.mark.parametrize(
    ("vendor", "product", "environment", "asked"),
    [
        ("QEMU", "Standard PC", {}, 0),
        ("Amazon EC2", "g4dn.xlarge", {}, 1),
        ("Google", "Google Compute Engine", {}, 1),
        ("Amazon EC2", "g4dn.xlarge", {"AWS_EC2_METADATA_DISABLED": "TRUE"}, 0),
        ("QEMU", "Standard PC", {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}, 1),
        ("QEMU", "Standard PC", {"GCE_METADATA_HOST": "127.0.0.1:9", "CHUNKFLOW_NOTICE": "/none"}, 2),
    ],
)
def test_clouds_are_asked_on_their_own_machines_only(
    tmp_path: Path, vendor: str, product: str, environment: Mapping[str, str], asked: int
) -> None:
    (tmp_path / "sys_vendor").write_text(vendor + "\n")
    (tmp_path / "product_name").write_text(product + "\n")
    assert len(sources_here(environment, tmp_path)) == asked


def test_the_machine_need_not_say_what_it_is(tmp_path: Path) -> None:
    assert sources_here({}, tmp_path / "none") == {}


def test_the_first_notice_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "ASK_SECONDS", 0.05)
    with metadata() as (place, service):
        environment = {"GCE_METADATA_HOST": place, "CHUNKFLOW_NOTICE": str(tmp_path / "notice")}
        watched = Notices(sources_here(environment, tmp_path))
        assert not watched.came
        (tmp_path / "notice").write_text("the first")
        assert watched.wait() == "the first"
        service.said[PREEMPTED] = "TRUE"
        watched.give("another")
        assert watched.wait() == "the first"


def test_sigterm_is_a_notice_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        watched = Notices({})
        watched.hear_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)
        assert watched.wait() == "SIGTERM"
        assert not heard
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM], "the second is for whoever heard it before"
    finally:
        signal.signal(signal.SIGTERM, before)
