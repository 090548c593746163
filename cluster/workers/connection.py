"""A Ray cluster on this machine, or the connection to one by its address.

A process has one Ray, which all runs in it share: the first one starts or joins it, and a run that asks for
another place is refused.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import ray
import ray.cloudpickle
from ray._private import ray_constants
from ray._private import worker as rays_worker
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.util.client import ray as rays_client

from chunkflow.errors import BadInput
from cluster import probe
from cluster.closed import closed_folder, keep_token

LOCAL_STORE_BYTES = 128 * 1024**2
STARTS = 3
STARTED_LATE = "timed out during startup"
ASK_SECONDS = 300.0
"""A cluster that went to sleep may first have to start a node."""
CONNECT_SECONDS = 10.0
CLIENT_TRIES = 3
CLIENT_DIED = "Starting Ray client server failed"
"""The head forks a process for whoever comes by ray://, out of one with many threads: now and then it dies at
once, and the next one lives."""
TOKEN = "Where the cluster has a token, say where: export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE."
"""Ray says of a wrong token no more than that it could not connect."""
_LOCK = threading.Lock()
"""Held while Ray is started or joined: of runs that begin together one does it."""
_OWN_ADDRESS: dict[str, str] = {}
"""By the address at which this process has joined a cluster, the one that the cluster itself goes by."""
ADVICE = "Use chunkflow submit, which runs the job there as it is here, or install the same on its nodes."


def start_here(cores: float) -> None:
    """Start Ray on this machine with so many cores to give to workers, at least those that it has, and all
    its GPUs; nothing is done where this process has started it already."""
    with _LOCK:
        refuse_unstartable()
        if not ray.is_initialized():
            _in_lasting_thread(lambda: _start(max(cores, os.cpu_count() or 1)))


def refuse_unstartable() -> None:
    """Raise BadInput where workers of this machine cannot be had, as this process has joined a cluster, or
    Ray has no safe folder. To be called before anything is written, too."""
    if not ray.is_initialized():
        closed_folder()
    elif not _has_started():
        raise BadInput(_has_another("workers of this machine"))


def _has_started() -> bool:
    """Whether the Ray of this process is one that it has started itself."""
    node = rays_worker._global_node
    return node is not None and node.is_head()


def _has_another(wanted: str) -> str:
    own = ray.get_runtime_context().gcs_address
    joined = next((address for address, theirs in _OWN_ADDRESS.items() if theirs == own), own)
    has = "started Ray on this machine" if _has_started() else f"joined the Ray cluster at {joined}"
    return (
        f"This process has {has} already, and can have one Ray only: for {wanted} call ray.shutdown() first, "
        "or use another process."
    )


def _in_lasting_thread(start: Callable[[], None]) -> None:
    """Call this in a thread that lasts as long as the process: the kernel ends Ray's processes with the
    thread that has started them, and what a run is started in may end before the next run."""
    started: Future[None] = Future()

    def last() -> None:
        try:
            start()
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)
            threading.Event().wait()

    threading.Thread(target=last, name="ray", daemon=True).start()
    started.result()


def _start(cores: float) -> None:
    """Start Ray. It gives itself half a minute, which may be too short where the machine is busy: then it is
    started again."""
    others = psutil.Process().children(recursive=True)
    folder = closed_folder() / "ray"
    keep_token()
    for tries_left in reversed(range(STARTS)):
        try:
            with _on_loopback():
                ray.init(
                    address="local",
                    num_cpus=cores,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    object_store_memory=LOCAL_STORE_BYTES,
                    _memory=psutil.virtual_memory().total,
                    _temp_dir=str(folder),
                    _system_config={
                        "prestart_worker_first_driver": False
                    },  # workers have their own processes
                )
            return
        except Exception as error:
            if not tries_left or STARTED_LATE not in str(error):
                raise
            _end([child for child in psutil.Process().children(recursive=True) if child not in others])


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray listen on 127.0.0.1 alone, and be found there, by its switch for systems on which it makes no
    clusters: else it puts the machine's own address in the place of this one."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _end(processes: list[psutil.Process]) -> None:
    """What a start that was given up has left."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def refuse_dead(address: str) -> None:
    """To be called before `join`: Ray itself asks a head that is not there for minutes."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise BadInput(f"address takes ray://HOST:PORT, HOST:PORT or auto, not {address!r}.")
    refuse_silent(host, int(port), address)


def refuse_silent(host: str, port: int, address: str) -> None:
    """Raise BadInput where nothing takes a connection."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise BadInput(f"No Ray cluster answers at {address}: {error.strerror or error}.") from error


def join(address: str) -> None:
    """Connect to a cluster that has this machine's Python, Ray and chunkflow; nothing is done where this
    process has joined it already."""
    with _LOCK:
        if not ray.is_initialized():
            _join(address)
            return
        own = ray.get_runtime_context().gcs_address
        if own not in _OWN_ADDRESS.values() and _may_be(address, own):  # this process joined it by ray.init
            _refuse_unlike(address)
            _OWN_ADDRESS[address] = own
        if own not in (address, _OWN_ADDRESS.get(address)):
            raise BadInput(_has_another(f"the cluster at {address}"))


def _may_be(address: str, own: str) -> bool:
    """Whether the Ray that this process has joined, which goes by `own`, is the cluster that is meant: `auto`
    is whichever it has joined, and a proxy's address must be the one to which Ray's client is connected."""
    return not _has_started() and address in (own, "auto", _dialled())


def _dialled() -> str | None:
    """The address to which Ray's client is connected in this process; None where it has no client."""
    client = rays_client.get_context().client_worker
    return None if client is None else f"ray://{client._conn_str}"


def _join(address: str) -> None:
    _connect(address)
    try:
        _refuse_unlike(address)
        _OWN_ADDRESS.clear()
        _OWN_ADDRESS[address] = ray.get_runtime_context().gcs_address
    except BaseException:
        ray.shutdown()  # else the next run would find it joined
        raise


def _refuse_unlike(address: str) -> None:
    """Raise BadInput where the cluster does not run what is run here."""
    ray.cloudpickle.register_pickle_by_value(probe)  # chunkflow may not be there
    try:
        there = ray.get(ray.remote(num_cpus=0)(probe.here).remote(), timeout=ASK_SECONDS)
    except (RayError, GetTimeoutError) as error:
        raise BadInput(f"The cluster at {address} runs nothing: {' '.join(str(error).split())}") from error
    finally:
        ray.cloudpickle.unregister_pickle_by_value(probe)
    refuse_other_versions(address, there, probe.here())


def _connect(address: str) -> None:
    for tries_left in reversed(range(CLIENT_TRIES)):
        try:
            with _on_loopback():
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            return
        except AuthenticationError as error:
            raise BadInput(f"{' '.join(str(error).split()).partition('. ')[0]}. {TOKEN}") from error
        except (ConnectionError, ValueError, RuntimeError) as error:
            if not tries_left or CLIENT_DIED not in str(error):
                raise BadInput(_why_not(address, " ".join(str(error).split()))) from error


def _why_not(address: str, said: str) -> str:
    """Ray compares its own version and Python's before anything else."""
    if "ersion" in said and ("ismatch" in said or "differ" in said):
        return f"The cluster at {address} has other versions than this machine: {said} {ADVICE}"
    if CLIENT_DIED in said:
        return (
            f"The head at {address} cannot start a process for Ray's client: try again, or use chunkflow "
            "submit, which does without."
        )
    return f"No Ray cluster answers at {address}: {said}. {TOKEN}"


def refuse_other_versions(address: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise BadInput where workers would not run what is run here."""
    for name, parts in (("python", 2), ("ray", 3)):
        if there[name].split(".")[:parts] != here[name].split(".")[:parts]:
            has = f"{name.capitalize()} {there[name]}, and this machine {here[name]}"
            raise BadInput(f"The cluster at {address} has {has}. {ADVICE}")
    if not there["chunkflow"]:
        raise BadInput(f"The cluster at {address} has no chunkflow. {ADVICE}")
    if there["chunkflow"] != here["chunkflow"]:
        raise BadInput(f"The cluster at {address} has another chunkflow than this machine. {ADVICE}")
