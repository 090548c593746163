"""The command that shows layers in Neuroglancer."""

from __future__ import annotations

import os
import signal
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console

from chunkflow.people.service.local.viewer import view as show
from chunkflow.people.viewing.shown import layers_to_show, write_state


def view(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="WORK|LAYER...", help="A job's work folder, or layers (URLs or paths)."),
    ],
    port: Annotated[int, typer.Option(help="The port to serve on; 0 takes a free one.")] = 0,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the state for a Neuroglancer hosted elsewhere, and stop."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the link in this machine's browser.")
    ] = False,
) -> None:
    """Look at layers, or at all layers of a job, in Neuroglancer.

    Images get a contrast and a colour each, segments their colours and meshes, annotations their links to
    segments. The server answers to this machine alone, serves nothing but these layers, and needs no network.

    Example: chunkflow view work/demo
    """
    console = Console(soft_wrap=True)
    if state is not None:
        layers, links = layers_to_show(sources)
        write_state(layers, state, links)
        console.print(f"The state is in {state}: open it in Neuroglancer by its link or its JSON editor.")
        return
    with show(*sources, port=port) as viewer:
        console.print(f"Neuroglancer: {viewer.url}", highlight=False)
        serve_until_interrupt(viewer, console, open_browser)


class HasPage(Protocol):
    """A server with a page to open."""

    @property
    def url(self) -> str: ...

    @property
    def port(self) -> int: ...


def serve_until_interrupt(page: HasPage, console: Console, open_browser: bool) -> None:
    """Say how to reach a page, perhaps open it, and wait for Ctrl-C."""
    if forward := tunnel(page.port, os.environ):
        console.print(f"From your own computer, first: {forward}", highlight=False)
    console.print("Ctrl-C ends it.")
    if open_browser:
        webbrowser.open(page.url)
    wait_for_interrupt()


def tunnel(port: int, environment: Mapping[str, str]) -> str | None:
    """The command that brings the port to the user's computer, when this is an ssh session."""
    connection = environment.get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return None
    user = environment.get("USER") or environment.get("LOGNAME")
    host = (f"{user}@" if user else "") + connection[2]
    ssh_port = "" if connection[3] == "22" else f" -p {connection[3]}"
    return f"ssh -N -L {port}:127.0.0.1:{port}{ssh_port} {host}"


def wait_for_interrupt() -> None:
    """Until Ctrl-C or a request to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
