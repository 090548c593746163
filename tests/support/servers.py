"""Stand-ins for the clouds, on 127.0.0.1 and a free port, ended when the test is over."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import cloudfiles.interfaces
import pytest

from testbed.moto import CREDENTIALS, moto_server


@contextmanager
def s3_at(address: str) -> Iterator[None]:
    """Let this process and its children find S3 at an address."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(variable, value)
        cloudfiles.interfaces.reset_connection_pools()
        yield
    cloudfiles.interfaces.reset_connection_pools()


@contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """Run S3 with one empty bucket and let this process and its children find it; gives the bucket's URL."""
    with moto_server() as address, s3_at(address):
        boto3.client("s3").create_bucket(Bucket=name)
        yield f"s3://{name}"


@contextmanager
def gcs_at(address: str) -> Iterator[None]:
    """Let this process and its children find GCS at an address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        patch.setenv("GOOGLE_CLOUD_PROJECT", "project")
        cloudfiles.interfaces.reset_connection_pools()
        yield
    cloudfiles.interfaces.reset_connection_pools()


class _Role(BaseHTTPRequestHandler):
    """As much of what an EC2 instance is told of itself (IMDSv2) as keys need."""

    keys: dict[str, str]

    def do_PUT(self) -> None:
        self._answer(b"token" if self.path == "/latest/api/token" else b"")

    def do_GET(self) -> None:
        place = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("x-aws-ec2-metadata-token") != "token" or not self.path.startswith(place):
            self.send_error(401)
        else:
            told = {"Code": "Success", "Type": "AWS-HMAC", "Expiration": "2099-01-01T00:00:00Z", **self.keys}
            self._answer(b"node" if self.path == place else json.dumps(told).encode())

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def instance_role(key: str, secret: str) -> Iterator[str]:
    """What gives an instance the keys of its role; the address for AWS_EC2_METADATA_SERVICE_ENDPOINT."""
    keys = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "of the role"}
    with served(type("Role", (_Role,), {"keys": keys})) as address:
        yield address


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server in a thread; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Bucket(BaseHTTPRequestHandler):
    """As much of the JSON API of GCS as files need."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    encodings: dict[str, str]

    def do_POST(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/batch"):
            self._answer_batch(body)
            return
        boundary = re.search(rb'boundary="?([^";]+)', self.headers["Content-Type"].encode())
        assert boundary is not None
        _, meta, data, _ = body.split(b"--" + boundary[1])
        described = json.loads(meta.partition(b"\r\n\r\n")[2])
        name = described["name"]
        if query.get("ifGenerationMatch") == ["0"] and name in self.objects:
            self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            return
        self.objects[name] = data.partition(b"\r\n\r\n")[2][:-2]
        self.encodings[name] = described.get("contentEncoding", "")
        self._answer(200, {"name": name, "bucket": "bucket", "generation": "1"})

    def _answer_batch(self, body: bytes) -> None:
        parts = []
        for method, path in re.findall(rb"(GET|DELETE) \S*?(/storage/v1/\S+) HTTP", body):
            name = urllib.parse.unquote(path.decode().partition("/o/")[2].partition("?")[0])
            found = name in self.objects
            if method == b"DELETE":
                self.objects.pop(name, None)
            status = ("204 No Content" if method == b"DELETE" else "200 OK") if found else "404 Not Found"
            answer = json.dumps({"name": name} if found else {"error": {"code": 404, "message": "none"}})
            parts.append(
                "--answers\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{answer}\r\n"
            )
        self._answer(200, "".join([*parts, "--answers--"]).encode(), 'multipart/mixed; boundary="answers"')

    def do_GET(self) -> None:
        url = urllib.parse.urlparse(self.path)
        name = urllib.parse.unquote(url.path.partition("/o/")[2])
        if not name:
            prefix = urllib.parse.parse_qs(url.query).get("prefix", [""])[0]
            self._answer(200, {"items": [{"name": n} for n in sorted(self.objects) if n.startswith(prefix)]})
        elif name not in self.objects:
            self._answer(404, {"error": {"code": 404, "message": "not found"}})
        elif url.path.startswith("/download"):
            data = self.objects[name]
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            part = data[int(wanted[1]) : int(wanted[2] or len(data)) + 1] if wanted else data
            digest = base64.b64encode(hashlib.md5(data).digest()).decode()
            told = {"X-Goog-Hash": f"md5={digest}", "Content-Encoding": self.encodings[name]}
            self._answer(206 if wanted else 200, part, more=told)
        else:
            self._answer(200, {"name": name, "size": str(len(self.objects[name]))})

    def do_DELETE(self) -> None:
        name = urllib.parse.unquote(urllib.parse.urlparse(self.path).path.partition("/o/")[2])
        self._answer(204 if self.objects.pop(name, None) is not None else 404, b"")

    def _answer(
        self,
        status: int,
        body: dict[str, object] | bytes,
        kind: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (more or {}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def gcs_server() -> Iterator[str]:
    """Run a bucket in memory; gives the address for STORAGE_EMULATOR_HOST."""
    with served(type("Bucket", (_Bucket,), {"objects": {}, "encodings": {}})) as address:
        yield address
