"""The command that serves data sets to the people of a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.people.service.lab.haproxy import write_haproxy
from chunkflow.people.service.lab.serve import PORT
from chunkflow.people.service.lab.serve import serve as start_service
from chunkflow.people.service.local.server import HOST
from cli.data.view import serve_until_interrupt
from cli.options import parse_names
from cluster.slurm.service import SlurmService, write_service_script

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Work folders, layers, folders of these, or a catalogue file (catalog.yaml).",
    ),
]
ServiceDatabase = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        show_default="service.sqlite in ~/.config/chunkflow, reviews in their work folders",
        help="Where accounts, views and reviews lie: a file, or postgresql://USER@HOST/NAME.",
    ),
]
Proxies = Annotated[
    str, typer.Option(metavar="ADDRESSES", help="Proxies that are believed, as in 10.0.0.5/32.")
]
UserHeader = Annotated[
    str, typer.Option(metavar="NAME", help="The header with the name for which a login proxy vouches.")
]
Origins = Annotated[
    str, typer.Option(metavar="URLS", help="Pages elsewhere whose scripts may ask with a token.")
]

HaproxyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a configuration of HAProxy, which then has the port."),
]
Certificate = Annotated[
    str, typer.Option(metavar="PEM", help="The certificate with its key, for HTTPS by HAProxy.")
]
ScriptFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a script that serves on SLURM behind HAProxy, and stop."),
]
CacheMemory = Annotated[
    float,
    typer.Option(min=0, metavar="GB", help="Memory of each process for what is read of layers in buckets."),
]


def serve(
    sources: Sources,
    port: Annotated[int, typer.Option(help="The port that people go to.")] = PORT,
    host: Annotated[str, typer.Option(help="The address to answer at, as 0.0.0.0.")] = HOST,
    processes: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that answer.")] = 1,
    database: ServiceDatabase = "",
    trust_proxy: Proxies = "",
    user_header: UserHeader = "",
    allow_origin: Origins = "",
    haproxy: HaproxyFile = None,
    cert: Certificate = "",
    slurm: ScriptFile = None,
    cache_gb: CacheMemory = 0.5,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the link in this machine's browser.")
    ] = False,
) -> None:
    """Serve data sets to browsers: a catalogue, the viewer, reviews of tables by several people.

    Without accounts it is for this machine alone, and the link holds a token. `chunkflow user add` makes
    accounts, with which it may answer others.

    Example: chunkflow serve work/ catalog.yaml --host 0.0.0.0
    """
    console = Console(soft_wrap=True)
    if slurm is not None:
        write_service_script(slurm, SlurmService(sources, database, port, processes, cert))
        console.print(f"Queue it: sbatch {slurm}. Its log says how people reach it.", highlight=False)
        return
    if cert and haproxy is None:
        raise BadInput("A certificate is for HAProxy: say where its configuration is written, by --haproxy.")
    with start_service(
        *sources,
        port=port,
        host=host,
        processes=processes,
        database=database,
        proxies=parse_names(trust_proxy),
        user_header=user_header,
        origins=parse_names(allow_origin),
        behind_proxy=haproxy is not None,
        cache_gb=cache_gb,
    ) as service:
        console.print(str(service), highlight=False)
        if haproxy is not None:
            backends = service.backends
            write_haproxy(haproxy, port, backends, host=host, certificate=cert, user_header=user_header)
            console.print(f"HAProxy has the port once it is begun: haproxy -f {haproxy}", highlight=False)
        serve_until_interrupt(service, console, open_browser)
