"""Messages over SQS between runner and pools: small JSON, checked when read, never code.

work     {"version": 1, "run": {...}, "ranges": [{"stage": 0, "start": 0, "stop": 40}, ...]}
answers  {"version": 1, "run": {...}, "id": "5f3a...", "answers": [{"stage": 0, "index": 7, ...}, ...]}

What has its default value is left out. `id` tells an answer that was sent twice from a cell done twice.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from chunkflow.engine.queue.cells import Answer, Cause, Range, WorkerPlace

MOST_BYTES = 256 * 1024
"""What SQS takes in one request, and so in one message."""
MOST_CELLS = 1000
SHARES = 10
"""Messages that a put is cut into, so that several pools can share it: as many as go into one request."""
MOST_ANSWERS = 500
_ROOM_BYTES = MOST_BYTES - 1024
_TRACEBACK = 8000
_SHORT_TRACEBACK = 500

M = TypeVar("M")


class Unreadable(ValueError):
    """A message that no runner or pool of this version has written."""


@dataclasses.dataclass(frozen=True)
class RunKey:
    """Identity of a run: its number among those of its work folder, and when it began."""

    number: int
    began: float

    def follows(self, other: RunKey) -> bool:
        """Whether it is a later one. A higher number alone is of a work folder that was deleted and made
        again."""
        return self.number > other.number and self.began > other.began


@dataclasses.dataclass(frozen=True)
class WorkMessage:
    """A message of cells offered to the pools."""

    version: Literal[1]
    run: RunKey
    ranges: list[Range]


@dataclasses.dataclass(frozen=True)
class AnswersMessage:
    """A message of answers for cells."""

    version: Literal[1]
    run: RunKey
    id: str
    answers: list[Answer]


_WORK, _ANSWERS = TypeAdapter(WorkMessage), TypeAdapter(AnswersMessage)


def work_messages(run: RunKey, ranges: Sequence[Range]) -> list[str]:
    """Ranges as messages, cut so that several pools can share them; a cell that is to be tried alone has one
    of its own."""
    total = sum(map(len, ranges))
    size = min(max(-(-total // SHARES), 1), MOST_CELLS)
    groups: list[list[Range]] = []
    room = 0
    for offered in ranges:
        while len(offered):
            if offered.alone or not room:
                groups.append([])
                room = size
            first, offered = offered.split(min(1 if offered.alone else room, len(offered)))
            groups[-1].append(first)
            room = 0 if first.alone else room - len(first)
    return [_text({"run": vars(run), "ranges": [_without_defaults(r) for r in g]}) for g in groups]


def singles(offered: Range) -> list[Range]:
    """Its cells, one by one."""
    return [dataclasses.replace(offered, start=i, stop=i + 1) for i in range(offered.start, offered.stop)]


def joined(ranges: Sequence[Range]) -> list[Range]:
    """The same cells, those that follow each other together."""
    found: list[Range] = []
    for offered in sorted(ranges, key=lambda r: (r.worker_kind, r.stage, r.alone, r.skip, r.start)):
        if found and found[-1] == dataclasses.replace(offered, start=found[-1].start, stop=offered.start):
            found[-1] = dataclasses.replace(offered, start=found[-1].start)
        else:
            found.append(offered)
    return found


def read_work(text: str, cells: Sequence[int], worker_kind: int) -> WorkMessage:
    """A message of work for a plan whose stages have so many cells."""
    work = _read(text, _WORK)
    for offered in work.ranges:
        if not (
            0 <= offered.stage < len(cells) and 0 <= offered.start < offered.stop <= cells[offered.stage]
        ):
            raise Unreadable(
                f"this job has no cells {offered.start} to {offered.stop} of stage {offered.stage}"
            )
    return dataclasses.replace(
        work, ranges=[dataclasses.replace(r, worker_kind=worker_kind) for r in work.ranges]
    )


def answer_messages(run: RunKey, answers: Sequence[Answer]) -> list[str]:
    """Answers as messages that SQS takes."""
    groups: list[list[dict[str, Any]]] = []
    room = 0
    for answer in answers:
        plain, size = _fitting(answer)
        if size > room or len(groups[-1]) == MOST_ANSWERS:
            groups.append([])
            room = _ROOM_BYTES
        groups[-1].append(plain)
        room -= size
    return [_text({"run": vars(run), "id": secrets.token_hex(8), "answers": group}) for group in groups]


def read_answers(text: str, cells: Sequence[int]) -> AnswersMessage:
    """A message of answers about a plan whose stages have so many cells."""
    said = _read(text, _ANSWERS)
    for answer in said.answers:
        if not (0 <= answer.stage < len(cells) and 0 <= answer.index < cells[answer.stage]):
            raise Unreadable(f"this job has no cell {answer.index} of stage {answer.stage}")
    return said


def _fitting(answer: Answer) -> tuple[dict[str, Any], int]:
    """An answer as plain JSON, its traceback cut from the front, and its bytes in a message; one that is too
    large is a failure."""
    plain = _without_defaults(answer)
    if answer.traceback:
        plain["traceback"] = answer.traceback[-_TRACEBACK:]
    size = len(_text(plain)) + 1
    if size <= _ROOM_BYTES:
        return plain, size
    told = f"What the task decided or counted takes {size:,} bytes, and SQS takes {_ROOM_BYTES:,}."
    failed = dataclasses.replace(answer, cause=Cause.BUG, values=None, counts={}, traceback=told)
    plain = _without_defaults(failed)
    return plain, len(_text(plain)) + 1


def _without_defaults(thing: Range | Answer | WorkerPlace) -> dict[str, Any]:
    """The fields of a range or an answer that are not as they are by default."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        if value == default or field.name == "worker_kind":  # the kind is told by the queue
            continue
        plain[field.name] = _without_defaults(value) if isinstance(value, WorkerPlace) else value
    return plain


def _text(plain: dict[str, Any]) -> str:
    """ASCII alone, as SQS takes not every character."""
    return json.dumps({"version": 1, **plain}, separators=(",", ":"))


def _read(text: str, kind: TypeAdapter[M]) -> M:
    try:
        return kind.validate_python(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Unreadable(" ".join(str(error).split())[:_SHORT_TRACEBACK]) from error
