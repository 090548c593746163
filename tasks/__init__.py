"""The built-in tasks, one operation a file, each named by a verb; `from tasks import Segment`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.annotate.annotate import Annotate as Annotate
    from tasks.annotate.tag import Tag as Tag
    from tasks.cells.classify import Classify as Classify
    from tasks.cells.coincide import Coincide as Coincide
    from tasks.cells.measure import Measure as Measure
    from tasks.cells.overlap import Overlap as Overlap
    from tasks.cells.segment import Segment as Segment
    from tasks.count.count import Count as Count
    from tasks.mesh.mesh import Mesh as Mesh
    from tasks.networks.detect import Detect as Detect
    from tasks.networks.infer import Infer as Infer
    from tasks.networks.judge import Judge as Judge
    from tasks.networks.normalise import Normalise as Normalise
    from tasks.stitch.stitch import Stitch as Stitch
    from tasks.synthetic.scan import Scan as Scan
    from tasks.synthetic.synthesize import Synthesize as Synthesize
    from tasks.volumes.copy import Copy as Copy
    from tasks.volumes.correct import Correct as Correct
    from tasks.volumes.downsample import Downsample as Downsample
    from tasks.volumes.ingest import Ingest as Ingest

TASKS = {
    "annotate": "tasks.annotate.annotate:Annotate",
    "classify": "tasks.cells.classify:Classify",
    "coincide": "tasks.cells.coincide:Coincide",
    "copy": "tasks.volumes.copy:Copy",
    "correct": "tasks.volumes.correct:Correct",
    "count": "tasks.count.count:Count",
    "detect": "tasks.networks.detect:Detect",
    "downsample": "tasks.volumes.downsample:Downsample",
    "infer": "tasks.networks.infer:Infer",
    "ingest": "tasks.volumes.ingest:Ingest",
    "judge": "tasks.networks.judge:Judge",
    "measure": "tasks.cells.measure:Measure",
    "mesh": "tasks.mesh.mesh:Mesh",
    "normalise": "tasks.networks.normalise:Normalise",
    "overlap": "tasks.cells.overlap:Overlap",
    "scan": "tasks.synthetic.scan:Scan",
    "segment": "tasks.cells.segment:Segment",
    "stitch": "tasks.stitch.stitch:Stitch",
    "synthesize": "tasks.synthetic.synthesize:Synthesize",
    "tag": "tasks.annotate.tag:Tag",
}
"""The tasks that a job file may name, and their classes."""
_MODULES = {place.partition(":")[2]: place.partition(":")[0] for place in TASKS.values()}

__all__ = ["TASKS", *_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
