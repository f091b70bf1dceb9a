"""What `optc check` finds and says."""

import sys
from collections.abc import Sequence

from ..compiler.check import check
from ..grammar.diagnostic import Diagnostic, Severity
from ..grammar.render import render_json, render_text, summary
from .output import CommandError, note, plural, wants_color
from .spec import locate


def report_on(
    specs: Sequence[str], *, as_json: bool = False, allow_extern: Sequence[str] = ()
) -> int:
    """Write every diagnostic of every spec to standard output; the exit code."""
    found: list[Diagnostic] = []
    missing = 0
    for spec in specs:
        try:
            found += check(locate(spec, allow_extern)).sorted()
        except CommandError as error:
            note(f"error: {error}")
            missing += 1
    if as_json:
        print(render_json(found))
    elif found:
        print(render_text(found, color=wants_color(sys.stdout)))
    if checked := len(specs) - missing:
        note(f"{plural(checked, 'spec')} checked: {summary(found) or 'nothing to report'}")
    return int(missing > 0 or any(each.severity is Severity.ERROR for each in found))
