"""Contract between a runner and its pools: heartbeats, the write fence, and the stop file.

A runner whose store does not answer ends before its workers' writes are fenced off.
"""

from __future__ import annotations

FENCE_HEARTBEATS = 12
"""A worker writes nothing once its runner missed so many heartbeats, as another may hold the work folder."""
LEDGER_PATIENCE_HEARTBEATS = 10
"""A runner ends once it could not write its ledger for so many heartbeats."""

STOP = "stop"
"""A file of this name in the work folder asks the runner and all pools to end in good order."""
