"""What tasks left for people (WORK/reports), as part of the report: pictures in it, other files by a link."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote

from chunkflow.data.folder import Folder
from chunkflow.people.reports.pages import picture

FOLDER = "reports"
LARGEST = 2**22
"""Bytes of a picture that goes into the report; a larger one is linked."""


def files_for_people(work: Folder, tasks: Iterable[str]) -> str:
    """A heading for each task that left something, its pictures, and links to its other files."""
    parts = [_of_task(work, task) for task in dict.fromkeys(tasks)]
    found = "".join(part for part in parts if part)
    return f"<h2>Pictures and lists</h2>{found}" if found else ""


def _of_task(work: Folder, task: str) -> str:
    names = sorted(work.list(f"{FOLDER}/{task}/"))
    pictures = [name for name in names if name.endswith(".png")]
    shown = {
        name: picture(work.get(name) or b"", PurePosixPath(name).stem)
        for name in pictures
        if (work.size(name) or 0) <= LARGEST
    }
    links = ", ".join(
        f'<a href="{quote(name)}">{html.escape(PurePosixPath(name).name)}</a>'
        for name in names
        if name not in shown
    )
    listed = f"<p>Files: {links}.</p>" if links else ""
    return f"<h3>{html.escape(task)}</h3>{''.join(shown.values())}{listed}" if names else ""
