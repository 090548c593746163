"""The queues of a job on SQS: made once, kept from others, removed; and who cannot use them is told why."""

from __future__ import annotations

import urllib.request

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError

from chunkflow.engine.queue.sqs.client import NoQueue
from chunkflow.engine.queue.sqs.queues import Queues, dead_letters, make_queues, remove_queues
from chunkflow.errors import BadInput, StorageError
from testbed.moto import free_port
from tests.support.sqs import FIRST, environment, make


def test_queues_are_made_once_kept_from_other_jobs_and_removed(url: str, aws: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        client = make_queues(url, 2, "file:///data/jobs/one")
    with pytest.raises(BadInput, match="serves the job in file:///data/jobs/one"):
        make_queues(url, 2, "file:///data/jobs/two")
    queues = Queues(client, url, 2, FIRST)
    by_hand = client.create(f"{url.removeprefix('sqs://')}-work-2", {}, {})
    make_queues(url, 3, "file:///data/jobs/one")
    client.send(queues.dead, ["unread"], "for someone to see")
    remove_queues(Queues(client, url, 1, FIRST), "file:///data/jobs/one")  # it has fewer kinds by now
    left = client.boto.list_queues(QueueNamePrefix=url.removeprefix("sqs://"))["QueueUrls"]
    assert left == [queues.dead, by_hand]
    assert dead_letters(url) == dead_letters(url) == [("for someone to see", "unread")]
    client.delete(queues.dead)
    assert dead_letters(url) == []


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


NOWHERE = {
    "AWS_CONFIG_FILE": "/none",
    "AWS_SHARED_CREDENTIALS_FILE": "/none",
    "AWS_EC2_METADATA_DISABLED": "true",
}


WITHOUT: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "region": ({}, ("AWS_DEFAULT_REGION",), "no AWS region is known; set AWS_DEFAULT_REGION"),
    "keys": ({}, KEYS, "no AWS keys are found"),
    "profile": ({"AWS_PROFILE": "nobody"}, (), "no AWS keys are found .*nobody"),
    "endpoint": ({"AWS_ENDPOINT_URL": "nonsense"}, (), "look at AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_who_cannot_use_sqs_is_told_in_a_sentence(case: str, aws: pytest.MonkeyPatch) -> None:
    changed, removed, said = WITHOUT[case]
    aws.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers keys
    for variable, value in {**NOWHERE, **changed}.items():
        aws.setenv(variable, value)
    for variable in removed:
        aws.delenv(variable)
    with pytest.raises(BadInput, match=said) as raised:
        make_queues("sqs://q", 1, "file:///work")
    assert len(str(raised.value).splitlines()) == 1


def let_in(requests: bytes) -> None:
    """So many requests are answered without a look at who asks."""
    guard = f"{environment()['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    said = urllib.request.Request(guard, requests, {"Content-Type": "text/plain"})
    urllib.request.urlopen(said).close()


def test_who_is_not_allowed_to_use_sqs_is_told_so(url: str, aws: pytest.MonkeyPatch) -> None:
    let_in(b"0")
    try:
        with pytest.raises(BadInput, match="AWS does not allow it"):
            make_queues(url, 1, "file:///work")
    finally:
        let_in(b"inf")


def test_a_queue_is_looked_for_again_where_sqs_has_no_time(url: str, aws: pytest.MonkeyPatch) -> None:
    client, asked = make(url), 0

    def refuse_once(**_: object) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ConnectionClosedError(endpoint_url="sqs")

    client.boto.meta.events.register("before-call.sqs.GetQueueUrl", refuse_once)
    assert client.find(f"{url.removeprefix('sqs://')}-work-0").endswith("-work-0")
    with pytest.raises(NoQueue):
        client.find("none")
    assert asked == 3, "what is not there is told at once"


def test_who_does_not_reach_sqs_hears_of_it(aws: pytest.MonkeyPatch) -> None:
    aws.setattr("chunkflow.engine.queue.sqs.client.OPENING_PATIENCE", 0.0)
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match="Cannot find the queue"):
        make_queues("sqs://q", 1, "file:///work")
