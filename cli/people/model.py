"""The commands that make model files of networks, and show what one says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from chunkflow.errors import BadInput
from chunkflow.modules import Modules
from chunkflow.networks.conversion.convert import convert_model
from chunkflow.networks.loading import classes_of, module_of, read_model
from chunkflow.networks.models.listing import list_models
from chunkflow.networks.models.named import is_name, model_card

Weights = Annotated[
    Path, typer.Argument(metavar="WEIGHTS", help="torch.save(network.state_dict()), .safetensors or .onnx.")
]
Target = Annotated[Path, typer.Option("--to", metavar="MODEL", help="The model file to write.")]
Like = Annotated[
    Path,
    typer.Option(
        metavar="FILE", help="A document in JSON, or a model (file or name) whose document is taken."
    ),
]
Named = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The network: unet, plain, patches, or one of your own, as in residual=nets.py:Net.",
        show_default="that of the document",
    ),
]
Order = Annotated[Literal["xyz", "zyx"], typer.Option(help="How the weights have their axes.")]
ModelFilePath = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The model file, or the name of a model that comes along.")
]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def model() -> None:
    """Make model files of networks, and show what one says."""


@app.command()
def convert(weights: Weights, to: Target, like: Like, architecture: Named = "", axes: Order = "xyz") -> None:
    """Make a model file of a network's state dict, or of an ONNX graph.

    The document says what the network takes and gives, and how large its layers are: begin with that of
    another model (`chunkflow model show`). Files that run code as they are loaded are refused. Nothing is
    written unless all weights fit by name and shape.

    Example: chunkflow model convert weights.pt --like model.json --to membranes.safetensors --axes zyx
    """
    name, _, place = architecture.partition("=")
    classes: dict[str, type] = {}
    if place:
        try:
            module = module_of(place)[0]
        except ValueError as error:
            raise BadInput(f"--architecture: {error}.") from error
        classes = classes_of({name: place}, Modules(Path.cwd()).reading([module]).load)
    document = convert_model(weights, to, like, name, classes, axes)
    typer.echo(f"{to}: {document.architecture}, {', '.join(output.name for output in document.outputs)}")


@app.command()
def show(file: ModelFilePath) -> None:
    """Print the document of a model file, which `--like` takes again.

    Of a model that comes along its card is shown, too; it is not written where the document goes into a file.

    Example: chunkflow model show membranes.safetensors > model.json
    """
    if is_name(file):
        typer.echo(model_card(file.name), err=True)
    typer.echo(read_model(file).model_dump_json(indent=2, exclude_none=True))


@app.command("list")
def list_() -> None:
    """Print the models that come along, a line each: what they find, at which size of voxels, and scores.

    Example: chunkflow model list
    """
    for summary in list_models():
        typer.echo(str(summary))
