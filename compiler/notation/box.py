"""The algorithm box: what an optimizer needs, keeps and does, in the order in which it does it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..records import Stage
from .tree import Formula, Symbol


@dataclass(frozen=True, slots=True)
class Let:
    """Literals that the spec gave names to."""

    constants: tuple[tuple[Symbol, Formula], ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """All targets get their values at once; `drawn` values are random.

    Several targets of one value are the results of one transformation.
    """

    targets: tuple[Symbol, ...]
    values: tuple[Formula, ...]
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """An observation or a request."""

    name: str
    value: Formula
    word: Literal["report", "request"] = "report"


@dataclass(frozen=True, slots=True)
class Count:
    """The step counts only if a condition holds."""

    condition: Formula


@dataclass(frozen=True, slots=True)
class If:
    """A choice made while running."""

    condition: Formula
    then: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Stop:
    """The loop around ends here unless a condition holds that takes lines to work out."""

    unless: Formula


Each = Literal["example", "field", "node"]
"""Of what a function of one value is a function."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What a function of one value works out: of the gradient of an example, of a field, ..."""

    gradient: Symbol
    body: "Body"
    each: Each

    @property
    def words(self) -> tuple[str, str]:
        """What stands before and behind the value."""
        if self.each == "example":
            return "the gradient ", " of each example"
        return f"each {self.each} ", ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop of at most `count` rounds."""

    count: Formula
    condition: Formula | None
    body: "Body"


@dataclass(frozen=True, slots=True)
class Turns:
    """What happens to each tensor at one of every `period` steps, and what at the others."""

    period: Formula
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Where:
    """What happens to some of the tensors only."""

    tensors: str
    statements: "tuple[Statement, ...]"


Statement = Let | Assign | Report | Count | Stop | If | Repeat | Turns | Examples | Where


@dataclass(frozen=True, slots=True)
class Part:
    """What one line of the spec causes; no line for what belongs to every step."""

    stage: Stage | None
    statements: tuple[Statement, ...]


Body = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """What values a hyperparameter takes, written with brackets of both kinds."""

    low: Formula
    high: Formula
    opening: Literal["(", "["]
    closing: Literal[")", "]"]


@dataclass(frozen=True, slots=True)
class Input:
    """A hyperparameter: its symbol, its name, its default and what values it takes.

    `kind` is empty for a float, which a program takes while it runs.
    """

    symbol: Symbol
    name: str
    default: Formula | None
    kind: str
    values: Interval | None


@dataclass(frozen=True, slots=True)
class State:
    """A slot of a fresh state: `stage` and `name` find it, `note` is what is special of it."""

    symbol: Symbol
    start: Formula
    stage: str
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that go through stages of their own."""

    name: str
    where: str


@dataclass(frozen=True, slots=True)
class Box:
    """A whole optimizer. `papers` are addresses, by what the docstring calls them.

    `start` is what it takes to say the first values of states, mostly nothing.
    """

    name: str
    file: str
    title: str
    notes: str
    papers: tuple[tuple[str, str], ...]
    inputs: tuple[Input, ...]
    states: tuple[State, ...]
    groups: tuple[Group, ...]
    refusals: tuple[str, ...]
    start: Body
    step: Body
    evaluation: Body


def heading(stage: Stage, file: str) -> str:
    """`13 | precondition adam(b1, b2)`: a line of the spec, also where it was several."""
    shown = stage.shown(file)
    return re.sub(r",?\s+([)\]])", r"\1", re.sub(r"([(\[])\s+", r"\1", shown))


def branches(choice: If) -> tuple[list[tuple[Formula, Body]], Body]:
    """The sides of a choice with their conditions, and its last side.

    A side that is nothing but another choice gives its sides to the first.
    """
    made = [(choice.condition, choice.then)]
    match choice.otherwise:
        case (Part(_, (If() as nested,)),):
            more, last = branches(nested)
            return [*made, *more], last
        case last:
            return made, last


def inner(statement: Statement) -> tuple[Body, ...]:
    """The bodies in a statement."""
    match statement:
        case If(_, then, otherwise):
            return then, otherwise
        case Turns(_, then, otherwise):
            return then, otherwise
        case Repeat(_, _, body) | Examples(_, body):
            return (body,)
        case Where(_, statements):
            return ((Part(None, statements),),)
        case _:
            return ()


def parts(body: Body) -> Iterator[Part]:
    """Every part of a body and of the bodies in it, outer before inner."""
    for part in body:
        yield part
        for statement in part.statements:
            for within in inner(statement):
                yield from parts(within)


def statements(body: Body) -> Iterator[Statement]:
    """Every statement of a body and of the bodies in it."""
    for part in parts(body):
        yield from part.statements
