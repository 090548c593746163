"""Files that tasks read: known by their content, and held against what the ledger has of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from chunkflow.data.fingerprints import fingerprint
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput

ByTask = Mapping[str, Mapping[str, str]]
"""The fingerprint of what each parameter of each task names."""
OF_ONE_FILE = re.compile("[0-9a-f]{64}")
"""A fingerprint of one small file, as a task may have decided it, too."""


def fingerprints_of(job: Job) -> dict[str, dict[str, str]]:
    """The fingerprints of the files that a job reads, as they are now; none of what is missing or cannot be
    read, as whoever needs it says so."""
    known: dict[tuple[str, ...], str] = {}
    found: dict[str, dict[str, str]] = {}
    for entry in job.tasks:
        try:
            read = entry.load(job.modules).files_read()
        except (BadInput, OSError):
            continue
        for parameter, paths in read.items():
            places = tuple(map(str, paths))
            if places not in known:
                known[places] = fingerprint(places)
            if known[places]:
                found.setdefault(entry.name, {})[parameter] = known[places]
    return found


def refuse_changed_files(before: Plan, state: State, now: ByTask, job: Job, cleared: set[str]) -> None:
    """Raise BadInput where a task that has begun, and is not cleared, has read other files than those that
    are there now. `before` is the plan of the last run."""
    recorded = _recorded(before, state, now, cleared)
    changed = [
        (entry.name, parameter, _said(entry.parameters, parameter))
        for entry in job.tasks
        for parameter, earlier in recorded.get(entry.name, {}).items()
        if now.get(entry.name, {}).get(parameter, earlier) != earlier
    ]
    if not changed:
        return
    tasks = list(dict.fromkeys(name for name, _, _ in changed))
    made = "; ".join(
        f"{task} was made with {'other' if parameter.endswith('s') else 'another'} {parameter} ({file})"
        for task, parameter, file in changed
    )
    raise BadInput(
        f"{made}: put back what was there, use another work folder, or restart {' and '.join(tasks)}: that "
        f"clears {'this task and those after it' if len(tasks) == 1 else 'these tasks and those after them'}."
    )


def files_to_record(before: Plan, state: State, now: ByTask, cleared: set[str]) -> dict[str, dict[str, str]]:
    """The fingerprints that the ledger is to hold: of a file that is gone what it was when its task began."""
    recorded = _recorded(before, state, now, cleared)
    return {name: {**recorded.get(name, {}), **now.get(name, {})} for name in {**recorded, **now}}


def _said(parameters: Mapping[str, object], parameter: str) -> str:
    """A sentence on what has changed: a file by its name, a pattern or FILE:NAME as it was given."""
    value: object = parameters
    for key in parameter.split(".", 1):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        return "what it names has changed"
    return f"{Path(value).name if Path(value).exists() else value} has changed"


def _recorded(before: Plan, state: State, now: ByTask, cleared: set[str]) -> dict[str, dict[str, str]]:
    """The files of tasks that have begun and are kept. A ledger from before files were recorded has those
    alone that a task itself has decided on."""
    if state.job is None:
        return {}
    return {
        name: {**_decided(values, now.get(name, {})), **state.job.files.get(name, {})}
        for name, values in _begun(before, state)
        if name not in cleared
    }


def _begun(before: Plan, state: State) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The tasks of which anything is done, with the values that were decided."""
    for entry in before.job.tasks:
        names = [stage.name for stage in before.stages if before.steps[stage.step].entry == entry.name]
        records = [state.stages[name] for name in names if name in state.stages]
        if any(record.done or record.prepared is not None for record in records):
            decided = [record.prepared or {} for record in records]
            yield entry.name, {key: value for values in decided for key, value in values.items()}


def _decided(values: Mapping[str, object], now: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints of small files among the values that were decided, as `classify` has its model's."""
    small = (parameter for parameter, found in now.items() if OF_ONE_FILE.fullmatch(found))
    return {p: str(values[p]) for p in small if OF_ONE_FILE.fullmatch(str(values.get(p)))}
