"""Client of SQS: requests of ten messages at a time, and the meaning of refusals.

Region, endpoint and keys are found as boto3 finds them: by AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, a profile
or a role.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from chunkflow.engine.queue.sqs.messages import MOST_BYTES
from chunkflow.errors import BadInput, StorageError

TOGETHER = 10
"""Messages in a request."""
CONNECTIONS = 20
CONNECT_SECONDS, READ_SECONDS = 5, 30
"""Longer than any wait for messages."""
SEND_TRIES = 5
OPENING_PATIENCE, RUNNING_PATIENCE = 5.0, 300.0
LONGEST_PAUSE = 10.0
REFUSALS = re.compile(
    "AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|ExpiredToken|UnrecognizedClient|InvalidAccessKey"
    "|AuthFailure|MissingAuthenticationToken|InvalidSecurity|OptInRequired"
)
NOT_THERE = re.compile("NonExistentQueue|QueueDoesNotExist")
JUST_REMOVED = "QueueDeletedRecently"
REASON = "reason"


class NoQueue(StorageError):
    """The queue is not there, or not any more."""


class JustRemoved(StorageError):
    """Refusal of SQS to make a queue whose name was removed less than a minute ago."""


@dataclass(frozen=True)
class Received:
    """A message, which nobody else gets for as long as was asked."""

    handle: str
    body: str
    reason: str = ""
    """Why it was laid aside, for one that could not be read."""


@dataclass(frozen=True)
class QueueDepth:
    """Approximate number of messages in a queue."""

    waiting: int
    in_flight: int


class SqsClient:
    """Asks SQS, and asks again; may be used by several threads."""

    def __init__(self) -> None:
        config = Config(
            retries={"mode": "standard", "max_attempts": 2},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
        )
        self.patience = OPENING_PATIENCE
        """Seconds for which it asks again where SQS does not do as asked."""
        with speaking_of("reach SQS"):
            self.boto: Any = boto3.client("sqs", config=config)

    def _ask(self, what: str, method: str, **request: Any) -> dict[str, Any]:
        begin, pause = time.monotonic(), 0.25
        while True:
            try:
                with speaking_of(what):
                    return dict(getattr(self.boto, method)(**request))
            except JustRemoved:
                raise
            except StorageError as error:
                is_absent = method == "get_queue_url" and isinstance(error, NoQueue)
                if is_absent or time.monotonic() + pause > begin + self.patience:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def find(self, name: str) -> str:
        """The URL of a queue; raises NoQueue."""
        return str(self._ask(f"find the queue {name}", "get_queue_url", QueueName=name)["QueueUrl"])

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> str:
        what = f"make the queue {name}"
        made = self._ask(what, "create_queue", QueueName=name, Attributes=attributes, tags=tags)
        return str(made["QueueUrl"])

    def delete(self, url: str) -> None:
        self._ask(f"remove the queue {_short(url)}", "delete_queue", QueueUrl=url)

    def tags(self, url: str) -> dict[str, str]:
        found = self._ask(f"read the tags of the queue {_short(url)}", "list_queue_tags", QueueUrl=url)
        return dict(found.get("Tags", {}))

    def arn(self, url: str) -> str:
        return self._attributes(url, "QueueArn")["QueueArn"]

    def count(self, url: str) -> QueueDepth:
        waiting, hidden, later = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        found = self._attributes(url, waiting, hidden, later)
        return QueueDepth(int(found[waiting]) + int(found[later]), int(found[hidden]))

    def _attributes(self, url: str, *names: str) -> dict[str, str]:
        what = f"look at the queue {_short(url)}"
        found = self._ask(what, "get_queue_attributes", QueueUrl=url, AttributeNames=list(names))
        return dict(found["Attributes"])

    def send(self, url: str, bodies: Sequence[str], reason: str = "") -> None:
        """Send messages, as many in a request as it takes; a reason goes beside what could not be read."""
        said = {REASON: {"DataType": "String", "StringValue": reason}} if reason else {}
        for together in _requests(bodies):
            entries: list[dict[str, Any]] = [
                {"Id": str(i), "MessageBody": body, "MessageAttributes": said}
                for i, body in enumerate(together)
            ]
            for attempt in range(SEND_TRIES):
                answer = self._ask(
                    f"send to the queue {_short(url)}", "send_message_batch", QueueUrl=url, Entries=entries
                )
                failed = {item["Id"]: item for item in answer.get("Failed", [])}
                entries = [entry for entry in entries if entry["Id"] in failed]
                if not entries:
                    break
                time.sleep(0.1 * 2**attempt)
            else:
                why = next(iter(failed.values()))
                raise StorageError(
                    f"Cannot send to the queue {_short(url)}: {why.get('Message') or why['Code']}."
                )

    def receive(self, url: str, most: int, wait: int, visibility: int) -> list[Received]:
        """Messages, waited for; nobody else gets them for `visibility` seconds."""
        answer = self._ask(
            f"receive from the queue {_short(url)}",
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=min(max(most, 1), TOGETHER),
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageAttributeNames=[REASON],
        )
        return [
            Received(m["ReceiptHandle"], m["Body"], _text(m.get("MessageAttributes", {}).get(REASON)))
            for m in answer.get("Messages", [])
        ]

    def acknowledge(self, url: str, handles: Sequence[str]) -> None:
        """Delete messages that were received. One that cannot be comes again, and is heard twice."""
        for together in _tens(handles):
            entries = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(together)]
            what = f"delete from the queue {_short(url)}"
            self._ask(what, "delete_message_batch", QueueUrl=url, Entries=entries)

    def keep(self, url: str, handles: Sequence[str], seconds: int) -> None:
        """Keep messages from everyone else for so long from now; 0 gives them back."""
        for together in _tens(handles):
            entries = [
                {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                for i, handle in enumerate(together)
            ]
            what = f"keep messages of the queue {_short(url)}"
            self._ask(what, "change_message_visibility_batch", QueueUrl=url, Entries=entries)


def _requests(bodies: Sequence[str]) -> Iterator[list[str]]:
    """Bodies in groups that SQS takes in one request."""
    group: list[str] = []
    size = 0
    for body in bodies:
        if group and (len(group) == TOGETHER or size + len(body) > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(body)
        size += len(body)
    if group:
        yield group


def _tens(handles: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(handles), TOGETHER):
        yield handles[start : start + TOGETHER]


def _text(attribute: dict[str, Any] | None) -> str:
    return str(attribute.get("StringValue", "")) if attribute else ""


def _short(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def speaking_of(what: str) -> Iterator[None]:
    """Turn what boto3 raises into one sentence: BadInput where asking again cannot help."""
    try:
        yield
    except NoRegionError as error:
        raise BadInput(
            f"Cannot {what}: no AWS region is known; set AWS_DEFAULT_REGION, or a region in ~/.aws/config."
        ) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound) as error:
        raise BadInput(
            f"Cannot {what}: no AWS keys are found ({_sentence(error)}); set AWS_PROFILE, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role."
        ) from error
    except ClientError as error:
        raise _judged(error, what) from error
    except BotoCoreError as error:
        raise StorageError(f"Cannot {what}: {_sentence(error)}.") from error
    except ValueError as error:  # an endpoint that is none
        raise BadInput(f"Cannot {what}: {_sentence(error)}; look at AWS_ENDPOINT_URL.") from error


def _judged(error: ClientError, what: str) -> BadInput | StorageError:
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    said = " ".join(f"{said or code}".split()).rstrip(".")
    if NOT_THERE.search(code):
        return NoQueue(f"Cannot {what}: it is not there.")
    if JUST_REMOVED in code:
        return JustRemoved(f"Cannot {what}: {said}.")
    if REFUSALS.search(f"{code} {said}"):
        return BadInput(
            f"Cannot {what}: AWS does not allow it ({said}). The rights are in docs/several-clusters.md."
        )
    return StorageError(f"Cannot {what}: {said}.")


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
