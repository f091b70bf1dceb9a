"""The run that a spec describes: its values at the defaults, its length, and its step sizes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, Fix, Label, Rule
from ...grammar.source import Span
from ..constants import evaluate
from ..lowering.draft import DraftNode
from ..records import Scalar
from ..spec import SpecStage
from .plain import Curve, Known, curve
from .subject import Subject

LENGTHS = ("total", "total_steps")
"""What optimizers call the number of steps of a run."""


@dataclass(frozen=True)
class Run:
    """How many steps a run has, and the hyperparameter that says it."""

    name: str
    total: int


@dataclass(frozen=True)
class Rate:
    """The step size of a `tune step`, and its curve where it depends on `t` alone."""

    stage: SpecStage
    curve: Curve

    def at(self, t: int) -> float:
        """The rate at step `t`, not a number where it has none."""
        value = self.curve(t)
        return math.nan if value is None else value


@dataclass(frozen=True)
class Given:
    """A call of a schedule: its place, and the arguments that have a value at the defaults."""

    call: syntax.Expr
    name: str
    arguments: dict[str, tuple[syntax.Expr, Scalar]]


def defaults(subject: Subject) -> dict[str, Scalar]:
    """The hyperparameters that have a default, with it."""
    known = subject.draft.hyperparameters
    return {h.name: h.default for h in known if h.default is not None}


def at_defaults(subject: Subject, t: int | None = None) -> Known:
    """The inputs of a step at the defaults, at step `t` or whenever."""
    given = defaults(subject)

    def known(node: DraftNode) -> Scalar | None:
        if node.op == "parameter":
            return given.get(str(node["name"]))
        return t if node.op == "input" and node["name"] == "t" else None

    return known


def length(subject: Subject) -> Run | None:
    """The length of the run, where a hyperparameter says it."""
    for name, value in defaults(subject).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in LENGTHS and is_number and 1 < float(value) < 1e12:
            return Run(name, int(value))
    return None


def rates(subject: Subject) -> Iterator[Rate]:
    """The step sizes that are curves over `t` at the defaults."""
    for passage in subject.draft.passages:
        stage = subject.stage(passage)
        size = subject.eta(passage) if stage.kind == "tune" else None
        found = None if size is None else curve(subject.nodes, size, at_defaults(subject))
        if found is not None:
            yield Rate(stage, found)


def schedules(subject: Subject, stage: SpecStage) -> Iterator[Given]:
    """The schedules that a line calls, with what it gives them."""
    known = defaults(subject)
    for call, decl in _scheduled(stage):
        params = [param.name.id for param in decl.params]
        given = {}
        for place, argument in enumerate(call.arguments):
            value = evaluate(argument.value, known)
            if value is not None:
                given[argument.name.id if argument.name else params[place]] = argument.value, value
        yield Given(call, decl.name.id, given)


def _scheduled(stage: SpecStage) -> Iterator[tuple[syntax.Call, syntax.ScheduleDecl]]:
    for call in calls(stage.syntax.rule):
        assert isinstance(call.function, syntax.Name)
        found = stage.declarations.first(("func", "schedule"), call.function.id)
        if found is not None and isinstance(found.decl, syntax.ScheduleDecl):
            yield call, found.decl


def steps(number: float) -> str:
    """A number of steps as a spec would write it."""
    if math.isfinite(number) and number == int(number):
        return f"{int(number):_}" if number >= 10_000 else str(int(number))
    return f"{number:g}"


def passing(subject: Subject, id: int) -> int:
    """The new value of a state for the tensors of its stage, where the guards let a step pass."""
    node = subject.nodes[id]
    while True:
        stage = subject.stages.get(node.stage)
        if node.op in ("merge", "restrict"):
            node = subject.nodes[node.inputs[0]]
        elif node.op == "where" and stage is not None and stage.kind == "guard":
            node = subject.nodes[node.inputs[1]]
        else:
            return node.id


def labelled(subject: Subject, label: str) -> SpecStage | None:
    """The stage of a label, which is what its states are kept under."""
    return next((s for s in subject.stages.values() if s.label == label), None)


def calls(expr: syntax.Expr) -> Iterator[syntax.Call]:
    """Every call of a name in an expression, outer ones first."""
    match expr:
        case syntax.Call():
            if isinstance(expr.function, syntax.Name):
                yield expr
            for argument in expr.arguments:
                yield from calls(argument.value)
        case syntax.Unary():
            yield from calls(expr.operand)
        case syntax.Binary():
            yield from calls(expr.left)
            yield from calls(expr.right)


def names(expr: syntax.Expr) -> set[str]:
    """The names that an expression speaks of, without those of functions."""
    match expr:
        case syntax.Name():
            return {expr.id}
        case syntax.Unary():
            return names(expr.operand)
        case syntax.Binary():
            return names(expr.left) | names(expr.right)
        case syntax.Call():
            return set().union(*(names(argument.value) for argument in expr.arguments))
        case _:
            return set()


def part(stage: SpecStage) -> Span:
    """The part of a step size that changes with time: its one schedule, or else all of it."""
    found = [call for call, _ in _scheduled(stage)]
    return found[0].span if len(found) == 1 else stage.syntax.rule.span


def report_at(
    subject: Subject,
    report: Diagnostics,
    rule: Rule,
    span: Span,
    message: str,
    *,
    label: str = "",
    help: str | None = None,
    others: tuple[Label, ...] = (),
    fix: Fix | None = None,
) -> None:
    """Report a line of the optimizer; one that is inherited from a file is reported at its heir."""
    own = subject.spec.span
    if span.source is own.source:
        report.add(rule.at(span, message, label=label, help=help, others=others, fix=fix))
        return
    inherited = Label(span, label or "inherited from here")
    report.add(rule.at(own, message, help=help, others=(inherited, *others)))
