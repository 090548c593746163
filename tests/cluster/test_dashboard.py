"""The Jobs API is asked at the address that was given, whatever Ray's own variables say."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray

from cluster.submission.jobs import Jobs


def test_the_address_that_is_given_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the environment, which other threads read, stays as it is meanwhile."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    asked: list[tuple[str, str | None]] = []

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, os.environ.get("RAY_ADDRESS")))
            self.send_response(200)
            self.end_headers()
            found: object = [] if "jobs" in self.path else {"ray_version": ray.__version__, "version": "4"}
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert Jobs(f"http://127.0.0.1:{server.server_port}").submissions() == []
        server.shutdown()
    assert asked == [("/api/version", "http://127.0.0.1:9"), ("/api/jobs/", "http://127.0.0.1:9")]
