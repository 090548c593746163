"""Show layers in Neuroglancer: a local server, a state with all of them, and the link to it."""

from __future__ import annotations

import json
import os
import posixpath
import signal
import threading
import webbrowser
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.storage import Folder
from cli.layers import look
from cli.neuroglancer_state import State, build_state
from cli.server import LayerServer, layer_address
from cli.work import Work
from cli.work_layers import layers_of_plan

REAL_SCHEMES = ("s3://", "gs://", "http://", "https://")


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
    layers, links = layers_to_show(sources)
    console = Console(soft_wrap=True)
    if state is not None:
        write_state(layers, state, links)
        console.print(f"The state is in {state}: open it in Neuroglancer by its link or its JSON editor.")
        return
    with start_server(layers, port, links) as server:
        console.print(f"Neuroglancer: {server.url}", highlight=False)
        if forward := tunnel(server.port, os.environ):
            console.print(f"From your own computer, first: {forward}", highlight=False)
        console.print("Ctrl-C ends it.")
        if open_browser:
            webbrowser.open(server.url)
        wait_for_interrupt()


def layers_to_show(sources: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The URLs of the layers by name, and which segmentation's ids they name, where that is known."""
    layers: dict[str, str] = {}
    links: dict[str, str] = {}
    for source in sources:
        url = full_url(source)
        if Folder(url).exists("info"):
            layers[free_name(posixpath.basename(url), layers)] = url
            continue
        found = layers_of_plan(_work(url).plan())
        if not found.urls:
            raise BadInput(f"The job in {url} has no layer yet that could be shown.")
        for name, layer in found.urls.items():
            free = free_name(name, layers)
            layers[free] = layer
            if name in found.links:
                links[free] = found.links[name]
    return layers, links


def _work(url: str) -> Work:
    try:
        return Work.open(url)
    except BadInput as error:
        raise BadInput(f"{url} is no layer (it has no file `info`), and: {error}") from None


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number that makes it another than those taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def start_server(
    layers: Mapping[str, str], port: int = 0, links: Mapping[str, str] | None = None
) -> LayerServer:
    """Serve layers (URLs by name) from threads of this process; `.url` is the link, `.close()` the end.

    `links` has the segmentation (name or URL) whose ids a mesh or annotation layer names.
    """
    shown = [look(name, url) for name, url in layers.items()]

    def state(base: str) -> State:
        return build_state(shown, lambda layer: layer_address(base, layer.name), links)

    server = LayerServer({layer.name: layer.url for layer in shown}, port)
    server.state = state
    return server.start()


def write_state(layers: Mapping[str, str], file: Path, links: Mapping[str, str] | None = None) -> None:
    """Write the state with the layers' own URLs, which a browser elsewhere must be able to reach."""
    urls = {name: full_url(url) for name, url in layers.items()}
    local = [url for url in urls.values() if not url.startswith(REAL_SCHEMES)]
    if local:
        raise BadInput(
            f"{local[0]} is a folder of this machine, which a Neuroglancer elsewhere cannot read: "
            "put the layer into a bucket or on a web server and give its URL, or leave out --state."
        )
    shown = [look(name, url) for name, url in urls.items()]
    text = json.dumps(build_state(shown, lambda layer: layer.url, links), indent=2)
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}.") from None


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
