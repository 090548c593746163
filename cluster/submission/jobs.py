"""The Jobs API of a Ray cluster: to submit, ask, follow and stop jobs from a machine outside of it.

The token, if the cluster asks for one, is found by Ray's own client; see NO_TOKEN.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
import requests
from ray.dashboard.modules.dashboard_sdk import SubmissionClient
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from chunkflow.errors import BadInput, ChunkflowError
from cluster.workers.connection import refuse_silent

ANSWER_SECONDS = 60.0
PROBE_SECONDS = 900.0
"""A small job may have to wait for an environment to be installed."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "INTERRUPTED")
INTERRUPTED = 130
"""The exit code of a driver that was asked to stop."""
NO_TOKEN = (
    "{address} asks for a token: put the cluster's into ~/.ray/auth_token, into the file that "
    "RAY_AUTH_TOKEN_PATH names, or into RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token."
)
WRONG_TOKEN = (
    "{address} does not take this machine's token (in RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH "
    "names, or ~/.ray/auth_token): put the cluster's there."
)

UPLOADS = ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging")
"""The parts of Ray that tell of each upload."""


@dataclass(frozen=True)
class Submission:
    """A job of chunkflow on a cluster."""

    id: str
    job: str
    work: str
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED, as Ray says; INTERRUPTED where its runner was asked
    to stop and did."""
    since: float

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's own would wait for ever for an answer, and take the address in RAY_ADDRESS, where there is one,
    instead of the one that was asked for."""

    def __init__(self, address: str) -> None:
        self._client_ray_version = ray.__version__
        SubmissionClient.__init__(self, address)
        self._check_connection_and_version()

    def _do_request(
        self, method: str, endpoint: str, *, data: bytes | None = None, json_data: Any = None
    ) -> requests.Response:
        answer: requests.Response = super()._do_request(
            method, endpoint, data=data, json_data=json_data, timeout=ANSWER_SECONDS
        )
        return answer


class Jobs:
    """The jobs of one cluster, by the address of its dashboard."""

    def __init__(self, address: str) -> None:
        self.address = shown_address(address)
        """Without credentials."""
        _refuse_dead(address)
        for name in UPLOADS:
            logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
        with self._speaking():
            try:
                self._client = _Client(address)
            except (ValueError, KeyError) as error:
                raise BadInput(f"What answers at {self.address} is no Ray dashboard.") from error

    def submit(
        self, entrypoint: str, files: Path, runtime_env: Mapping[str, Any], metadata: dict[str, str]
    ) -> str:
        """Send a folder of files, and run a command in it there; returns the submission's id."""
        with self._speaking():
            submitted: str = self._client.submit_job(
                entrypoint=entrypoint,
                runtime_env={**runtime_env, "working_dir": str(files)},
                metadata=metadata,
            )
            return submitted

    def ask(self, files: Path, words: list[str], runtime_env: Mapping[str, Any], mark: str) -> Any:
        """Run a short command there to its end; returns the JSON of the line that begins with the mark. Ray's
        record of it stays: where that is deleted at once, Ray writes another that tells of a failure."""
        entrypoint = shlex.join(words)
        asked = self.submit(entrypoint, files, runtime_env, {})
        until = time.monotonic() + PROBE_SECONDS
        try:
            with self._speaking():
                while (info := self._client.get_job_info(asked)).status not in ENDED:
                    if time.monotonic() > until:
                        raise ChunkflowError(f"{self.address} gave no answer within {PROBE_SECONDS:.0f} s.")
                    time.sleep(0.3)
                said = str(self._client.get_job_logs(asked))
        except BaseException:
            self.stop(asked)
            raise
        if info.status != "SUCCEEDED":
            lines = said.strip().splitlines() or [str(info.message)]
            raise ChunkflowError(f"{self.address} could not run {words[1]}: {' '.join(lines[-3:])}")
        answers = [line.removeprefix(mark) for line in said.splitlines() if line.startswith(mark)]
        if not answers:
            raise ChunkflowError(
                f"{self.address} did not tell what it was asked: {' '.join(said.split())[-300:]}"
            )
        return json.loads(answers[-1])

    def submissions(self) -> list[Submission]:
        """The jobs that were submitted by chunkflow, the newest first."""
        with self._speaking():
            found = self._client.list_jobs()
        ours = [job for job in found if "chunkflow" in (job.metadata or {}) and job.submission_id]
        return [_submission(job) for job in sorted(ours, key=lambda job: -(job.start_time or 0))]

    def submission(self, id: str) -> Submission:
        with self._speaking():
            return _submission(self._client.get_job_info(id))

    def log(self, id: str) -> str:
        """All that the job's driver said."""
        with self._speaking():
            return str(self._client.get_job_logs(id))

    def follow(self, id: str) -> Iterator[str]:
        """What the job's driver said, and says until it ends."""
        lines = self._client.tail_job_logs(id)

        async def line() -> str | None:
            return await anext(lines, None)

        with asyncio.Runner() as runner, self._speaking():  # the runner sees to Ctrl-C
            while (said := runner.run(line())) is not None:
                yield said

    def stop(self, id: str) -> None:
        """End the job's driver: it is asked to, and killed a few seconds later."""
        with self._speaking():
            self._client.stop_job(id)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn what the client raises into one sentence."""
        try:
            yield
        except AuthenticationError as error:
            said = WRONG_TOKEN if "failed" in str(error) else NO_TOKEN
            raise BadInput(said.format(address=self.address)) from error
        except requests.Timeout as error:
            raise ChunkflowError(
                f"{self.address} takes connections, but gives no answer within {ANSWER_SECONDS:.0f} s."
            ) from error
        except (requests.RequestException, OSError) as error:
            raise ChunkflowError(f"{self.address} does not answer any more: {error}") from error
        except RuntimeError as error:
            raise ChunkflowError(f"{self.address}: {' '.join(str(error).split())[:500]}") from error


def _submission(job: Any) -> Submission:
    known = job.metadata or {}
    since = (job.start_time or 0) / 1000
    name, work = known.get("job", ""), known.get("work", "")
    state = "INTERRUPTED" if job.driver_exit_code == INTERRUPTED else str(job.status.value)
    return Submission(job.submission_id, name, work, state, since)


def shown_address(address: str) -> str:
    """An address without the name and password that it may hold."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _refuse_dead(address: str) -> None:
    """Ray's client waits for ever where packets are lost."""
    shown = shown_address(address)
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(
            f"The address must be that of the cluster's dashboard, as in http://HOST:8265, not {shown!r}."
        )
    refuse_silent(parts.hostname, port, shown)


@contextmanager
def folder_of(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these files, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="chunkflow-") as name:
        for path, data in files.items():
            file = Path(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        yield Path(name)
