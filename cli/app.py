"""The typer application: which commands there are, and their help."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "compile": (".compile", "compile_"),
    "check": (".check", "check"),
    "fmt": (".fmt", "fmt"),
    "list": (".catalog", "list_"),
    "show": (".catalog", "show"),
    "explain": (".explain", "explain"),
    "equiv": (".equiv", "equiv"),
    "diff": (".diff", "diff"),
    "plan": (".plan", "plan"),
    "lock": (".lock", "lock"),
    "verify": (".lock", "verify"),
    "plot": (".plot", "plot"),
    "train": (".train.command", "train"),
    "refine": (".refine", "refine"),
    "cache": (".cache", "cache"),
}
"""Each command's module and function, in the order of the help."""

_STYLE = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"max_content_width": 100},
}


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


def run(arguments: list[str]) -> None:
    """Run one command line; ends with SystemExit, as command lines do."""
    typer.main.get_command(app).main(args=arguments, prog_name="optc")
