"""The local server: byte ranges, gzip, HEAD, CORS, and nothing but the layers it was given."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cloudfiles import CloudFiles

from chunkflow.errors import BadInput
from chunkflow.people.viewing.server import LayerServer, byte_span, token_of
from testbed.moto import CREDENTIALS, moto_server

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    (layer / "sub").mkdir(parents=True)
    (layer / "info").write_text("{}")
    (layer / "sub" / "plain").write_bytes(CONTENT)
    (layer / "sub" / "packed.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "layer-two").mkdir()
    (tmp_path / "layer-two" / "secret").write_text("secret")
    return layer


@pytest.fixture
def server(folder: Path) -> Iterator[LayerServer]:
    with LayerServer({"a b": str(folder)}).start() as server:
        yield server


def ask(
    server: LayerServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{server.token}/{path}", headers=named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def test_a_file_is_served_whole_with_cors(server: LayerServer) -> None:
    status, headers, content = ask(server, "layers/a%20b/sub/plain")
    assert (status, content) == (200, CONTENT)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("span", "expected"),
    [("bytes=10-19", CONTENT[10:20]), ("bytes=5000-", CONTENT[5000:]), ("bytes=-7", CONTENT[-7:])],
)
@pytest.mark.parametrize("name", ["plain", "packed"])
def test_a_span_is_of_the_content_not_of_its_gzip(
    server: LayerServer, name: str, span: str, expected: bytes
) -> None:
    status, headers, content = ask(server, f"layers/a%20b/sub/{name}", Range=span, Accept_Encoding="gzip")
    assert (status, content) == (206, expected)
    assert "content-encoding" not in headers
    assert headers["content-range"].endswith(f"/{len(CONTENT)}")


def test_a_span_beyond_the_end_is_refused(server: LayerServer) -> None:
    status, headers, _ = ask(server, "layers/a%20b/sub/plain", Range="bytes=9999-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_gzipped_file_has_the_plain_name(server: LayerServer) -> None:
    _, headers, content = ask(server, "layers/a%20b/sub/packed", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == CONTENT
    _, headers, content = ask(server, "layers/a%20b/sub/packed")
    assert "content-encoding" not in headers
    assert content == CONTENT


def test_head_says_the_size_without_the_content(server: LayerServer) -> None:
    status, headers, content = ask(server, "layers/a%20b/sub/plain", "HEAD")
    assert (status, headers["content-length"], content) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "layers/a%20b/../secret",
        "layers/a%20b/%2e%2e/secret",
        "layers/a%20b/..%2fsecret",
        "layers/a%20b/../layer-two/secret",
        "layers/a%20b/sub/../../secret",
        "layers/a%20b//etc/passwd",
        "layers/a%20b/sub",
        "layers/a%20b/",
        "layers/other/info",
        "v/../static/__init__.py",
        "v/%2e%2e%2f__init__.py",
        "",
    ],
)
def test_nothing_else_can_be_reached(server: LayerServer, path: str) -> None:
    status, _, content = ask(server, path)
    assert status == (302 if path == "" else 404)
    assert content == b""


def test_without_the_token_there_is_nothing(server: LayerServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for path in ("/", "/layers/a%20b/info", "/wrong/layers/a%20b/info", "/w%C3%B6/state.json"):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def test_the_client_and_the_state_follow_the_port_that_the_browser_uses(server: LayerServer) -> None:
    server.state = lambda base: {"base": base}
    _, headers, _ = ask(server, "", Host="localhost:9999")
    assert headers["location"].endswith(f"#!http://localhost:9999/{server.token}/state.json")
    state = json.loads(ask(server, "state.json", Host="localhost:9999")[2])
    assert state == {"base": f"http://localhost:9999/{server.token}"}
    status, headers, content = ask(server, "v/index.html")
    assert status == 200
    assert b"neuroglancer" in content
    assert headers["content-type"].startswith("text/html")


def test_a_host_that_is_no_host_is_not_repeated(server: LayerServer) -> None:
    _, headers, _ = ask(server, "", Host='evil"/><x')
    assert f"#!http://127.0.0.1:{server.port}/" in headers["location"]


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
            LayerServer({}, port=taken.getsockname()[1])


def test_the_server_answers_this_machine_alone(server: LayerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_spans() -> None:
    assert byte_span(None, 10) is None
    assert byte_span("bytes=-", 10) is None
    assert byte_span("lines=1-2", 10) is None
    assert byte_span("bytes=0-0", 10) == (0, 1)
    assert byte_span("bytes=3-99", 10) == (3, 10)
    assert byte_span("bytes=-99", 10) == (0, 10)
    with pytest.raises(ValueError, match="10"):
        byte_span("bytes=10-", 10)


def test_a_layer_in_a_bucket_is_served_with_this_users_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with moto_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="lab")
        files = CloudFiles("s3://lab/rat/dapi")
        files.put("plain", CONTENT, compress=None)
        files.put("packed", CONTENT, compress="gzip")
        with LayerServer({"a b": "s3://lab/rat/dapi"}).start() as server:
            for name in ("plain", "packed"):
                status, headers, content = ask(server, f"layers/a%20b/{name}", Accept_Encoding="gzip")
                as_told = gzip.decompress if "content-encoding" in headers else bytes
                assert (status, as_told(content)) == (200, CONTENT)
                assert ask(server, f"layers/a%20b/{name}")[2] == CONTENT
                status, headers, content = ask(server, f"layers/a%20b/{name}", Range="bytes=5-9")
                assert (status, content) == (206, CONTENT[5:10])
                assert headers["content-range"] == f"bytes 5-9/{len(CONTENT)}"
            files.put("brotli", CONTENT, compress="br")
            assert ask(server, "layers/a%20b/brotli", Accept_Encoding="gzip")[2] == CONTENT
            assert ask(server, "layers/a%20b/missing")[0] == 404
            assert ask(server, "layers/a%20b/missing", Range="bytes=5-9")[0] == 404


def test_a_browser_that_goes_away_is_no_news(
    server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = threading.Event()
    said = server.handle_error

    def noted(request: object, address: object) -> None:
        said(request, address)
        seen.set()

    monkeypatch.setattr(server, "handle_error", noted)
    with socket.create_connection(("127.0.0.1", server.port)) as browser:
        browser.sendall(b"GET /")
        # closed with a reset, not an end
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert seen.wait(20)
    assert capsys.readouterr().err == ""


def test_an_error_of_the_servers_own_is_said(server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("mistake")
    except KeyError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert "mistake" in capsys.readouterr().err


def test_storage_that_fails_is_an_answer_not_the_end(server: LayerServer) -> None:
    class Failing:
        def find(self, name: str, gzipped: bool, part: bool) -> None:
            raise PermissionError("no")

    server.sources["a b"] = Failing()
    status, headers, _ = ask(server, "layers/a%20b/sub/plain")
    assert (status, headers["x-error"]) == (502, "PermissionError")
    assert ask(server, "v/index.html")[0] == 200
