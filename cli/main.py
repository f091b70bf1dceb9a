"""The entry point `optc`: finds the command that is asked for, and turns its end into an exit code.

0 fine, 1 the spec or the run has errors, 2 wrong usage, 70 our own fault, 130 interrupted.
"""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..grammar.diagnostic import OptcError, SpecError
from .output import note, wants_color

COMMANDS: dict[str, tuple[str, str]] = {
    "compile": (".compile", "compile_"),
    "check": (".check", "check"),
    "fmt": (".fmt", "fmt"),
    "list": (".catalog", "list_"),
    "show": (".catalog", "show"),
    "explain": (".explain", "explain"),
    "train": (".train.command", "train"),
}
"""Each command's module and function, in the order of the help."""

_STYLE = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"max_content_width": 100},
}
_BROKEN = 70
_INTERRUPTED = 130


class _Commands(TyperGroup):
    """A group that imports a command when it is used: `check` and `fmt` start without JAX."""

    def list_commands(self, ctx: object) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module, function = COMMANDS[cmd_name]
            single = typer.Typer(**_STYLE)  # type: ignore[arg-type]  # one dict, several types
            run = getattr(import_module(module, __package__), function)
            single.command(cmd_name, help=_help(run))(run)
            self.commands[cmd_name] = typer.main.get_command(single)
        return self.commands[cmd_name]


def _help(command: Callable[..., None]) -> str:
    """The docstring of a command as its help, with the lines of the example kept apart."""
    # A paragraph that begins with a backspace is not filled.
    return (inspect.getdoc(command) or "").replace("\n\nExample:", "\n\n\b\nExample:")


app = typer.Typer(cls=_Commands, no_args_is_help=True, **_STYLE)  # type: ignore[arg-type]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # 20 ms that only --version should cost

        print(f"optc {version('optc')}")
        raise typer.Exit


def _optc(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A compiler for optimizers: .opt specs in, readable jitted JAX out.

    SPEC is a path, `path.opt:NAME` where a file holds several optimizers, or a library name.

    Example:
      optc list
      optc compile adamw -o adamw.py
      optc train adamw --task digits
    """


app.callback(help=_help(_optc))(_optc)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and give its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough (`optc list | head -1`), which needs no words.
        # What is left in the buffer must not fail a second time when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(arguments: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        command.main(args=arguments, prog_name="optc")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except SpecError as error:
        from ..grammar.render import render_text  # only the unlucky pay for it

        note(render_text(error.diagnostics, color=wants_color(sys.stderr)))
        return 1
    except OptcError as error:
        note(f"error: {error}")
        return 1
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _internal_error(error)
    return 0


def _internal_error(error: Exception) -> int:
    if os.environ.get("OPTC_DEBUG"):
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = (
        f"{os.path.basename(os.path.dirname(frame.filename))}/{os.path.basename(frame.filename)}"
    )
    note(f"internal error in optc, at {place}:{frame.lineno}: {type(error).__name__}: {error}")
    note("This is our mistake, not yours: please report it. OPTC_DEBUG=1 shows the traceback.")
    return _BROKEN
