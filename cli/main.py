"""The chunkflow command: knows all commands by name, and turns errors into one sentence and an exit code.

Only the module of the command that was asked for is imported: all of them take seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Annotated, Any

import typer

import chunkflow
from chunkflow.errors import ChunkflowError
from chunkflow.registry import builtin_tasks, tasks
from cli.summaries import summary, unwrapped

COMMANDS = {
    "demo": "cli.demo.nuclei",
    "run": "cli.jobs.run",
    "plan": "cli.jobs.plan",
    "submit": "cli.jobs.submit",
    "jobs": "cli.jobs.jobs",
    "logs": "cli.jobs.logs",
    "stop": "cli.jobs.stop",
    "status": "cli.jobs.status",
    "failed": "cli.jobs.status",
    "check": "cli.jobs.check",
    "retry": "cli.jobs.run",
    "work": "cli.jobs.work",
    "replay": "cli.jobs.replay",
    "view": "cli.data.view",
    "export": "cli.data.export",
    "import": "cli.data.import_table:import_table",
    "ingest": "cli.data.ingest",
    "review": "cli.people.review",
    "serve": "cli.people.serve",
    "user": "cli.people.user",
    "train": "cli.people.train",
    "learn": "cli.people.learn",
    "count": "cli.people.count",
    "doctor": "cli.doctor",
    "init": "cli.jobs.init",
    "tune": "cli.people.tune",
    "evaluate": "cli.people.evaluate",
    "model": "cli.people.model",
    "cluster": "cli.cluster",
}
"""The module of each command that is not a task; its function has the command's name, or is told."""
TASK_PANEL = "Tasks, one at a time"
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def build(words: Sequence[str]) -> typer.Typer:
    """The command line for these words: the command among them in full, all others by name and summary."""
    asked = next((word for word in words if not word.startswith("-")), "")
    app = typer.Typer(
        help="Brain-imaging volumes, chunk by chunk: the same answer however they were cut. "
        "Begin with: chunkflow demo",
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name, place in COMMANDS.items():
        module, _, other = place.partition(":")
        if name == asked:
            _add(app, name, importlib.import_module(module), other or name)
        else:
            app.command(name, help=summary(module, other or name))(_elsewhere)
    builtin = builtin_tasks()
    for name, location in tasks().items():
        if name in COMMANDS:
            continue
        if name == asked:
            task_command: Callable[[str], Callable[..., None]]
            task_command = importlib.import_module("cli.jobs.task_commands").task_command
            function = task_command(name)
            app.command(name, help=unwrapped(function.__doc__ or ""), rich_help_panel=TASK_PANEL)(function)
        else:
            module, _, kind = location.partition(":")
            package = module.partition(".")[0]
            text = summary(module, kind) if name in builtin else f"A task of the installed package {package}."
            app.command(name, help=text, rich_help_panel=TASK_PANEL)(_elsewhere)
    return app


def _add(app: typer.Typer, name: str, module: ModuleType, function_name: str) -> None:
    """One command, or those that a module has below its own."""
    function = getattr(module, function_name)
    if hasattr(module, "app"):
        for command in module.app.registered_commands:
            command.help = unwrapped(command.callback.__doc__)
        app.add_typer(module.app, name=name, help=unwrapped(function.__doc__))
    else:
        app.command(name, help=unwrapped(function.__doc__))(function)


def _elsewhere() -> None:
    """Stands for a command that was not asked for."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chunkflow {chunkflow.__version__}")
        raise typer.Exit


def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line; the exit code is 0, 1 (incomplete), 2 (bad input) or 130 (interrupted)."""
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        app = build(words or _completed_words())
        code = app(args=words or ["--help"], prog_name="chunkflow", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except (Exception, KeyboardInterrupt) as error:
        text, code = judged(error)
        if debug and code != INTERRUPTED:
            traceback.print_exc()
        typer.echo(text, err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _completed_words() -> list[str]:
    """The words of a line that the shell asks to complete."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:]


def judged(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, ChunkflowError):
        refused = isinstance(error.__cause__, NotADirectoryError | PermissionError)
        return str(error), BAD_INPUT if refused else error.exit_code
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        return "Interrupted.", INTERRUPTED
    if isinstance(error, typer.TyperException):
        return _usage(error), BAD_INPUT
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        refused = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError)
        refused = refused or isinstance(error, IsADirectoryError | FileExistsError)
        return f"{error.strerror}{place}", BAD_INPUT if refused else FAILED
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said} (chunkflow --debug … shows where)", FAILED


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the words that were typed, and where help is."""
    say: Callable[[], str] = getattr(error, "format_message", lambda: str(error))
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "chunkflow"
    said = say().rstrip(".")
    return f"{said}{'' if said.endswith('?') else '.'} See: {command} --help"


if __name__ == "__main__":
    main()
