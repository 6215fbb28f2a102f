"""The command ``baco``: which commands there are, and the one place where errors become words and exit codes.

Imports a command only when it is called, so that ``baco --help`` is quick and loads no model code.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import itertools
import os
import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["COMMANDS", "Front", "Place", "app", "main"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command lives: a Typer app named ``app`` in this module."""

    module: str
    help: str
    panel: str

    def load(self, name: str) -> Any:
        """Import the command."""
        command = get_command(importlib.import_module(self.module).app)
        command.name = name
        return command


class Front(TyperGroup):
    """The one place where our errors become words and exit codes; ``baco "prompt"`` means ``baco run "prompt"``."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return what help needs to know of a command, without importing it."""
        place = COMMANDS.get(cmd_name)
        return place and TyperCommand(cmd_name, help=place.help, rich_help_panel=place.panel)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let options of ``run`` open the line: ``baco -d 7 "prompt"``."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if args and args[0].startswith("-") and args[0].partition("=")[0] not in own:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the first word names; any other text is a prompt."""
        word = args[0]
        if word not in COMMANDS:
            near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.65)
            if near and not ctx.resilient_parsing:
                raise wrong_usage(
                    f"there is no command {word!r}; did you mean:  baco {near[0]}\nas a prompt:  baco run {word!r}"
                )
            args = ["run", *args]
        command = COMMANDS[args[0]].load(args[0])
        refuse_typos(command, args[1:])
        return args[0], command, args[1:]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; say what went wrong, on stderr, and leave with the code that stands for it."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:  # whoever read our text has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except Exception as error:
            code = explained(unquoted(error) or error)
            if code is None:
                raise
            raise typer.Exit(code) from error
        return result


def explained(error: Exception) -> int | None:
    """Print an error that the library raised on purpose, with the end of llama.cpp's log; None where it is another."""
    from baco_cli.console import Screen  # these load numpy, which help and version can do without
    from baco_cli.render import show_error
    from baco_local.errors import BacoError

    if not isinstance(error, BacoError):
        return None
    show_error(Screen.open(), str(error), log=error.log[-LOG_LINES:], exit_code=error.exit_code)
    return error.exit_code


def wrong_usage(message: str) -> Exception:
    """Return the library's error for a call that cannot be understood."""
    from baco_local.errors import UsageError

    return UsageError(message)


def unquoted(error: Exception) -> Exception | None:
    """Say it kindly where a prompt came without quotes: its second word is one argument too many."""
    extra = re.fullmatch(r"Got unexpected extra argument\S* \((.*)\)", getattr(error, "message", ""), re.DOTALL)
    call: Any = getattr(error, "ctx", None)
    prompt = call.params.get("prompt") if call else None
    if extra is None or not prompt:
        return None
    return wrong_usage(f'a prompt is one argument; put it in quotes:  baco {call.info_name} "{prompt} {extra[1]}"')


def refuse_typos(command: Any, args: list[str]) -> None:
    """Say it kindly where ``-ngx 3`` would be read as ``-n gx``: a long name with one dash that is nearly another."""
    numbers = {name for param in command.params if param.metavar in NUMBER_NAMES for name in param.opts}
    known = [name for param in command.params for name in param.opts if len(name) > 2 and not name.startswith("--")]
    for arg in itertools.takewhile(lambda arg: arg != "--", args):
        name = arg.partition("=")[0]
        if name[:2] in numbers and re.fullmatch("-[a-zA-Z]{2,5}", name) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see the options:  baco " + command.name + " --help"
            raise wrong_usage(f"there is no option {name}; {hint}\n    ({name[:2]} alone takes a number)")


app = typer.Typer(
    cls=Front,
    name="baco",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog='`baco "prompt"` is short for `baco run "prompt"`.',
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        try:
            version = importlib.metadata.version("baco-local")
        except importlib.metadata.PackageNotFoundError:
            version = "(run from its source, not installed)"
        typer.echo(f"baco {version}")
        raise typer.Exit


@app.callback()
def baco(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Write with two local models at once: a lively base model and its polished aligned twin."""


def main() -> None:
    """Start the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an old terminal shows ? where it lacks a sign
    app()


INTERRUPTED = 130
NUMBER_NAMES = {"N", "X", "0..10"}
LOG_LINES = 12

COMMANDS: dict[str, Place] = {
    "run": Place("baco_cli.run", "Write one answer, or several.", "Write"),
    "chat": Place("baco_cli.chat.command", "Talk, with the dial in your hand.", "Write"),
    "compare": Place("baco_cli.compare", "See base, aligned and both together side by side.", "Write"),
    "measure": Place("baco_cli.measure", "Measure how diverse and how good answers are.", "Look"),
    "batch": Place("baco_cli.batch", "Write answers to many prompts, into a file.", "Write"),
    "sweep": Place("baco_cli.sweep", "Compare methods, each at several settings.", "Study"),
    "report": Place("baco_cli.report", "Make a page of what a sweep found.", "Study"),
    "tune": Place("baco_cli.tune", "Turn a pair's dial until it does what you wish.", "Study"),
    "pairs": Place("baco_cli.pairs", "List, add and check pairs of models.", "Look"),
    "doctor": Place("baco_cli.doctor", "Find out whether everything is as it should be.", "Look"),
}
