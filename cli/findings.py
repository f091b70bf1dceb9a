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
    checked = 0
    for spec in _fixed(specs, allow_extern) if fix and not diff else specs:
        try:
            located = locate(spec, allow_extern)
            report = _show_fixes(located) if diff else check(located)
        except CommandError as error:
            note(f"error: {error}")
            continue
        found += report.sorted()
        checked += 1
    if as_json and not diff:
        print(render_json(found))
    elif found and not diff:
        print(render_text(found, color=wants_color(sys.stdout)))
    if checked:
        note(f"{plural(checked, 'spec')} checked: {summary(found) or 'nothing to report'}")
    return int(checked < len(specs) or any(each.severity is Severity.ERROR for each in found))


def _fixed(specs: Sequence[str], allow_extern: Sequence[str]) -> list[str]:
    """Put files right, and again those that use one, of which more is known then.

    What could not be read or written is reported and left out.
    """
    good = list(specs)
    for round in range(len(specs)):
        changes = 0
        for spec in tuple(good):
            try:
                located = locate(spec, allow_extern)
                if _is_own(located):
                    changes += _fix(located)
                elif round == 0:
                    note(f"`{located.source.name}` is of the library, and stays as it is")
            except CommandError as error:
                note(f"error: {error}")
                good.remove(spec)
        if changes == 0:
            break
    return good


def _is_own(located: Located) -> bool:
    return located.folder is not None and not in_library(Path(located.source.name))


def _fix(located: Located) -> int:
    """Put a file right; how many changes there were to make."""
    from ..compiler.fixes import fixed  # only `--fix` pays for it

    name, old = located.source.name, located.source.text
    result = fixed(located)
    if result.count:
        path = Path(name)
        mark = _mark_before(path, old)
        write(path, mark + result.source.text)
        note(f"{plural(result.count, 'change')} made in {name}")
    return result.count


def _show_fixes(located: Located) -> Diagnostics:
    """Show what would put a file right; what would still be to be said of it."""
    from ..compiler.fixes import fixed

    if not _is_own(located):
        note(f"`{located.source.name}` is of the library, and stays as it is")
        return check(located)
    name, result = located.source.name, fixed(located)
    if result.count:
        print_diff(name, located.source.text, result.source.text, "fixed")
        note(f"{plural(result.count, 'change')} would be made in {name}")
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
