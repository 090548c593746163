"""One operation a file, each a Task named by a verb."""

TASKS = {
    "annotate": "tasks.annotate.annotate:Annotate",
    "classify": "tasks.cells.classify:Classify",
    "coincide": "tasks.cells.coincide:Coincide",
    "copy": "tasks.volumes.copy:Copy",
    "count": "tasks.count.count:Count",
    "downsample": "tasks.volumes.downsample:Downsample",
    "ingest": "tasks.volumes.ingest:Ingest",
    "measure": "tasks.cells.measure:Measure",
    "mesh": "tasks.mesh.mesh:Mesh",
    "overlap": "tasks.cells.overlap:Overlap",
    "scan": "tasks.synthetic.scan:Scan",
    "segment": "tasks.cells.segment:Segment",
    "stitch": "tasks.stitch.stitch:Stitch",
    "synthesize": "tasks.synthetic.synthesize:Synthesize",
    "tag": "tasks.annotate.tag:Tag",
}
"""What a job file may name, and its class: all that help, documentation and jobs know of the tasks here."""
