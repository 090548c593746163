"""The command that writes a commented job file to begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chunkflow.engine.planning.draft import draft_job
from chunkflow.errors import BadInput


def init(
    layers: Annotated[list[str], typer.Argument(metavar="LAYER...", help="The layers to begin from.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there; by default it is printed.")
    ] = None,
) -> None:
    """Print a job file to begin from: tasks that fit the layers, with a comment on every choice.

    Where there is an image, nuclei are found in the first, measured in all, meshed and shown as points; where
    there are labels, those are measured and meshed. Nothing is run.

    Example: chunkflow init data/rat/dapi data/rat/cfos --to rat.yaml
    """
    text = draft_job(layers)
    if to is None:
        typer.echo(text, nl=False)
        return
    if to.exists():
        raise BadInput(f"{to} exists already: name another file.")
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror}.") from None
    typer.echo(f"The job is in {to}: look it over, then chunkflow plan {to}")
