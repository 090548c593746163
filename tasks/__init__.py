"""One operation a file, each a Task named by a verb."""

TASKS = {
    "annotate": "tasks.annotate:Annotate",
    "classify": "tasks.classify:Classify",
    "coincide": "tasks.coincide:Coincide",
    "copy": "tasks.copy:Copy",
    "count": "tasks.count:Count",
    "downsample": "tasks.downsample:Downsample",
    "ingest": "tasks.ingest:Ingest",
    "measure": "tasks.measure:Measure",
    "mesh": "tasks.mesh:Mesh",
    "overlap": "tasks.overlap:Overlap",
    "scan": "tasks.scan:Scan",
    "segment": "tasks.segment:Segment",
    "stitch": "tasks.stitch:Stitch",
    "synthesize": "tasks.synthesize:Synthesize",
    "tag": "tasks.tag:Tag",
}
"""What a job file may name, and its class: all that help, documentation and jobs know of the tasks here."""
