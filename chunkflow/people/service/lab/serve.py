"""The service of a lab: several processes that answer, begun again when one dies."""

from __future__ import annotations

import getpass
import ipaddress
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from chunkflow.errors import BadInput, StorageError
from chunkflow.people.accounts.opening import open_accounts
from chunkflow.people.service.catalogue.places import find_places
from chunkflow.people.service.lab.process import READY, ProcessSettings
from chunkflow.people.service.lab.proxies import network
from chunkflow.people.service.local.server import HOST, listening
from chunkflow.people.service.local.token import token_of
from chunkflow.words import refuse_one_text

PORT = 8080
LOOK_SECONDS = 0.2
REST_SECONDS = 2.0
"""A process that dies sooner than this after it began is begun again only then."""
END_SECONDS = 15.0


class ServingProcess:
    """A process of the service, which is begun anew whenever it has died."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self.begin()

    def begin(self) -> None:
        """Start the process; `wait_until_ready` says whether it answers."""
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chunkflow.people.service.lab.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._settings.handle],
            start_new_session=True,  # Ctrl-C is for the one that began it, who ends it in good order
            text=True,
        )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(self._settings.model_dump_json() + "\n")
            self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        """Wait until the process answers; raise what it says where it cannot."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if said != READY:
            code = self.process.wait()
            error = BadInput if code == BadInput.exit_code else StorageError
            raise error(said or f"A process of the service ended with code {code} before it answered.")

    def ask_to_end(self) -> None:
        """Let the process end its answers and stop."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def end(self) -> None:
        """Wait for the end, and force it where it does not come."""
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class LabServing:
    """A lab's service, until closed."""

    def __init__(
        self, url: str, port: int, sockets: Sequence[socket.socket], each: Sequence[ProcessSettings]
    ) -> None:
        self.url = url
        """The address of the catalogue."""
        self.port = port
        self._sockets = sockets
        self._closing = threading.Event()
        self._processes = [ServingProcess(settings) for settings in each]
        try:
            for process in self._processes:
                process.wait_until_ready()
        except BaseException:
            self._end_all()
            raise
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def process_ids(self) -> list[int]:
        """The processes that answer now."""
        return [process.process.pid for process in self._processes]

    @property
    def backends(self) -> list[int]:
        """The ports at which the processes listen."""
        return [int(one.getsockname()[1]) for one in self._sockets]

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            for process in self._processes:
                rested = time.monotonic() - process.began > REST_SECONDS
                if process.process.poll() is not None and rested and not self._closing.is_set():
                    process.end()
                    with suppress(OSError):  # the system has no room for it now: tried again
                        process.begin()

    def close(self) -> None:
        """End all processes: answers under way come to their end, what was decided is in the log."""
        self._closing.set()
        self._thread.join()
        self._end_all()

    def _end_all(self) -> None:
        for process in self._processes:
            process.ask_to_end()
        for process in self._processes:
            process.end()
        for one in self._sockets:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Data sets: {self.url}"


def serve(
    *sources: str | Path,
    port: int = PORT,
    host: str = HOST,
    processes: int = 1,
    database: str | Path = "",
    proxies: Sequence[str] = (),
    user_header: str = "",
    origins: Sequence[str] = (),
    behind_proxy: bool = False,
    cache_gb: float = 0.5,
) -> LabServing:
    """Serve data sets to browsers: a catalogue, the viewer, reviews of tables.

    A source is a work folder, a layer, a folder of these, or a catalogue file (datasets: {NAME: {work: PLACE,
    title: TEXT}}). Accounts and kept views lie in `database` (a file, or postgresql://USER@HOST/NAME; by
    default service.sqlite in ~/.config/chunkflow); where it is given, so do the reviews, else each lies in
    its work folder. Without accounts the service is for this machine alone, and its link holds a token.

    `processes` share `port`; with `behind_proxy` they listen on the ports behind it, on this machine alone,
    for a proxy that has `port` itself. What the `proxies` (addresses) say of the browser is believed, and so
    is the name in the header `user_header`. Scripts of pages at `origins` may ask with a token. Each process
    holds up to `cache_gb` of what was last read of layers in buckets in memory.

    >>> with serve(work.url, port=0, database=folder / "lab.sqlite") as service:
    ...     service.url.startswith("http://127.0.0.1:")
    True
    """
    refuse_one_text("proxies", proxies)
    refuse_one_text("origins", origins)
    if not 0 <= cache_gb < float("inf"):
        raise BadInput("cache_gb: memory in GB is 0 or more.")
    places = tuple(absolute(source) for source in sources)
    find_places(places)
    _refuse_proxies(proxies, user_header)
    settings = ProcessSettings(
        sources=places,
        handle=0,
        database=str(database),
        proxies=tuple(proxies),
        forwarders=(HOST,) if behind_proxy else (),
        user_header=user_header,
        origins=tuple(origins),
        cache_gb=cache_gb,
    )
    if not _has_accounts(database):
        _refuse_others(host, behind_proxy)
        settings = settings.model_copy(update={"person": getpass.getuser(), "token": token_of(places)})
    return _started(settings, port, host, processes, behind_proxy)


def _refuse_proxies(proxies: Sequence[str], user_header: str) -> None:
    for one in proxies:
        network(one)
    if user_header and not proxies:
        raise BadInput(
            f"Whoever the header {user_header} names is believed from some addresses alone: give those of "
            "the login proxy (proxies)."
        )


def _refuse_others(host: str, behind_proxy: bool) -> None:
    if behind_proxy or not is_loopback(host):
        raise BadInput(
            "Without accounts a service is for this machine alone: make accounts first (chunkflow user add), "
            "or let it answer at 127.0.0.1 without a proxy."
        )


def _started(
    settings: ProcessSettings, port: int, host: str, processes: int, behind_proxy: bool
) -> LabServing:
    """Begin the processes on their sockets."""
    if processes < 1:
        raise BadInput("A service has at least one process.")
    sockets = _sockets(port, host, processes if behind_proxy else 0)
    handles = [one.fileno() for one in sockets]
    each = [settings.model_copy(update={"handle": handles[n % len(handles)]}) for n in range(processes)]
    known = port if behind_proxy else int(sockets[0].getsockname()[1])
    name = HOST if is_loopback(host) else socket.gethostname()
    below = f"{settings.token}/" if settings.token else ""
    return LabServing(f"http://{name}:{known}/{below}", known, sockets, each)


def _sockets(port: int, host: str, backends: int) -> list[socket.socket]:
    """One socket that all processes share, or so many behind the port of a proxy."""
    if not backends:
        return [listening(port, host)]
    opened: list[socket.socket] = []
    try:
        for number in range(1, backends + 1):
            opened.append(listening(port + number))
    except BadInput:
        for one in opened:
            one.close()
        raise
    return opened


def _has_accounts(database: str | Path) -> bool:
    accounts = open_accounts(database)
    try:
        return accounts.any()
    finally:
        accounts.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def absolute(source: str | Path) -> str:
    """A source by a name that other processes understand."""
    text = str(source)
    return text if "://" in text else str(Path(text).expanduser().absolute())
