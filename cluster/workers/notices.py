"""Notices that a node is about to be taken away, from whoever says so there.

1. The file that CHUNKFLOW_NOTICE names, which a batch script's trap writes.
2. AWS: the metadata of the instance names its interruption, two minutes before.
3. Google: the metadata says that the instance is preempted, half a minute before.
4. SIGTERM to this process.

The clouds are asked only where the machine says that it is theirs, or where the environment says where to
ask, by the variables that their own libraries use.
"""

from __future__ import annotations

import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

ASK_SECONDS = 5.0
LOOK_SECONDS = 0.5
TIMEOUT = 2.0
MACHINE = Path("/sys/class/dmi/id")
SIGTERM = "SIGTERM"
AWS_DEFAULT, GCP_DEFAULT = "http://169.254.169.254", "metadata.google.internal"

Asked = Callable[[], str]
"""Says why the node is to be taken; empty while nothing is known of that."""


class Notices:
    """Watches for a notice, in threads of its own; the first that comes stays."""

    def __init__(self, sources: Mapping[Asked, float]) -> None:
        self._came = threading.Event()
        self._why = ""
        for ask, seconds in sources.items():
            threading.Thread(target=self._watch, args=(ask, seconds), name="notices", daemon=True).start()

    @property
    def came(self) -> bool:
        return self._came.is_set()

    def wait(self) -> str:
        """Wait for a notice, and say what it is."""
        self._came.wait()
        return self._why

    def give(self, why: str) -> None:
        if not self._came.is_set():
            self._why = why
            self._came.set()

    def hear_sigterm(self) -> None:
        """Take SIGTERM for a notice, once: the next is for whoever heard it before."""
        before = signal.getsignal(signal.SIGTERM)

        def heard(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, before)
            self.give(SIGTERM)

        signal.signal(signal.SIGTERM, heard)

    def _watch(self, ask: Asked, seconds: float) -> None:
        while not self._came.is_set():
            if why := ask():
                self.give(why)
            self._came.wait(seconds)


def sources_here(environment: Mapping[str, str] = os.environ, machine: Path = MACHINE) -> dict[Asked, float]:
    """Who may say on this node that it is to be taken, and every how many seconds each is asked."""
    sources: dict[Asked, float] = {}
    if path := environment.get("CHUNKFLOW_NOTICE"):
        sources[lambda: file_notice(Path(path))] = LOOK_SECONDS
    maker = _maker(machine)
    aws = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", AWS_DEFAULT if "Amazon EC2" in maker else "")
    if aws and environment.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
        sources[lambda: aws_notice(aws)] = ASK_SECONDS
    google = environment.get("GCE_METADATA_HOST", GCP_DEFAULT if "Google Compute Engine" in maker else "")
    if google:
        sources[lambda: google_notice(google)] = ASK_SECONDS
    return sources


def _maker(machine: Path) -> str:
    """Who made the machine, by its own word."""
    words = []
    for name in ("sys_vendor", "product_name"):
        try:
            words.append((machine / name).read_text())
        except OSError:
            continue
    return " ".join(words)


def file_notice(path: Path) -> str:
    """What the file of notice says, once it is there."""
    try:
        return path.read_text(errors="replace").strip() or "notice"
    except OSError:
        return ""


def aws_notice(endpoint: str) -> str:
    """Ask the metadata service of an EC2 instance (its second version, which wants a token)."""
    root = endpoint.rstrip("/") + "/latest"
    token = _answer(f"{root}/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    action = token and _answer(f"{root}/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    return f"spot instance: {action}" if action else ""


def google_notice(host: str) -> str:
    """Ask the metadata server of a Compute Engine instance."""
    place = f"http://{host}/computeMetadata/v1/instance/preempted"
    return "spot instance preempted" if _answer(place, {"Metadata-Flavor": "Google"}) == "TRUE" else ""


def _answer(url: str, headers: Mapping[str, str], method: str = "GET") -> str:
    """What a metadata service says; empty where it says nothing or does not answer. No proxy is asked: it
    would answer for another machine, or be given the token."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            said: bytes = answer.read(4096)
    except (OSError, ValueError):
        return ""
    return said.decode(errors="replace").strip()
