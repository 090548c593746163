"""The layers, tables and folders that a job makes: nothing that was there before is harmed.

1. An output that exists and that this ledger did not make is refused by name.
2. What is about to be made is recorded, then made.
3. What is cleared is deleted by names that the plan and the parts give, never by a listing.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import chunkflow
from chunkflow.data.folder import Folder, side_by_side
from chunkflow.data.info import FolderInfo, LayerInfo, TableInfo, VoxelsInfo, voxels_of
from chunkflow.data.owned import OwnedPlaces
from chunkflow.data.tables import table_file
from chunkflow.data.volume import layer_document, voxel_files
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job, TaskEntry
from chunkflow.engine.planning.plan import Plan, Product, Step
from chunkflow.engine.worker.parts import UNTOLD, Parts, values_file
from chunkflow.errors import BadInput


def refuse_foreign(plan: Plan, created: Mapping[str, str]) -> None:
    """Raise BadInput for an output that is there already and was not made by this job."""
    asked = [url for url in _made_urls(plan) if url not in created]
    for url, found in zip(asked, side_by_side(lambda url: Folder(url).exists("info"), asked), strict=True):
        if found:
            raise BadInput(
                f"{url} exists and was not made by this job (or its ledger is gone); nothing was touched. "
                "Name another place for it, or delete it yourself."
            )


def places_of(plan: Plan) -> list[str]:
    """The URLs of all that a run writes: the work folder, and what it makes."""
    return [plan.work, *_made_urls(plan)]


def places_there(plan: Plan) -> list[str]:
    """Those of them that are there; an object store's always are."""
    return [url for url in places_of(plan) if (root := Folder(url).root) is None or root.is_dir()]


def record_created(plan: Plan, ledger: Ledger) -> None:
    """Record what is not there yet, and is about to be made."""
    for url, step in _made_urls(plan).items():
        if url not in ledger.state.created:
            ledger.record_created(url, plan.steps[step].name)


def create(plan: Plan, places: OwnedPlaces) -> None:
    """Make what is not there yet, once that is recorded, and bring the descriptions of what is there up to
    date."""
    side_by_side(lambda wanted: _put_changed(places, *wanted), documents_of(plan))


def documents_of(plan: Plan) -> list[tuple[str, str, dict[str, Any]]]:
    """The descriptions of all that a run makes, each with its place and name."""
    documents: list[tuple[str, str, dict[str, Any]]] = []
    for name, mips in plan.made_layers().items():
        url = mips[0].info.url
        parts = [part for part in ("mesh", "segment_properties") if (f"{name}/{part}", 0) in plan.products]
        documents.append((url, "info", layer_document([p.voxels for p in mips], parts)))
        documents.append((url, "provenance", _provenance(plan, mips)))
    for product in plan.made_others():
        document = _other_document(plan, product)
        if document:
            documents.append((product.info.url, "info", document))
    return documents


def names_of(plan: Plan, step: Step, parts: Parts) -> Iterator[tuple[str, list[str]]]:
    """What a step may have written, as folders and the names in them."""
    for _, product in step.layer_outputs:
        yield product.info.url, voxel_files(product.voxels, product.info.bounds)
    for index in [i for i, stage in enumerate(plan.stages) if stage.step == step.index]:
        stage = plan.stages[index]
        own: list[str] = [values_file(stage.name)] if stage.kind == "prepare" else []
        cells = range(len(stage.grid)) if stage.kind != "prepare" and step.leaves_parts else range(0)
        for found, files in parts.written(stage.name, cells):
            own += found
            for field, product in step.outputs.items():
                if isinstance(product.info, FolderInfo):
                    yield product.info.url, [*files.get(field, ()), *files.get(UNTOLD, ())]
        yield plan.work, own
        if stage.kind == step.table_stage:
            tables = [p.info.url for p in step.outputs.values() if isinstance(p.info, TableInfo)]
            yield from ((url, [table_file(cell) for cell in range(len(stage.grid))]) for url in tables)


def delete(plan: Plan, steps: Iterable[int], places: OwnedPlaces) -> int:
    """Delete what these steps wrote, also after a cut of power; returns how many files there were."""
    cleared = set(steps)
    parts = Parts(Folder(plan.work))
    count = 0
    for index in cleared:
        for url, names in names_of(plan, plan.steps[index], parts):
            count += places.at(url).delete(names) if names else 0
    for url, maker in _made_urls(plan).items():
        if maker in cleared:
            count += places.at(url).delete(["info", "provenance"])
    places.sync()
    return count


def delete_other_extents(
    plan: Plan, steps: Iterable[int], recorded: Iterable[LayerInfo], places: OwnedPlaces
) -> None:
    """Delete the voxels of these steps' layers where the ledger has them of another extent than the plan, as
    a source that has changed is planned as it is now. `delete` comes after it."""
    cleared = set(steps)
    made = {(p.info.url, p.mip): p for mips in plan.made_layers().values() for p in mips}
    for info in recorded:
        product = made.get((info.url, info.mip)) if isinstance(info, VoxelsInfo) else None
        if product is not None and product.maker in cleared and product.info != info:
            places.at(info.url).delete(voxel_files(voxels_of(info), info.bounds))


def _made_urls(plan: Plan) -> dict[str, int]:
    """Each place that the job writes, with the first step that does."""
    urls: dict[str, int] = {}
    for product in plan.products.values():
        if product.maker is not None:
            urls[product.info.url] = min(product.maker, urls.get(product.info.url, product.maker))
    return urls


def _put_changed(places: OwnedPlaces, url: str, name: str, document: dict[str, Any]) -> None:
    folder = places.at(url)
    before = folder.get(name)
    if before is None or not is_description(before, document):
        folder.put(name, json.dumps(document, indent=1).encode())
        folder.sync()


def is_description(data: bytes, document: dict[str, Any]) -> bool:
    """Whether a file says what a document does, whoever wrote it, and when."""
    return _undated(data) == _undated(json.dumps(document).encode())


def agrees(name: str, data: bytes, document: dict[str, Any]) -> bool:
    """Whether a file describes what a document does: others may have added to it, and of where a layer comes
    from an earlier chunkflow has told otherwise."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    if name == "provenance":
        return isinstance(found, dict) and all(
            isinstance(found.get(key), type(value)) for key, value in document.items()
        )
    return _holds(found, json.loads(json.dumps(document)))


def _holds(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is found, be there more of the keys, or of the mips."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and _holds(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        return isinstance(found, list) and len(found) >= len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted)


def _undated(data: bytes) -> dict[str, Any]:
    """A description without who made it and when; nothing where it is damaged."""
    try:
        document = json.loads(data)
        processing = [entry.get("method") for entry in document.get("processing", [])]
    except (ValueError, AttributeError):
        return {}
    return {**document, "processing": processing}


def _other_document(plan: Plan, product: Product) -> dict[str, Any]:
    assert product.maker is not None
    if isinstance(product.info, TableInfo):
        return product.info.document()
    step = plan.steps[product.maker]
    field = next(name for name, made in step.outputs.items() if made is product)
    return step.task.folder_info(field, step.layout)


def _provenance(plan: Plan, mips: list[Product]) -> dict[str, Any]:
    """Where a layer comes from, in the form that CloudVolume reads."""
    steps = [plan.steps[p.maker] for p in mips if p.maker is not None]
    entries = {step.entry: step for step in reversed(steps)}
    given = {entry.name: entry for entry in plan.job.tasks}
    sources = {p.info.url: None for s in steps for ps in s.inputs.values() for p in ps}
    sources.pop(mips[0].info.url, None)
    return {
        "description": f"Made by chunkflow, job {plan.job.name}.",
        "owners": [],
        "sources": list(sources),
        "processing": [
            {
                "method": {
                    "task": entry,
                    "type": given[entry].type,
                    "version": step.task.result_version(),
                    "parameters": parameters_of(plan.job, given[entry]),
                    "chunkflow": chunkflow.__version__,
                },
                "by": f"{getpass.getuser()}@{socket.gethostname()}",
                "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M %Z"),
            }
            for entry, step in reversed(entries.items())
        ],
    }


def parameters_of(job: Job, entry: TaskEntry) -> dict[str, Any]:
    """What a task is given, with the defaults that hold now: they may be others in a later version."""
    return entry.load(job.modules).model_dump(mode="json")


def deleted_size(plan: Plan, ledger: Ledger, steps: Iterable[int]) -> str:
    """What a restart would delete, in words."""
    cells = bytes_out = 0
    names = []
    for index in sorted(steps):
        names.append(plan.steps[index].name)
        for stage in plan.stages:
            known = ledger.state.stages.get(stage.name)
            if stage.step == index and known is not None:
                cells += known.done
                bytes_out += known.bytes_out
    return f"{', '.join(names)}: {cells:,} finished chunks, {bytes_out / 1e6:,.1f} MB written"
