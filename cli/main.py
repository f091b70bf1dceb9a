"""The entry point `optc`: runs a command line, and turns its end into an exit code.

0 fine, 1 the spec or the run has errors, 2 wrong usage, 70 our own fault, 130 interrupted.
"""

import gc
import os
import sys
import traceback
from collections.abc import Sequence

from ..grammar.diagnostic import OptcError, SpecError
from .output import note, wants_color

_BROKEN = 70
_INTERRUPTED = 130

_YOUNG = 50_000
"""Objects between two collections of garbage: what a command imports and reads is none of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and give its exit code."""
    if arguments is None:
        _start_quickly()
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough (`optc list | head -1`), which needs no words.
        # What is left in the buffer must not fail a second time when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _start_quickly() -> None:
    """Spare a process of ours a fifth of its start."""
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    # Pydantic looks through all that is installed for plugins, which could do nothing for us.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _run(arguments: list[str]) -> int:
    try:
        return _command(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except SpecError as error:
        from ..grammar.render import render_text  # only the unlucky pay for it

        note(render_text(error.diagnostics, color=wants_color(sys.stderr)))
        return 1
    except OptcError as error:
        from ..grammar.render import visible

        note("\n".join(visible(line) for line in f"error: {error}".split("\n")))
        return 1
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _internal_error(error)


def _command(arguments: list[str]) -> int:
    if any(argument.startswith("-") for argument in arguments):
        return _with_options(arguments)
    # Without options no parser of options is needed, whose import takes a fifth of an answer.
    match arguments:
        case ["check", _, *_]:
            from .findings import report_on

            return report_on(arguments[1:])
        case ["explain", what]:
            from .boxes import report_on as report_on_one

            return report_on_one(what)
        case ["diff", before, after]:
            from .changes import report_on as report_on_both

            return report_on_both(before, after)
        case _:
            return _with_options(arguments)


def _with_options(arguments: list[str]) -> int:
    from .app import run

    run(arguments)
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
