"""Brain-imaging volumes processed chunk by chunk: the same answer however they were cut.

The public names of chunkflow, imported when they are first used::

    import chunkflow as cf

    job = cf.Job.read("rat.yaml", layers={"dapi": "/data/rat7/dapi"})
    work = job.run(workers=8)
    cells = work.table("objects").to_pandas()

The built-in tasks are in the package `tasks`: `from tasks import Segment`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chunkflow.api import Job as Job
    from chunkflow.api import Work as Work
    from chunkflow.api import ingest as ingest
    from chunkflow.api import open as open
    from chunkflow.api import submit as submit
    from chunkflow.chunk import Chunk as Chunk
    from chunkflow.data.info import FolderInfo as FolderInfo
    from chunkflow.data.info import ImageInfo as ImageInfo
    from chunkflow.data.info import LabelsInfo as LabelsInfo
    from chunkflow.data.info import LayerInfo as LayerInfo
    from chunkflow.data.info import TableInfo as TableInfo
    from chunkflow.data.tables import Table as Table
    from chunkflow.data.volume import Volume as Volume
    from chunkflow.errors import BadInput as BadInput
    from chunkflow.errors import ChunkflowError as ChunkflowError
    from chunkflow.errors import DamagedInput as DamagedInput
    from chunkflow.errors import Incomplete as Incomplete
    from chunkflow.errors import Interrupted as Interrupted
    from chunkflow.errors import Overtaken as Overtaken
    from chunkflow.errors import StorageError as StorageError
    from chunkflow.errors import WorkerLost as WorkerLost
    from chunkflow.formats.export.export import export as export
    from chunkflow.geometry import Box as Box
    from chunkflow.geometry import Grid as Grid
    from chunkflow.geometry import Vec as Vec
    from chunkflow.geometry import VoxelSize as VoxelSize
    from chunkflow.jobs.importing import import_points as import_points
    from chunkflow.jobs.work import check as check
    from chunkflow.networks.conversion.convert import convert_model as convert_model
    from chunkflow.networks.document import ModelDocument as ModelDocument
    from chunkflow.networks.loading import read_model as read_model
    from chunkflow.networks.training.recipe import NetworkRecipe as NetworkRecipe
    from chunkflow.networks.training.recipe import read_recipe as read_recipe
    from chunkflow.networks.weights import write_model as write_model
    from chunkflow.people.accounts.accounts import Accounts as Accounts
    from chunkflow.people.accounts.roles import Role as Role
    from chunkflow.people.evaluation.evaluate import evaluate as evaluate
    from chunkflow.people.learning.active.learn import learn as learn
    from chunkflow.people.learning.networks.train import train_network as train_network
    from chunkflow.people.learning.train import train as train
    from chunkflow.people.learning.tuning import tune as tune
    from chunkflow.people.review.incoming.carrying import carry_review as carry_review
    from chunkflow.people.review.incoming.importing import import_review as import_review
    from chunkflow.people.review.outgoing.export import export_review as export_review
    from chunkflow.people.review.outgoing.polygons import export_polygons as export_polygons
    from chunkflow.people.review.reviewing import check_review as check_review
    from chunkflow.people.service.lab.serve import serve as serve
    from chunkflow.people.service.local.reviewer import review as review
    from chunkflow.people.service.local.viewer import view as view
    from chunkflow.resources import Resources as Resources
    from chunkflow.roles import Annotations as Annotations
    from chunkflow.roles import File as File
    from chunkflow.roles import Image as Image
    from chunkflow.roles import Labels as Labels
    from chunkflow.roles import Layer as Layer
    from chunkflow.roles import Meshes as Meshes
    from chunkflow.roles import Objects as Objects
    from chunkflow.roles import Out as Out
    from chunkflow.roles import Report as Report
    from chunkflow.roles import Tags as Tags
    from chunkflow.shapes import MergedRows as MergedRows
    from chunkflow.shapes import ReducedRows as ReducedRows
    from chunkflow.shapes import RowByRow as RowByRow
    from chunkflow.shapes import SentRows as SentRows
    from chunkflow.shapes import Voxels as Voxels
    from chunkflow.task import Cell as Cell
    from chunkflow.task import Counts as Counts
    from chunkflow.task import Files as Files
    from chunkflow.task import Layout as Layout
    from chunkflow.task import Result as Result
    from chunkflow.task import Task as Task
    from chunkflow.task import WindowTooSmall as WindowTooSmall

__version__ = "0.1.0"

_NAMES = {
    "chunkflow.api": ("Job", "Work", "ingest", "open", "submit"),
    "chunkflow.chunk": ("Chunk",),
    "chunkflow.data.info": ("FolderInfo", "ImageInfo", "LabelsInfo", "LayerInfo", "TableInfo"),
    "chunkflow.data.tables": ("Table",),
    "chunkflow.data.volume": ("Volume",),
    "chunkflow.errors": (
        "BadInput",
        "ChunkflowError",
        "DamagedInput",
        "Incomplete",
        "Interrupted",
        "Overtaken",
        "StorageError",
        "WorkerLost",
    ),
    "chunkflow.formats.export.export": ("export",),
    "chunkflow.geometry": ("Box", "Grid", "Vec", "VoxelSize"),
    "chunkflow.jobs.importing": ("import_points",),
    "chunkflow.jobs.work": ("check",),
    "chunkflow.networks.conversion.convert": ("convert_model",),
    "chunkflow.networks.document": ("ModelDocument",),
    "chunkflow.networks.loading": ("read_model",),
    "chunkflow.networks.training.recipe": ("NetworkRecipe", "read_recipe"),
    "chunkflow.networks.weights": ("write_model",),
    "chunkflow.people.accounts.accounts": ("Accounts",),
    "chunkflow.people.accounts.roles": ("Role",),
    "chunkflow.people.evaluation.evaluate": ("evaluate",),
    "chunkflow.people.learning.active.learn": ("learn",),
    "chunkflow.people.learning.networks.train": ("train_network",),
    "chunkflow.people.learning.train": ("train",),
    "chunkflow.people.learning.tuning": ("tune",),
    "chunkflow.people.review.outgoing.export": ("export_review",),
    "chunkflow.people.review.incoming.carrying": ("carry_review",),
    "chunkflow.people.review.incoming.importing": ("import_review",),
    "chunkflow.people.review.outgoing.polygons": ("export_polygons",),
    "chunkflow.people.review.reviewing": ("check_review",),
    "chunkflow.people.service.lab.serve": ("serve",),
    "chunkflow.people.service.local.reviewer": ("review",),
    "chunkflow.people.service.local.viewer": ("view",),
    "chunkflow.resources": ("Resources",),
    "chunkflow.roles": (
        "Annotations",
        "File",
        "Image",
        "Labels",
        "Layer",
        "Meshes",
        "Objects",
        "Out",
        "Report",
        "Tags",
    ),
    "chunkflow.shapes": ("MergedRows", "ReducedRows", "RowByRow", "SentRows", "Voxels"),
    "chunkflow.task": ("Cell", "Counts", "Files", "Layout", "Result", "Task", "WindowTooSmall"),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_PLACES)]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(_module(_PLACES[name], name), name)
    globals()[name] = found
    return found


def _module(place: str, name: str) -> object:
    """The module that brings a name; where an optional package is missing, the pip line is said."""
    try:
        return import_module(place)
    except ModuleNotFoundError as error:
        from chunkflow.extras import EXTRA_OF, missing_package

        if error.name not in EXTRA_OF:
            raise
        raise missing_package(error.name, f"chunkflow.{name}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
