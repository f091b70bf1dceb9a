"""What `optc check` finds and says, and what it puts right."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..compiler.check import check
from ..compiler.library import in_library
from ..compiler.locate import Located
from ..grammar.diagnostic import Diagnostic, Diagnostics, Severity
from ..grammar.render import render_json, render_text, summary
from .located import locate
from .output import CommandError, note, plural, print_diff, wants_color, write


def report_on(
    specs: Sequence[str],
    *,
    as_json: bool = False,
    allow_extern: Sequence[str] = (),
    fix: bool = False,
    diff: bool = False,
) -> int:
    """Write every diagnostic of every spec to standard output; the exit code.

    With `fix` the files are put right before, where that is safe. With `diff` standard output gets
    what `fix` would change instead, and nothing is written.
    """
    found: list[Diagnostic] = []
    missing = 0
    for spec in specs:
        try:
            located = locate(spec, allow_extern)
            report = _fix(located, diff) if fix or diff else check(located)
            found += report.sorted()
        except CommandError as error:
            note(f"error: {error}")
            missing += 1
    if as_json and not diff:
        print(render_json(found))
    elif found and not diff:
        print(render_text(found, color=wants_color(sys.stdout)))
    if checked := len(specs) - missing:
        note(f"{plural(checked, 'spec')} checked: {summary(found) or 'nothing to report'}")
    return int(missing > 0 or any(each.severity is Severity.ERROR for each in found))


def _fix(located: Located, diff: bool) -> Diagnostics:
    """Put a file right, or show how; what is still to be said of it."""
    from ..compiler.fixes import fixed  # only `--fix` pays for it

    name, old = located.source.name, located.source.text
    path = Path(name)
    if located.folder is None or in_library(path):
        note(f"`{name}` is of the library, and stays as it is")
        return check(located)
    result = fixed(located)
    if result.count == 0:
        return result.report
    changes = plural(result.count, "change")
    if diff:
        print_diff(name, old, result.source.text, "fixed")
        note(f"{changes} would be made in {name}")
        return result.report
    mark = _mark_before(path, old)
    write(path, mark + result.source.text)
    note(f"{changes} made in {name}")
    return result.report


def _mark_before(path: Path, text: str) -> str:
    """The mark that some editors put first. CommandError where a file holds more than its text."""
    try:
        whole = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"cannot fix {path}: it is not UTF-8 text") from error
    mark = whole[: len(whole) - len(text)]
    if mark + text != whole or mark not in ("", "\ufeff"):
        raise CommandError(f"cannot fix {path}: it changed while it was read, or is too large")
    return mark
