"""Which layers of a job can be shown, and whose ids its meshes and annotations name."""

from __future__ import annotations

from dataclasses import dataclass

from chunkflow.data.folder import Folder
from chunkflow.data.info import FolderInfo, TableInfo
from chunkflow.engine.planning.plan import Plan


@dataclass(frozen=True)
class WorkLayers:
    """URLs of layers by name, and the URL of the labels that a mesh or annotation layer belongs to."""

    urls: dict[str, str]
    links: dict[str, str]


def layers_of_plan(plan: Plan) -> WorkLayers:
    """The inputs and outputs of a job that are layers and exist; tables are not, nor what lies in a layer."""
    urls: dict[str, str] = {}
    labels: dict[str, str] = {}
    for product in plan.products.values():
        info = product.info
        if not isinstance(info, TableInfo):
            urls.setdefault(product.name, info.url)
            labels.setdefault(product.name, info.labels if isinstance(info, FolderInfo) else "")
    within = {name for name, url in urls.items() for other in urls.values() if url.startswith(other + "/")}
    shown = {name: u for name, u in urls.items() if name not in within and Folder(u).exists("info")}
    return WorkLayers(shown, {name: labels[name] for name in shown if labels[name]})
