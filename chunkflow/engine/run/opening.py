"""Opening of a run: the job is held against the ledger before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import chunkflow
from chunkflow.data.folder import Folder
from chunkflow.data.owned import OwnedPlaces
from chunkflow.engine.ledger.heartbeat import FENCE_HEARTBEATS, STOP
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.record import JobRecord, difference
from chunkflow.engine.ledger.state import FAILED, State
from chunkflow.engine.planning.job import Job, TaskEntry
from chunkflow.engine.planning.plan import Plan, plan_of_spec, spec_of
from chunkflow.engine.queue.cells import Cause
from chunkflow.engine.run.checking import faults_behind, mark_undone
from chunkflow.engine.run.outputs import (
    create,
    delete,
    delete_other_extents,
    deleted_size,
    parameters_of,
    places_of,
    places_there,
    record_created,
    refuse_foreign,
)
from chunkflow.engine.run.ownership import close_off_former, forget_former, make_staging
from chunkflow.engine.run.read_files import files_to_record, fingerprints_of, refuse_changed_files
from chunkflow.errors import BadInput

MEANS = {"name", "work", "memory", "resources", "queue", "heartbeat", "tasks"}
"""The keys of a job that change nothing that it makes, and its tasks, which are told apart."""


def canonical(job: Job, plan: Plan) -> dict[str, Any]:
    """All of a job that decides its results: parameters, versions and the user's own code."""
    versions = {step.entry: step.task.result_version() for step in plan.steps}
    document = job.model_dump(mode="json", exclude=MEANS)
    return document | {
        "chunk": list(plan.chunk),
        **({"cells": {name: list(size) for name, size in plan.sizes.own.items()}} if plan.sizes.own else {}),
        "box": str(plan.box) if plan.box else None,
        "tasks": [{entry.name: _canonical_task(job, entry, versions[entry.name])} for entry in job.tasks],
    }


def _canonical_task(job: Job, entry: TaskEntry, version: int) -> dict[str, Any]:
    code = entry.code(job.modules)
    own = {"code": code} if code else {}
    return {"type": entry.type, "version": version, **own, **parameters_of(job, entry)}


def changes_of(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences between two such documents, a line a parameter.

    The code of a task is compared where both know it: an earlier ledger does not, nor where it is installed.
    So a task that moves from beside the job into an installed package is held by its `version` from then on.
    """
    known = _with_code(before) & _with_code(now)
    return difference(_code_of(before, known), _code_of(now, known))


def _with_code(document: dict[str, Any]) -> set[str]:
    return {name for task in document["tasks"] for name, values in task.items() if "code" in values}


def _code_of(document: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The document with the code of these tasks alone."""
    tasks = [
        {
            name: {key: value for key, value in values.items() if key != "code" or name in names}
            for name, values in task.items()
        }
        for task in document["tasks"]
    ]
    return {**document, "tasks": tasks}


@dataclass(frozen=True)
class RunRequest:
    """All that a run asks for that the ledger may not fit."""

    cleared: set[str]
    """The tasks that a restart clears."""
    spec: dict[str, Any]
    """All of the job that decides its results."""
    files: dict[str, dict[str, str]]
    """The fingerprints of the files that its tasks read, as they are now."""


def open_run(
    plan: Plan,
    versions: dict[str, Any],
    restart: str | Sequence[str] = "",
    agree: Callable[[str], bool] = lambda _: True,
    ledger: Ledger | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Ledger:
    """Become the job's runner: the ledger, open for writing, with all outputs in place; a `stop` that was
    meant for the run before is removed.

    `restart` names a task, or several, to be cleared with those after it; `agree` is asked, with what would
    be deleted. `ledger` is that of the work folder where it was loaded already: it is read on, and is the one
    opened. `say` is told where another runner's lease is waited for.
    """
    ledger = _as_it_stands(plan, ledger)
    before, asked = _asked(plan, ledger, restart)
    if asked.cleared and not agree(deleted_size(before, ledger, _steps_of(before, asked.cleared))):
        raise BadInput("Nothing was deleted, and nothing was run.")
    known = ledger.segments
    ledger.take(plan.job.heartbeat, say=say)
    try:
        may_write = close_off_former(ledger)
        Folder(plan.work).discard([STOP])
        _refuse_what_came_between(plan, known, ledger, asked)
        before = _plan_before(ledger.state, plan)
        files = files_to_record(before, ledger.state, asked.files, asked.cleared)
        record = _record_of(plan, asked.spec, files)
        begun = {i for i, step in enumerate(before.steps) if step.name in ledger.state.clearing}
        deletes = bool(asked.cleared or begun)
        make_staging(ledger, [*(places_there(before) if deletes else []), *places_of(plan)])
        places = OwnedPlaces(ledger.owner, ledger.check)
        if deletes:
            if may_write:
                _wait_for_fences(plan, ledger, say)
            _clear(before, ledger, _steps_of(before, asked.cleared) | begun, places)
        cells = {stage.name: len(stage.grid) for stage in plan.stages}
        ledger.record_job(record, versions | {"chunkflow": chunkflow.__version__}, cells)
        _record_retried(plan, ledger)
        record_created(plan, ledger)
        ledger.flush(now=True)
        create(plan, places)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _record_of(plan: Plan, spec: dict[str, Any], files: dict[str, dict[str, str]]) -> JobRecord:
    grids = {stage.name: stage.grid.shape for stage in plan.stages}
    layers = [product.info for mips in plan.made_layers().values() for product in mips]
    return JobRecord(spec=spec, plan=spec_of(plan), grids=grids, files=files, layers=layers)


def named_tasks(restart: str | Sequence[str]) -> list[str]:
    """The tasks that a restart names: none, one or several."""
    return list(filter(None, [restart] if isinstance(restart, str) else restart))


def refuse_unfit(plan: Plan, restart: str | Sequence[str] = "", known: Ledger | None = None) -> str:
    """Raise BadInput where this run could not be opened as things stand; nothing is written. Returns what a
    restart would delete, in words. `known` is the ledger of the work folder where it was loaded already."""
    known = _as_it_stands(plan, known)
    before, asked = _asked(plan, known, restart)
    return deleted_size(before, known, _steps_of(before, asked.cleared))


def _as_it_stands(plan: Plan, ledger: Ledger | None) -> Ledger:
    """The ledger of the work folder; of one that was loaded already what came since is read."""
    if ledger is None:
        return Ledger.load(Folder(plan.work))
    ledger.refresh()
    return ledger


def _asked(plan: Plan, known: Ledger, restart: str | Sequence[str]) -> tuple[Plan, RunRequest]:
    """The plan of the last run, and what is asked for, where the ledger allows it."""
    before = _plan_before(known.state, plan)
    cleared = {entry for name in named_tasks(restart) for entry in _cleared(plan, before, name)}
    asked = RunRequest(cleared, canonical(plan.job, plan), fingerprints_of(plan.job))
    _refuse(plan, before, known.state, asked)
    return before, asked


def _refuse(plan: Plan, before: Plan, known: State, asked: RunRequest) -> None:
    """Raise BadInput where a run asks for what the ledger does not allow."""
    _refuse_changes(known, asked.spec, asked.cleared)
    refuse_changed_files(before, known, asked.files, plan.job, asked.cleared)
    refuse_foreign(plan, known.created)


def _refuse_what_came_between(plan: Plan, known: int, ledger: Ledger, asked: RunRequest) -> None:
    """Hold what is asked against the ledger as it was taken: another run may have come and gone while the
    person was asked, after so many segments as were known. How that one ended stays on record."""
    if ledger.segments == known + 1:  # what this runner took is what was known
        return
    try:
        if asked.cleared:
            raise BadInput(
                f"{plan.work} was written by another run in the meantime, so what would be deleted is not "
                "what was asked about; nothing was deleted. Look with `chunkflow status`, then ask again."
            )
        _refuse(plan, _plan_before(ledger.state, plan), ledger.state, asked)
    except BadInput:
        ended = ledger.state.runs[-2][4] if len(ledger.state.runs) > 1 else None
        if ended is not None:
            ledger.record_ended(ended)
        raise


def _record_retried(plan: Plan, ledger: Ledger) -> None:
    """Whoever runs a job again gives what was set aside new attempts. Where something failed as what it read
    was damaged, that is made again by the chunks that wrote it, if the job did."""
    failed: dict[int, list[int]] = {}
    for number, stage in enumerate(plan.stages):
        if stage.name in ledger.stages:
            failures = ledger.stages[stage.name].failures.values()
            failed[number] = [failure.index for failure in failures if failure.cause == Cause.DAMAGED]
    mark_undone(ledger, faults_behind(plan, ledger, failed))
    for stage in plan.stages:
        record = ledger.state.stages.get(stage.name)
        if record is not None and record.failed:
            ledger.record_retried(stage.name, record.indexes(FAILED))


def _plan_before(state: State, plan: Plan) -> Plan:
    """The plan of the last run, whose files lie there: its chunks may have been others than now."""
    if state.job is None:
        return plan
    try:
        return plan_of_spec(state.job.plan, plan.job.modules)
    except BadInput:  # a task of it cannot be imported any more
        return plan


def _steps_of(plan: Plan, entries: set[str]) -> set[int]:
    return {step.index for step in plan.steps if step.entry in entries}


def _cleared(plan: Plan, before: Plan, restart: str) -> set[str]:
    """The tasks that a restart clears: those that come after in the job as it was, or as it is."""
    entries = [entry.name for entry in plan.job.tasks]
    if restart not in entries:
        raise BadInput(f"This job has no task {restart} to restart; it has {', '.join(entries)}.")
    return {p.steps[i].entry for p in (plan, before) for i in p.after(restart)}


def _refuse_changes(known: State, wanted: dict[str, Any], cleared: set[str]) -> None:
    """A rerun must ask for what was asked before, save for tasks that are cleared or new."""
    if known.job is None:
        return
    before = known.job.spec
    old = {name for task in before["tasks"] for name in task}
    now = {name for task in wanted["tasks"] for name in task}
    if old <= cleared:
        return  # nothing of the old run is kept
    kept = [task for task in before["tasks"] if not set(task) & cleared]
    asked = [task for task in wanted["tasks"] if not set(task) & (cleared | (now - old))]
    layers = {name: wanted["layers"].get(name) for name in before["layers"]}
    changes = changes_of({**before, "tasks": kept}, {**wanted, "tasks": asked, "layers": layers})
    if changes:
        raise BadInput(
            "This work folder was made with other parameters:\n  "
            + "\n  ".join(changes)
            + "\nUse another work folder, or restart TASK: that clears this task and those after it."
        )


def _wait_for_fences(plan: Plan, ledger: Ledger, say: Callable[[str], None]) -> None:
    """Wait until the fences of former owners' workers have fallen, where nothing can be closed off."""
    seconds = FENCE_HEARTBEATS * plan.job.heartbeat
    say(f"Waiting {seconds:.0f} s, until workers of the run before can write no more.")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ledger.check()
        time.sleep(min(plan.job.heartbeat / 2, 1.0))
    forget_former(ledger)


def _clear(plan: Plan, ledger: Ledger, cleared: set[int], places: OwnedPlaces) -> None:
    """Delete what these steps made."""
    stages = [stage.name for stage in plan.stages if stage.step in cleared]
    names = [plan.steps[i].name for i in sorted(cleared)]
    ledger.record_clearing(names)
    ledger.flush(now=True)
    if ledger.state.job is not None:
        delete_other_extents(plan, cleared, ledger.state.job.layers, places)
    delete(plan, cleared, places)
    ledger.record_cleared(list(dict.fromkeys([*names, *stages])))
    ledger.flush(now=True)
