"""Edits taken into the log, within a transaction that holds it: checked, then written with all that follows.

1. An edit that is there already, by its key, is given back.
2. One of an object that has changed since its author saw it is refused: nothing is overwritten unseen.
3. Undo and redo are per person and table. Only the last edit of an object that is not undone can be undone,
   and an undone one only be redone where the object is as the undo left it. A new edit ends what could be
   redone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from chunkflow.people.review.log.edits import Edit, Refused, json_text, signed, time_text
from chunkflow.people.review.log.effects import UNTOUCHED, effect_of, fields_before, refuse_senseless
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.schema import COUNTERS, EDITS, OBJECTS, UNDONE


def begin_counters(connection: sa.Connection) -> None:
    """Let the numbers of edits and of tables begin, where the log is new; leases have a row to hold."""
    known = set(connection.execute(sa.select(COUNTERS.c.name)).scalars())
    for name in {"edit", "table", "lease"} - known:
        connection.execute(COUNTERS.insert().values(name=name, value=0))


def hold_log(connection: sa.Connection) -> None:
    """Hold the log until the end of the transaction, against writers of other processes."""
    next_number(connection, "edit", take=False)


def next_number(connection: sa.Connection, name: str, take: bool = True) -> int:
    """The next number of a counter, or without `take` the last one; others wait for the transaction's end."""
    counter = COUNTERS.c.name == name
    changed = COUNTERS.update().where(counter).values(value=COUNTERS.c.value + int(take))
    connection.execute(changed)
    return int(connection.execute(sa.select(COUNTERS.c.value).where(counter)).scalar_one())


@dataclass(frozen=True)
class ObjectBefore:
    """An object as it is before an edit: its last edit, the last that is not undone, its state."""

    seq: int | None
    top: int | None
    state: dict[str, Any]


def take_edit(connection: sa.Connection, table: int, person: str, proposed: ProposedEdit) -> Edit:
    """Write an edit, or raise Refused before anything of it is written."""
    known = _edit(connection, EDITS.c.key == proposed.key)
    if known is not None:
        if (known.table, known.person) != (table, person):
            raise Refused(f"the key {proposed.key} is that of another edit: take a new one")
        return known
    if proposed.operation == "undo":
        take = _redo if proposed.redo else _undo
        return take(connection, table, person, proposed)
    assert proposed.object is not None
    held = _held(connection, table, proposed.object)
    if held.seq != proposed.seen:
        raise _unseen(connection, proposed.object, held.seq)
    refuse_senseless(proposed, held.state)
    after = effect_of(proposed)
    edit = _written(connection, table, person, proposed, proposed.object, held, after)
    _keep(connection, edit, held, edit.seq)
    own = sa.and_(UNDONE.c.table_id == table, UNDONE.c.person == person)
    connection.execute(UNDONE.update().where(own).values(redoable=False))
    return edit


def _undo(connection: sa.Connection, table: int, person: str, proposed: ProposedEdit) -> Edit:
    target = _to_undo(connection, table, person, proposed.undoes)
    held = _held(connection, table, target.object)
    if held.top != target.seq:
        raise _built_on(connection, target, held.top, "undone")
    edit = _written(
        connection, table, person, proposed, target.object, held, target.before, undoes=target.seq
    )
    below = _last_not_undone(connection, table, target.object, target.seq)
    _keep(connection, edit, held, below)
    values = {"table_id": table, "person": person, "by": edit.seq, "below": below, "redoable": True}
    connection.execute(UNDONE.insert().values(edit=target.seq, **values))
    return edit


def _redo(connection: sa.Connection, table: int, person: str, proposed: ProposedEdit) -> Edit:
    own = [UNDONE.c.table_id == table, UNDONE.c.person == person, UNDONE.c.redoable]
    if proposed.undoes is not None:
        own.append(UNDONE.c.by == proposed.undoes)
    wanted = sa.select(UNDONE).where(*own).order_by(UNDONE.c.by.desc()).limit(1)
    undone = connection.execute(wanted).mappings().first()
    if undone is None:
        raise Refused("there is nothing to redo")
    target = _edit(connection, EDITS.c.seq == undone["edit"])
    assert target is not None
    held = _held(connection, table, target.object)
    if held.top != undone["below"]:
        raise _built_on(connection, target, held.top, "redone")
    edit = _written(
        connection, table, person, proposed, target.object, held, target.after, undoes=undone["by"]
    )
    _keep(connection, edit, held, target.seq)
    connection.execute(UNDONE.delete().where(UNDONE.c.edit == target.seq))
    return edit


def _to_undo(connection: sa.Connection, table: int, person: str, seq: int | None) -> Edit:
    """The edit that is meant, else the person's last one that is not undone."""
    if seq is not None:
        found = _edit(connection, sa.and_(EDITS.c.seq == seq, EDITS.c.table_id == table))
        if found is None or found.person != person or found.operation == "undo":
            raise Refused(f"edit {seq} is none of yours in this table: only one's own edits can be undone")
        if connection.execute(sa.select(UNDONE.c.edit).where(UNDONE.c.edit == seq)).first():
            raise Refused(f"edit {seq} is undone already")
        return found
    last = _undoable(connection, table, person)
    if last is None:
        raise Refused("there is nothing to undo")
    return last


def _undoable(connection: sa.Connection, table: int, person: str) -> Edit | None:
    """The last edit of a person in a table that is not undone."""
    return _edit(
        connection,
        sa.and_(
            EDITS.c.table_id == table,
            EDITS.c.person == person,
            EDITS.c.operation != "undo",
            EDITS.c.seq.not_in(sa.select(UNDONE.c.edit).where(UNDONE.c.table_id == table)),
        ),
    )


def _last_not_undone(connection: sa.Connection, table: int, object: int, before: int) -> int | None:
    """The last edit of an object before another that is not undone."""
    found = _edit(
        connection,
        sa.and_(
            EDITS.c.table_id == table,
            EDITS.c.object == signed(object),
            EDITS.c.operation != "undo",
            EDITS.c.seq < before,
            EDITS.c.seq.not_in(sa.select(UNDONE.c.edit).where(UNDONE.c.table_id == table)),
        ),
    )
    return found.seq if found else None


def _edit(connection: sa.Connection, where: sa.ColumnElement[bool]) -> Edit | None:
    """The last edit of which something is true."""
    wanted = sa.select(EDITS).where(where).order_by(EDITS.c.seq.desc()).limit(1)
    row = connection.execute(wanted).mappings().first()
    return Edit.from_row(row) if row else None


def _held(connection: sa.Connection, table: int, object: int) -> ObjectBefore:
    where = sa.and_(OBJECTS.c.table_id == table, OBJECTS.c.object == signed(object))
    row = connection.execute(sa.select(OBJECTS).where(where)).mappings().first()
    return (
        ObjectBefore(row["seq"], row["top"], json.loads(row["state"]))
        if row
        else ObjectBefore(None, None, {**UNTOUCHED})
    )


def _written(
    connection: sa.Connection,
    table: int,
    person: str,
    proposed: ProposedEdit,
    object: int,
    held: ObjectBefore,
    after: dict[str, Any],
    undoes: int | None = None,
) -> Edit:
    edit = Edit(
        next_number(connection, "edit"),
        proposed.key,
        table,
        object,
        person,
        datetime.now(UTC),
        proposed.operation,
        fields_before(held.state, after),
        after,
        undoes,
        held.seq,
    )
    connection.execute(EDITS.insert().values(**edit.to_row()))
    return edit


def _keep(connection: sa.Connection, edit: Edit, held: ObjectBefore, top: int | None) -> None:
    """Write what is current of the object now."""
    state = held.state | edit.after
    values = {
        "seq": edit.seq,
        "top": top,
        "state": json_text(state),
        "person": edit.person,
        "at": time_text(edit.at),
    }
    if held.seq is None:
        keys = {"table_id": edit.table, "object": signed(edit.object)}
        connection.execute(OBJECTS.insert().values(**keys, **values))
        return
    where = sa.and_(OBJECTS.c.table_id == edit.table, OBJECTS.c.object == signed(edit.object))
    connection.execute(OBJECTS.update().where(where).values(**values))


def _unseen(connection: sa.Connection, object: int, seq: int | None) -> Refused:
    by = _edit(connection, EDITS.c.seq == seq) if seq is not None else None
    if by is None:
        return Refused(f"object {object} has no such edit as the one that was seen: load it again")
    return Refused(f"object {object} was changed by {by.person} ({by.operation}) after you saw it", by)


def _built_on(connection: sa.Connection, target: Edit, top: int | None, done: str) -> Refused:
    by = _edit(connection, EDITS.c.seq == top) if top is not None else None
    who = f"{by.person} changed it since ({by.operation})" if by else "it is no longer as it was"
    return Refused(
        f"the edit {target.seq} ({target.operation}) of object {target.object} cannot be {done}: {who}", by
    )
