"""Figures of the engine: scheduling, the ledger, many workers, kills."""
