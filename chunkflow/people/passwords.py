"""Passwords of PostgreSQL that no command line shows, from where its own programs take them.

The environment's PGPASSWORD comes first, then the file ~/.pgpass (or PGPASSFILE), whose lines are
host:port:database:user:password. A `*` there means any; a file that others may read is left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

PORT = 5432
_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|$)")


def postgresql_password(host: str, port: int | None, database: str, user: str) -> str | None:
    """The password for a user of a database; None where nothing is known of it."""
    if found := os.environ.get("PGPASSWORD"):
        return found
    file = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    try:
        if file.stat().st_mode & 0o077:
            return None
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        return None
    wanted = (host, str(port or PORT), database, user)
    for line in lines:
        fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELD.findall(line)]
        if not line.startswith("#") and len(fields) > len(wanted) and _fits(fields, wanted):
            return fields[len(wanted)]
    return None


def _fits(fields: Sequence[str], wanted: Sequence[str]) -> bool:
    return all(field in ("*", value) for field, value in zip(fields, wanted, strict=False))
