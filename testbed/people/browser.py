"""The headless browser of the tests and benches: where it is, and how it is started."""

from __future__ import annotations

import shutil

ARGUMENTS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu-watchdog",  # which ends the drawing process where the machine is busy
)


def chromium() -> str | None:
    """The browser to use, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)
