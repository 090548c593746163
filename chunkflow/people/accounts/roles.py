"""Roles that people have for data sets, and the names of both."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from chunkflow.errors import BadInput
from chunkflow.words import shortened

NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
SESSION_DAYS = 30
"""How long somebody who logged in stays so."""
MOST_LETTERS = 200
"""In the name of a data set."""
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Role(enum.IntEnum):
    """The right to look at a data set, to review it, or to own it; each has those before it."""

    LOOK = 1
    REVIEW = 2
    OWN = 3

    @classmethod
    def named(cls, text: str) -> Role:
        """The role of that name: look, review or own."""
        for role in cls:
            if str(role) == text:
                return role
        raise BadInput(f"{shortened(text, 40)!r} is no role: look, review or own.")

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


@dataclass(frozen=True)
class Person:
    """A person who asks, with the roles that were given to them."""

    name: str
    roles: Mapping[str, Role]
    """By data set; "" means all of them."""

    def may(self, role: Role, dataset: str) -> bool:
        """Whether the higher of the roles for that data set and for all of them is enough."""
        return any(held >= role for held in (self.roles.get(dataset), self.roles.get("")) if held)


@dataclass(frozen=True, order=True)
class Grant:
    """A role that a person has, and when they were seen last."""

    name: str
    dataset: str
    role: Role
    since: str
    last_seen: str


def checked_name(name: str) -> str:
    """The name of a person, as it may be given to an account."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{shortened(name[:80], 80)!r} is no name for an account: 1 to 64 letters of a to z, A to Z, "
            "digits and . _ @ + - make one."
        )
    return name


def checked_dataset(name: str) -> str:
    """The name of a data set, or "" for all of them."""
    if len(name) > MOST_LETTERS or _UNPRINTABLE.search(name):
        raise BadInput(
            f"{shortened(name[:80], 80)!r} is no name of a data set: it is text of at most {MOST_LETTERS} "
            "characters, without control characters."
        )
    return name
