"""The commands of a review: the page in the browser, what was decided as a file, the check of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from chunkflow.errors import DamagedInput
from chunkflow.people.review.incoming.carrying import carry_review
from chunkflow.people.review.incoming.importing import import_review
from chunkflow.people.review.outgoing.export import export_review
from chunkflow.people.review.outgoing.polygons import export_polygons
from chunkflow.people.review.reviewing import check_review
from chunkflow.people.service.local.reviewer import review as start_review
from cli.data.view import serve_until_interrupt
from cli.options import parse_names

TablePlace = Annotated[
    str,
    typer.Argument(
        metavar="WORK[:TABLE]", help="The table of a job; by default its last one with places of objects."
    ),
]
DatabasePlace = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        show_default="review.sqlite in the work folder",
        help="Where the log lies: a file, or postgresql://USER@HOST/NAME.",
    ),
]
PersonName = Annotated[
    str, typer.Option(metavar="NAME", show_default="the user", help="Whose edits they are.")
]
EditedFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="An export that was edited; or points of napari, cellfinder, Neuroglancer."
    ),
]
ExportedEdit = Annotated[
    int | None,
    typer.Option(min=0, show_default="as FILE says, else 0", help="The last edit that FILE has."),
]
CarriedDistance = Annotated[
    float | None,
    typer.Option(
        metavar="UM",
        show_default="half the diameter of objects",
        help="How far an object of then may lie from that of now.",
    ),
]
PlaceTolerance = Annotated[
    float | None,
    typer.Option(
        metavar="UM",
        show_default="half the diameter of objects",
        help="How far points without ids may lie from their objects.",
    ),
]


class OpensByDefault(TyperGroup):
    """Takes what is none of its commands for the argument of `open`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args if first is None or first in self.commands else ["open", *args])


app = typer.Typer(no_args_is_help=True, cls=OpensByDefault)


@app.callback()
def review() -> None:
    """Review the objects of a table in the browser (chunkflow review WORK), and use what was decided."""


@app.command("open")
def open_review(
    place: TablePlace,
    classes: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Classes that objects may be given beside those of the table."),
    ] = "",
    database: DatabasePlace = "",
    port: Annotated[int, typer.Option(help="The port to serve on; 0 takes a free one.")] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the link in this machine's browser.")
    ] = False,
) -> None:
    """Review the objects of a table in the browser, one key for each decision.

    What is decided is in the log at once: the page may be closed, the server ended, at any time. The server
    answers to this machine alone.

    Example: chunkflow review work/rat:combined
    """
    console = Console(soft_wrap=True)
    with start_review(place, classes=parse_names(classes), database=database, port=port) as page:
        console.print(str(page), highlight=False)
        if page.older:
            console.print(page.older, highlight=False, markup=False)
        serve_until_interrupt(page, console, open_browser)
        console.print(f"{page.title}.", highlight=False)


@app.command()
def export(
    place: TablePlace,
    to: Annotated[
        str, typer.Option(metavar="FILE", help="The file; its ending says how it is written. Or a layer.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help="Write it as another program reads it, as `export`; or as a layer: table, annotations.",
        ),
    ] = "",
    edit: Annotated[
        int | None,
        typer.Option(min=0, show_default="the last", help="The last edit that counts, by its number."),
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Write deleted objects, too, with this status.")
    ] = False,
    database: DatabasePlace = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")] = False,
) -> None:
    """Write the objects of a table as people have decided on them to one file, or to a layer.

    With --as table a job reads it as a task's own; with --as annotations Neuroglancer shows it.

    Example: chunkflow review export work/rat:combined --to reviewed.csv
    """
    made = export_review(
        place, to, database=database, edit=edit, form=form, deleted=deleted, overwrite=overwrite
    )
    Console(soft_wrap=True).print(str(made), highlight=False)


@app.command("import")
def import_edits(
    place: TablePlace,
    file: EditedFile,
    person: PersonName = "",
    edit: ExportedEdit = None,
    tolerance: PlaceTolerance = None,
    columns: Annotated[
        str, typer.Option(metavar="NAMES", help="The file's columns in their order, as in z,y,x,class.")
    ] = "",
    unit: Annotated[str, typer.Option(help="Of x, y, z: voxels, nm, um or mm.")] = "",
    database: DatabasePlace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, write nothing.")] = False,
) -> None:
    """Bring what was edited in a file into the review, as the difference to what was exported.

    Other classes, statuses, notes and places become edits; rows that mean no object are added; of points of
    napari, cellfinder and Neuroglancer, those that are missing are deleted. What was edited in the review
    since is a conflict: it is listed, and stays as it is.

    Example: chunkflow review import work/rat:combined reviewed.csv --dry-run
    """
    made = import_review(
        place,
        file,
        database=database,
        person=person,
        edit=edit,
        tolerance_um=tolerance,
        columns=parse_names(columns),
        unit=unit,
        dry_run=dry_run,
    )
    console = Console(soft_wrap=True)
    for sentence in made.conflicts:
        console.print(sentence, highlight=False, markup=False)
    console.print(str(made), highlight=False, markup=False)


@app.command()
def carry(
    place: TablePlace,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="An export of the older table, where ids do not name voxels."
        ),
    ] = None,
    distance: CarriedDistance = None,
    database: DatabasePlace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, write nothing.")] = False,
) -> None:
    """Carry decisions over to a table that its job has made anew, as edits of those who made them.

    An object of then is the one with the same id, or else the nearest within the distance.

    Example: chunkflow review carry work/rat:combined --dry-run
    """
    made = carry_review(place, file=file, distance_um=distance, database=database, dry_run=dry_run)
    console = Console(soft_wrap=True)
    for sentence in made.conflicts:
        console.print(sentence, highlight=False, markup=False)
    if made.unplaced:
        listed = ", ".join(str(id) for id in made.unplaced)
        console.print(f"Nothing stands for these objects of then: {listed}.", highlight=False)
    console.print(str(made), highlight=False, markup=False)


@app.command()
def polygons(
    place: TablePlace,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Takes the layers labels and annotated.")],
    edit: Annotated[
        int | None,
        typer.Option(min=0, show_default="the last", help="The last edit that counts, by its number."),
    ] = None,
    database: DatabasePlace = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into FOLDER where it exists.")
    ] = False,
) -> None:
    """Write the polygons that people have drawn as painted voxels, which networks learn classes from.

    Example: chunkflow review polygons work/rat:combined --to painted
    """
    made = export_polygons(place, to, database=database, edit=edit, overwrite=overwrite)
    Console(soft_wrap=True).print(str(made), highlight=False)


@app.command()
def check(place: TablePlace, database: DatabasePlace = "") -> None:
    """Rebuild what is current from the log of edits, and compare it with what is kept.

    Example: chunkflow review check work/rat
    """
    checked = check_review(place, database=database)
    if checked.faults:
        raise DamagedInput("\n".join([str(checked), *checked.faults]))
    Console(soft_wrap=True).print(str(checked), highlight=False)
