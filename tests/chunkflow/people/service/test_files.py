"""Files as they are answered: byte ranges, gzip, HEAD, ETags, from a disk and from a bucket."""

from __future__ import annotations

import gzip
import http.client
import os
from pathlib import Path

import boto3
import pytest
from cloudfiles import CloudFiles

from chunkflow.people.service.files.answer import byte_span
from chunkflow.people.service.local.server import LocalServer
from testbed.moto import CREDENTIALS, moto_server
from tests.support.people.service import CONTENT, ask, folder_server


def test_a_file_is_served_whole_with_cors(server: LocalServer) -> None:
    status, headers, content = ask(server, "d/set/data/a%20b/sub/plain")
    assert (status, content) == (200, CONTENT)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("span", "expected"),
    [("bytes=10-19", CONTENT[10:20]), ("bytes=5000-", CONTENT[5000:]), ("bytes=-7", CONTENT[-7:])],
)
@pytest.mark.parametrize("name", ["plain", "packed"])
def test_a_span_is_of_the_content_not_of_its_gzip(
    server: LocalServer, name: str, span: str, expected: bytes
) -> None:
    status, headers, content = ask(server, f"d/set/data/a%20b/sub/{name}", Range=span, Accept_Encoding="gzip")
    assert (status, content) == (206, expected)
    assert "content-encoding" not in headers
    assert headers["content-range"].endswith(f"/{len(CONTENT)}")


def test_a_span_beyond_the_end_is_refused(server: LocalServer) -> None:
    status, headers, _ = ask(server, "d/set/data/a%20b/sub/plain", Range="bytes=9999-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_gzipped_file_has_the_plain_name(server: LocalServer) -> None:
    _, headers, content = ask(server, "d/set/data/a%20b/sub/packed", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == CONTENT
    _, headers, content = ask(server, "d/set/data/a%20b/sub/packed")
    assert "content-encoding" not in headers
    assert content == CONTENT


def test_head_says_the_size_without_the_content(server: LocalServer) -> None:
    status, headers, content = ask(server, "d/set/data/a%20b/sub/plain", "HEAD")
    assert (status, headers["content-length"], content) == (200, str(len(CONTENT)), b"")


def test_what_the_browser_has_is_not_sent_again(server: LocalServer, folder: Path) -> None:
    for name, encoding in (("plain", ""), ("packed", "gzip"), ("packed", "")):
        path = f"d/set/data/a%20b/sub/{name}"
        etag = ask(server, path, Accept_Encoding=encoding)[1]["etag"]
        again = ask(server, path, Accept_Encoding=encoding, If_None_Match=f'"other", {etag}')
        assert (again[0], again[2], again[1]["etag"]) == (304, b"", etag)
        part = ask(server, path, Range="bytes=0-9", If_Range=etag)
        assert part[0] == (200 if encoding else 206)  # a part is of what is packed, or of what is unpacked
        assert ask(server, path, Range="bytes=0-9", If_Range='"other"')[0] == 200
    assert len({ask(server, path, Accept_Encoding=encoding)[1]["etag"] for encoding in ("", "gzip")}) == 2
    etag = ask(server, "d/set/data/a%20b/sub/plain")[1]["etag"]
    (folder / "sub" / "plain").write_bytes(CONTENT[::-1])
    status, headers, content = ask(server, "d/set/data/a%20b/sub/plain", If_None_Match=etag)
    assert (status, content) == (200, CONTENT[::-1])
    assert headers["etag"] != etag
    assert headers["cache-control"] == "no-cache"


def test_a_file_that_becomes_shorter_while_it_is_sent_ends_the_connection(
    server: LocalServer, folder: Path
) -> None:
    """Rather than that the browser takes what it has for the whole."""
    large = folder / "large"
    large.write_bytes(bytes(64 << 20))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/token/d/set/data/a%20b/large")
    answer = connection.getresponse()
    assert answer.read(10) == bytes(10)
    large.write_bytes(b"")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    assert ask(server, "d/set/data/a%20b/info")[0] == 200


def test_an_empty_file_and_one_that_a_disk_must_bring_are_whole(server: LocalServer, folder: Path) -> None:
    (folder / "empty").write_bytes(b"")
    status, headers, content = ask(server, "d/set/data/a%20b/empty")
    assert (status, headers["content-length"], content) == (200, "0", b"")
    large = folder / "large"
    large.write_bytes(CONTENT * 1000)
    with open(large, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert ask(server, "d/set/data/a%20b/large")[2] == CONTENT * 1000


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
        with folder_server({"a b": "s3://lab/rat/dapi"}).start() as server:
            for name in ("plain", "packed"):
                status, headers, content = ask(server, f"d/set/data/a%20b/{name}", Accept_Encoding="gzip")
                as_told = gzip.decompress if "content-encoding" in headers else bytes
                assert (status, as_told(content)) == (200, CONTENT)
                assert ask(server, f"d/set/data/a%20b/{name}")[2] == CONTENT
                status, headers, content = ask(server, f"d/set/data/a%20b/{name}", Range="bytes=5-9")
                assert (status, content) == (206, CONTENT[5:10])
                assert headers["content-range"] == f"bytes 5-9/{len(CONTENT)}"
            files.put("brotli", CONTENT, compress="br")
            assert ask(server, "d/set/data/a%20b/brotli", Accept_Encoding="gzip")[2] == CONTENT
            assert ask(server, "d/set/data/a%20b/missing")[0] == 404
            assert ask(server, "d/set/data/a%20b/missing", Range="bytes=5-9")[0] == 404


def test_storage_that_fails_is_an_answer_not_the_end(server: LocalServer) -> None:
    class Failing:
        def find(self, name: str, gzipped: bool, part: bool) -> None:
            raise PermissionError("no")

    server.service.catalogue.dataset("set").sources["a b"] = Failing()
    status, headers, _ = ask(server, "d/set/data/a%20b/sub/plain")
    assert (status, headers["x-error"]) == (502, "PermissionError")
    assert ask(server, "d/set/v/viewer/")[0] == 200
