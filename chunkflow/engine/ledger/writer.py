"""Writer of a chain: a process told from every other, whose end its own machine can see."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Writer:
    """A process that writes, or wrote."""

    id: str
    host: str
    pid: int
    machine: str  # the kernel's boot and the process namespace; "" where they cannot be known
    born: int  # when the process started, in ticks since boot: a pid may be given again
    since: float  # by its own clock, for people to read

    @staticmethod
    def here() -> Writer:
        return Writer(
            secrets.token_hex(8),
            socket.gethostname(),
            os.getpid(),
            _machine(),
            _born(os.getpid()),
            time.time(),
        )

    def has_ended(self) -> bool:
        """Whether it was a process of this machine that is no more; False where that cannot be known."""
        if self.machine == "" or self.machine != _machine():
            return False
        return _born(self.pid) != self.born and not _is_hidden(self.pid)


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _born(pid: int) -> int:
    """The start time of a process, 0 if none is seen; a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _is_hidden(pid: int) -> bool:
    """Whether there may be a process that /proc does not show, as some clusters hide those of other users."""
    if os.path.exists(f"/proc/{pid}"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
