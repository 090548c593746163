"""What a work folder's ledger says of the layers of its job: where they are, and whose ids they name."""

from __future__ import annotations

from dataclasses import dataclass, field

from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.job import Job, split_reference
from chunkflow.ledger import Ledger
from chunkflow.ledger_state import State
from chunkflow.storage import Folder
from chunkflow.volume import full_url


@dataclass(frozen=True)
class WorkLayers:
    """The layers of a job that exist, by name, and the labels that meshes and annotations belong to."""

    urls: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)


def read_ledger(work: str) -> State:
    """The state of the job in a work folder; BadInput where there is none."""
    url = full_url(work)
    state = Ledger.load(Folder(url)).state
    if state.job is None:
        raise BadInput(f"{url} is neither a layer (no file `info`) nor the work folder of a job (no ledger).")
    return state


def layers_of_work(work: str) -> WorkLayers:
    """The inputs of a job, and of its outputs those that are layers and exist already."""
    url, state = full_url(work), read_ledger(work)
    assert state.job is not None
    job = Job.model_validate(state.job["job"])
    named = {entry.url: name for name, entry in job.layers.items()}
    urls = {name: layer for layer, name in named.items()}
    for made in state.created:
        # a run on a part makes its layers in its own work folder, under the names of the job's
        name = (
            made.removeprefix(f"{url}/layers/") if made.startswith(f"{url}/layers/") else named.get(made, "")
        )
        if name:
            urls[name] = made
    within = {name for name in urls for other in urls.values() if urls[name].startswith(other + "/")}
    kept = {name: layer for name, layer in urls.items() if name not in within}
    return WorkLayers({n: u for n, u in kept.items() if Folder(u).exists("info")}, links_of(job))


def links_of(job: Job) -> dict[str, str]:
    """The labels that each output of the job was made from, by the names of the job."""
    origins: dict[str, str] = {}
    for entry in job.tasks:
        try:
            task = entry.load()
        except ChunkflowError:  # a user's own task may not be at hand where its result is looked at
            continue
        origin = ""
        for role in task.roles():
            value = getattr(task, role.name)
            names = [split_reference(name)[0] for name in (value if role.many else [value]) if name]
            if role.output:
                origins.update(dict.fromkeys(names or [role.name], origin) if origin else {})
            elif role.kind == "labels" and names:
                origin = origin or names[0]
            else:
                origin = origin or next((origins[name] for name in names if name in origins), "")
    return origins
