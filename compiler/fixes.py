"""Making the fixes of a spec's diagnostics, where one can only be what was meant."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..grammar.diagnostic import Diagnostics, Fix
from ..grammar.source import Source
from .check import check
from .locate import Located

_ROUNDS = 100
"""One fix may show the next mistake, at most so many times."""


@dataclass(frozen=True)
class Fixed:
    """A spec after its fixes: the text, how many were made, and what is still to be said."""

    source: Source
    count: int
    report: Diagnostics


def fixed(located: Located) -> Fixed:
    """The spec with all safe fixes made in its own text. Fixing the result changes nothing more.

    Files that it uses, and the library, stay as they are.
    """
    source, count = located.source, 0
    report = check(located)
    for _ in range(_ROUNDS):
        fixes = _apart(d.fix for d in report if d.fix and d.fix.span.source is source)
        if not fixes:
            break
        source = Source(source.name, _replaced(source.text, fixes))
        count += len(fixes)
        report = check(replace(located, source=source))
    return Fixed(source, count, report)


def _apart(fixes: Iterable[Fix]) -> list[Fix]:
    """Those fixes that are safe and do not meet, in order."""
    kept: list[Fix] = []
    for fix in sorted((f for f in fixes if f.safe), key=lambda f: (f.span.start, f.span.end)):
        if not kept or fix.span.start >= kept[-1].span.end:
            kept.append(fix)
    return kept


def _replaced(text: str, fixes: Iterable[Fix]) -> str:
    parts: list[str] = []
    done = 0
    for fix in fixes:
        parts += text[done : fix.span.start], fix.replacement
        done = fix.span.end
    return "".join((*parts, text[done:]))
