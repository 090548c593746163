"""The clients of S3 and GCS that cloud-files makes: how long they try by themselves, and what they raise.

A request is tried again at once, in three layers, each for its own faults:
1. the client (botocore, google-cloud-storage) repeats what was refused or not answered, for a second or so;
2. cloud-files repeats the whole of it, a body that was cut short included;
3. the runner repeats the cell, with waits of up to a minute, and says so.
As they come, the first two try for half a minute where a store is busy and for half an hour where it hangs; a
worker that is silent for so long is taken for dead. What a store refuses (no such bucket, no right to it) is
not asked again.
"""

from __future__ import annotations

import errno
from typing import Any

import boto3
import botocore.session
import cloudfiles.connectionpools
import cloudfiles.interfaces
import google.cloud.storage.retry
import requests
import tenacity
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError
from cloudfiles.exceptions import UnsupportedProtocolError
from cloudfiles.interfaces import GoogleCloudStorageInterface, HttpInterface, S3Interface
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import DefaultCredentialsError

CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0
"""Without a connection, and without a byte of an answer, after which a request of S3 has failed."""
TRIES = 3
LONGEST_WAIT = 2.0
GCS_FIRST_WAIT, GCS_SECONDS = 0.2, 20.0
"""Before the client of GCS asks again for the first time, and for how long it does, where it would wait for a
second and try for two minutes."""
_LIBRARIES = {"botocore", "boto3", "google", "urllib3", "requests", "cloudfiles", "tenacity"}
_REFUSALS = (401, 403, 404)
_KEYLESS = (NoCredentialsError, PartialCredentialsError, DefaultCredentialsError)


def is_fault(error: BaseException) -> bool:
    """Whether this is what a disk, S3, GCS or the way there raise when they do not do as asked."""
    if isinstance(error, UnsupportedProtocolError):
        return False
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _LIBRARIES


def is_refusal(error: BaseException) -> bool:
    """Whether the store has understood, and will answer the same when asked again."""
    if isinstance(error, ClientError):
        if error.response.get("Error", {}).get("Code", "").isdigit():
            return False  # what it had to say did not arrive: it may be that there is no such file, or worse
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _REFUSALS
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _REFUSALS
    return isinstance(error, GoogleAPICallError) and error.code in _REFUSALS


def said(error: BaseException) -> str:
    """What went wrong; where there are no keys, also where they are looked for."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    if not isinstance(error, _KEYLESS):
        return str(error)
    return (
        "no keys are found; they are looked for as CloudVolume does: in ~/.cloudfiles/secrets, in the "
        "environment, as the role of this machine"
    )


def make_clients_quick() -> None:
    """Let all that CloudVolume and CloudFiles ask of a store in this process end within minutes."""
    session = botocore.session.get_session()
    session.set_default_client_config(Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS))
    cloudfiles.connectionpools.boto3 = boto3.Session(botocore_session=session)
    gcs: Any = google.cloud.storage.retry.DEFAULT_RETRY
    gcs._initial, gcs._timeout = GCS_FIRST_WAIT, GCS_SECONDS
    stop, wait = tenacity.stop_after_attempt(TRIES), tenacity.wait_random_exponential(0.25, LONGEST_WAIT)
    # an AttributeError is how `head` of cloud-files says that an object of GCS is not there
    again = tenacity.retry_if_exception(
        lambda error: not (is_refusal(error) or isinstance(error, AttributeError))
    )
    for interface in (S3Interface, GoogleCloudStorageInterface, HttpInterface):
        for method in vars(interface).values():
            retrying: Any = getattr(method, "retry", None)
            if retrying is not None:
                retrying.stop, retrying.wait, retrying.retry = stop, wait, again
    # lists are fetched by functions that are made, and wrapped, at each call
    cloudfiles.interfaces.retry = tenacity.retry(reraise=True, stop=stop, wait=wait, retry=again)


make_clients_quick()
