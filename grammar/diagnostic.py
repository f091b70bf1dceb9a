"""Mistakes in a spec as values: a stable code, a span, a sentence, and help.

A rule is declared once, beside the check that reports it:

    UNKNOWN_RULE = declare("unknown-rule", "a name that no rule has", '''...''')
    ...
    report(UNKNOWN_RULE.at(span, "no clip rule is named `globl_norm`", label="not a rule"))

Rendering is elsewhere (`grammar.render`) and adds no words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from inspect import cleandoc

from .source import Span

MAX_DIAGNOSTICS = 200
"""One run reports at most this many; the first ones are the useful ones."""


class Severity(Enum):
    """Errors stop compilation; warnings do not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that a diagnostic shows, with what it shows there."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A replacement of one span that removes the mistake.

    A `safe` one can only be what was meant: `optc check --fix` makes it. The nearest known name is
    a guess, and so not safe.
    """

    span: Span
    replacement: str
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a spec.

    `message` is the headline and stands alone; `label` is what is written under the primary
    span; `help` proposes.
    """

    rule: "Rule"
    span: Span
    message: str
    label: str = ""
    others: tuple[Label, ...] = ()
    help: str | None = None
    fix: Fix | None = None

    @property
    def code(self) -> str:
        """The stable kebab-case name of the rule."""
        return self.rule.code

    @property
    def severity(self) -> Severity:
        """Whether this stops compilation."""
        return self.rule.severity


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One kind of mistake: its code never changes meaning and is never reused."""

    code: str
    summary: str
    explanation: str
    severity: Severity

    def at(
        self,
        span: Span,
        message: str,
        *,
        label: str = "",
        others: tuple[Label, ...] = (),
        help: str | None = None,
        fix: Fix | None = None,
    ) -> Diagnostic:
        """A finding of this rule at `span`."""
        return Diagnostic(self, span, message, label, others, help, fix)


RULES: dict[str, Rule] = {}
"""Every declared rule by its code."""


def declare(code: str, summary: str, explanation: str, severity: Severity = Severity.ERROR) -> Rule:
    """Declare a rule. Codes are unique: a second declaration is an error of ours."""
    if code in RULES:
        raise AssertionError(f"diagnostic code {code!r} is declared twice")
    rule = Rule(code, summary, cleandoc(explanation), severity)
    RULES[code] = rule
    return rule


class Diagnostics:
    """The findings of one run, in the order in which they were made, each place and code once."""

    def __init__(self, findings: Iterable[Diagnostic] = ()) -> None:
        self._found: dict[tuple[int, int, int, str], Diagnostic] = {}
        for finding in findings:
            self.add(finding)

    def add(self, finding: Diagnostic) -> None:
        """Keep a finding, unless its code was already reported at its place."""
        span = finding.span
        key = (id(span.source), span.start, span.end, finding.code)
        if len(self._found) < MAX_DIAGNOSTICS:
            self._found.setdefault(key, finding)

    @property
    def has_errors(self) -> bool:
        """Whether any finding stops compilation."""
        return any(d.severity is Severity.ERROR for d in self)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """By source name, then by place."""
        return tuple(sorted(self, key=lambda d: (d.span.source.name, d.span.start, d.code)))

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)


class OptcError(Exception):
    """The root of the package's own errors."""


class SpecError(OptcError):
    """A spec cannot be compiled; `diagnostics` says why."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [
            f"{d.span.place}: {d.severity.value}[{d.code}]: {d.message}" for d in self.diagnostics
        ]
        return "\n".join(lines)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a mistyped one was most likely meant to be, or None."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Help that names the nearest known name, or None when none is near."""
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else None


def correction(span: Span, known: Iterable[str]) -> Fix | None:
    """The replacement of a mistyped name by the nearest known one, or None."""
    near = nearest(span.text, known)
    return Fix(span, near) if near else None
