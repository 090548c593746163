"""The command that serves a lab: until Ctrl-C, alone and behind a real HAProxy."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import typer.main

from chunkflow.people.accounts.accounts import Accounts
from cli.main import build
from tests.support.commands import Command
from tests.support.people.haproxy import accepted, program, running, wait_for_port
from tests.support.people.reviews import job_to_review


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    return job_to_review(tmp_path_factory.mktemp("job"))


@contextmanager
def served(*words: object) -> Iterator[list[str]]:
    """What the command says until it can be ended; it is ended as by Ctrl-C."""
    command = [sys.executable, "-m", "cli.main", "serve", *map(str, words)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert server.stdout is not None
    said: list[str] = []
    for line in server.stdout:
        said.append(line.strip())
        if "Ctrl-C ends it" in line:
            break
    yield said
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=60)
    assert server.returncode == 0


def free_ports() -> int:
    """A port that is free, as is the one behind it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_one_person_gets_a_link(work: str, tmp_path: Path) -> None:
    with served(work, "--port", 0, "--database", tmp_path / "lab.sqlite") as said:
        link = said[0].removeprefix("Data sets: ")
        with urlopen(link) as page:
            assert b"/d/work/v/viewer/" in page.read()


def test_haproxy_has_the_port(work: str, tmp_path: Path) -> None:
    database, file, port = tmp_path / "lab.sqlite", tmp_path / "lab.cfg", free_ports()
    accounts = Accounts.open(database)
    token = accounts.add("lena", "look")
    accounts.close()
    with served(work, "--port", port, "--database", database, "--haproxy", file) as said:
        assert said[0] == f"Data sets: http://127.0.0.1:{port}/"
        assert said[1] == f"HAProxy has the port once it is begun: haproxy -f {file}"
        assert accepted(file).returncode == 0
        with running([program("haproxy"), "-f", str(file)]):
            wait_for_port(port)
            asked = Request(f"http://127.0.0.1:{port}/", headers={"Authorization": f"Bearer {token}"})
            with urlopen(asked) as page:
                assert b"/d/work/v/viewer/" in page.read()


def test_what_is_wrong_is_said_before_anything_is_written(
    work: str, tmp_path: Path, command: Command
) -> None:
    database, file = tmp_path / "lab.sqlite", tmp_path / "lab.cfg"
    said = command("serve", work, "--port", 0, "--database", database, "--haproxy", file)
    assert (said.code, "make accounts first" in said.err, file.exists()) == (2, True, False)
    said = command("serve", work, "--cert", file)
    assert (said.code, "by --haproxy" in said.err) == (2, True)
    said = command("serve", tmp_path / "nothing")
    assert (said.code, "no work folder" in said.err) == (2, True)


def test_a_batch_script_is_written_for_slurm(work: str, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "lab.sbatch"
    words = ("serve", work, "--port", 8123, "--processes", 2, "--slurm", file)
    said = command(*words, "--database", "postgresql://lab@db/lab")
    assert said.out == f"Queue it: sbatch {file}. Its log says how people reach it.\n"
    (line,) = re.findall(r"^chunkflow serve .*&$", file.read_text().replace("\\\n", ""), re.M)
    given = shlex.split(line.removesuffix("&").replace("$scratch", "/scratch"))[2:]
    assert given[0] == work
    known = {
        name for one in typer.main.get_command(build(["serve"])).commands["serve"].params for name in one.opts
    }
    assert {word.partition("=")[0] for word in given[1:]} <= known
    said = command(*words, "--database", tmp_path / "lab.sqlite")
    assert (said.code, "give postgresql://" in said.err) == (2, True)
