"""The contract between a runner and those who hear of it: signs of life, patience, and the stop file."""

from __future__ import annotations

SILENCE_HEARTBEATS = 12

STOP = "stop"
"""A file of this name in the work folder asks the runner and all pools to end in good order."""
LEDGER_PATIENCE_HEARTBEATS = 10
