"""Ways out of a served folder: no name leads to a file that does not lie in it, packed or not."""

from __future__ import annotations

import gzip
import http.client
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chunkflow.people.service.local.server import LocalServer
from chunkflow.people.viewing import sources
from chunkflow.people.viewing.sources import LocalSource, RemoteSource, is_plain
from tests.support.people.service import ask as support_ask
from tests.support.people.service import folder_server

SECRET = b"secret " * 10
OPEN = b"open " * 10


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with links inside itself and links out of it, and a folder beside it that no one may read."""
    place = tmp_path_factory.mktemp("place")
    secrets, layer = place / "secrets", place / "layer"
    for folder in (secrets, layer):
        (folder / "sub").mkdir(parents=True)
        content = SECRET if folder == secrets else OPEN
        for name in ("plain", "sub/plain"):
            (folder / name).write_bytes(content)
        for name in ("packed.gz", "sub/packed.gz"):
            (folder / name).write_bytes(gzip.compress(content))
    links = {
        "inner": "sub",
        "linked": "sub/plain",
        "twin.gz": "sub/packed.gz",
        "self": ".",
        "outer": "../secrets",
        "sub/up": "..",
        "sub/far": "../outer/sub",
        "leak": "../secrets/plain",
        "absolute": str(secrets / "plain"),
        "far-leak": "sub/far/plain",
        "leaked.gz": "../secrets/packed.gz",
        "far-leaked.gz": "outer/packed.gz",
        "text.gz": "/etc/passwd",
        "loop": "loop",
        "nothing.gz": "../nothing",
    }
    for name, target in links.items():
        (layer / name).symlink_to(target)
    os.mkfifo(layer / "pipe")
    (place / "served").symlink_to("layer")  # a layer may be laid as a link
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[LocalServer]:
    with folder_server({"a": str(place / "served")}).start() as server:
        yield server


def ask(server: LocalServer, address: str, **headers: str) -> tuple[int, bytes]:
    """The status, and the content unpacked."""
    status, named, content = support_ask(server, address, **headers)
    return status, gzip.decompress(content) if "content-encoding" in named else content


NAMES = [
    *("plain", "packed", "packed.gz", "sub", "inner", "linked", "twin", "self", "outer", "up", "far", "leak"),
    *("absolute", "far-leak", "leaked", "leaked.gz", "far-leaked", "text", "loop", "nothing", "pipe"),
    *("secrets", "layer", "etc", "passwd", ".", "..", "...", "%2e%2e", "%252e%252e", ".%2e", "\u2025"),
    *("", "\0", "plain\0", "..\\secrets\\plain", "..\\", "?", "#", "~", "$HOME"),
]
JOINTS = ["/", "//", "%2f", "\\", "/./", "/../"]


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """Names of the folder and ways out of it, joined as a path may be, with what needs it encoded."""
    parts = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    address = "".join(part + draw(st.sampled_from(JOINTS)) for part in parts)
    address = draw(st.sampled_from(["", "/", "../layer/", "//etc/../"])) + address
    return quote(address[: -1 if draw(st.booleans()) else None], safe="/%.~")


@given(address=addresses(), packed=st.booleans(), part=st.booleans())
@example(address="leaked", packed=True, part=False)
@example(address="leaked", packed=False, part=False)
@example(address="text", packed=True, part=False)
@example(address="sub/far/packed", packed=False, part=True)
@example(address="sub/up/outer/plain", packed=True, part=False)
@settings(max_examples=200, deadline=None)
def test_whatever_the_name_only_files_of_the_folder_are_sent(
    server: LocalServer, address: str, packed: bool, part: bool
) -> None:
    headers = ({"Accept_Encoding": "gzip"} if packed else {}) | ({"Range": "bytes=0-49"} if part else {})
    status, content = ask(server, f"d/set/data/a/{address}", **headers)
    if status in (200, 206):
        assert content == OPEN or gzip.decompress(content) == OPEN
    else:
        assert (status, content) in ((404, b""), (416, b""))


@given(name=addresses().map(lambda address: address.replace("%2f", "/")))
@settings(max_examples=200, deadline=None)
def test_a_source_keeps_to_its_folder_whatever_it_is_asked(place: Path, name: str) -> None:
    """Also where the server would have refused the name before."""
    found = LocalSource(place / "served").find(name, gzipped=False, part=False)
    if found is not None:
        content = found.read(0, found.size)
        found.close()
        assert content == OPEN or gzip.decompress(content) == OPEN


def test_links_within_the_folder_are_followed_and_those_out_of_it_are_not(place: Path) -> None:
    source = LocalSource(place / "served")

    def content(name: str) -> bytes | None:
        found = source.find(name, gzipped=False, part=False)
        try:
            return None if found is None else found.read(0, found.size)
        finally:
            if found is not None:
                found.close()

    inside = ("plain", "packed", "linked", "twin", "inner/plain", "inner/packed", "self/sub/up/sub/plain")
    assert {name: content(name) for name in inside} == dict.fromkeys(inside, OPEN)
    outside = (
        "leak",
        "absolute",
        "far-leak",
        "leaked",
        "far-leaked",
        "text",
        "outer/plain",
        "sub/far/packed",
    )
    others = ("loop", "nothing", "pipe", "self", "sub", "sub/" + "a" * 300)
    assert {name: content(name) for name in outside + others} == dict.fromkeys(outside + others)


def test_a_link_laid_after_the_look_is_not_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is taken for what it was before it became a link."""
    monkeypatch.setattr(os.path, "realpath", lambda path: str(path))
    for name in ("leak", "outer/plain", "sub/far/plain"):
        assert sources.open_inside((place / "layer"), name) is None


def test_names_that_a_web_server_may_read_otherwise_are_asked_of_none(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer on a web server is asked with this user's keys, by a client that resolves %2e%2e once more."""
    asked = []
    monkeypatch.setattr(RemoteSource, "find", lambda self, name, gzipped, part: asked.append(name))
    monkeypatch.setitem(
        server.service.catalogue.dataset("set").sources,
        "far",
        RemoteSource("https://lab.example/public/layer"),
    )
    for name in (
        "%252e%252e/secret",
        "/secret",
        "a%3Fb",
        "a%23b",
        "..%5csecret",
        "a%00",
        "a//b",
        "./a",
        "a/",
    ):
        assert ask(server, f"d/set/data/far/{name}") == (404, b"")
    assert ask(server, "d/set/data/far/8_8_40/0-64_0-64_0-64") == (404, b"")
    assert asked == ["8_8_40/0-64_0-64_0-64"]
    assert is_plain("mesh/12:0:0-64_0-64_0-64.frag")


def test_a_file_that_unpacks_to_far_more_is_unpacked_piece_by_piece(tmp_path: Path) -> None:
    size, block = 64 << 20, bytes(1 << 20)
    with gzip.open(tmp_path / "large.gz", "wb", compresslevel=1) as file:
        for _ in range(size >> 20):
            file.write(block)
        file.write(b"end")
    with folder_server({"a": str(tmp_path)}).start() as server:
        tracemalloc.start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", f"/{server.token}/d/set/data/a/large")
            answer = connection.getresponse()
            length, last = 0, b""
            while piece := answer.read(1 << 20):
                length, last = length + len(piece), piece
            status, tail = ask(server, "d/set/data/a/large", Range="bytes=-5", Accept_Encoding="gzip")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        connection.close()
    assert (length, last[-3:]) == (size + 3, b"end")
    assert (status, tail) == (206, b"\0\0end")
    assert peak < 16 << 20


def test_a_gzip_that_is_cut_short_is_an_answer_and_is_left_open_by_none(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(10_000))[:5_000])
    with folder_server({"a": str(tmp_path)}).start() as server:
        assert ask(server, "d/set/data/a/cut") == (502, b"")
    with pytest.raises(EOFError):
        LocalSource(tmp_path).find("cut", gzipped=False, part=False)
    assert str(tmp_path / "cut.gz") not in {file.path for file in psutil.Process().open_files()}
