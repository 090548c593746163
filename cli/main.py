"""The chunkflow command: registers all commands, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import click
import typer

import chunkflow
from chunkflow.errors import ChunkflowError
from cli.builtin import builtin_tasks
from cli.demo import demo
from cli.doctor import doctor
from cli.export import export
from cli.ingest import ingest
from cli.init import init
from cli.run import plan, replay, retry, run
from cli.status import failed, status
from cli.task_commands import add_task_commands
from cli.view import view

COMMANDS: dict[str, Any] = {
    "demo": demo,
    "run": run,
    "plan": plan,
    "status": status,
    "failed": failed,
    "retry": retry,
    "replay": replay,
    "view": view,
    "export": export,
    "ingest": ingest,
    "doctor": doctor,
    "init": init,
}

app = typer.Typer(
    help="Brain-imaging volumes, chunk by chunk: the same answer however they were cut. "
    "Begin with: chunkflow demo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chunkflow {chunkflow.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


for name, function in COMMANDS.items():
    app.command(name)(function)
add_task_commands(app, builtin_tasks(), set(COMMANDS))


def main() -> None:
    """Run the command line; the exit code is 0, 1 (incomplete), 2 (bad input) or 130 (interrupted)."""
    debug = "--debug" in sys.argv
    try:
        code = app(standalone_mode=False)
    except ChunkflowError as error:
        _say(error, debug)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        typer.echo(f"{type(error).__name__}: {error} (chunkflow --debug … shows where)", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: ChunkflowError, debug: bool) -> None:
    if debug:
        raise error
    typer.echo(str(error), err=True)


if __name__ == "__main__":
    main()
