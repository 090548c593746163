"""The errors that a user can meet.

ChunkflowError            exit code 1 unless said otherwise; its text is one clear sentence
├── BadInput              exit code 2: a job, a layer or a file is not as it must be; nothing was written
├── Incomplete            exit code 1: the job ended with chunks that are not done
├── Overtaken             exit code 1: another runner has taken the work folder over
├── Interrupted           exit code 130: Ctrl-C; what was in flight is finished or given back
├── StorageError          a read or write failed; another try may help
│   └── DamagedInput      what was read is missing, corrupt or truncated; another try will not help
└── WorkerLost            a worker ended while it held chunks (its process or its node)
"""

from __future__ import annotations


class ChunkflowError(Exception):
    """The root of all errors that chunkflow raises on purpose."""

    exit_code = 1


class BadInput(ChunkflowError):
    """What the user gave cannot be run; the text says what to do."""

    exit_code = 2


class Incomplete(ChunkflowError):
    """The job ended, but not every chunk is done."""


class Overtaken(ChunkflowError):
    """Another runner holds the work folder now; this one must not write any more."""


class Interrupted(ChunkflowError):
    """The user asked to stop."""

    exit_code = 130


class StorageError(ChunkflowError):
    """Storage did not do as asked; the next try may succeed."""


class DamagedInput(StorageError):
    """Data that must be there is missing, corrupt or truncated."""


class WorkerLost(ChunkflowError):
    """A worker ended without an answer."""
