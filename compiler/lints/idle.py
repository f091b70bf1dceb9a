"""Stages that leave the signal as it is, for the numbers that are written in them."""

import math

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import Passage
from .lines import shown
from .run import report_at
from .subject import Subject

IDLE_STAGE = declare(
    "idle-stage",
    "a stage that changes nothing",
    """
    With the numbers that are written in it, the stage gives what it gets: a decay of 0, a limit of
    `inf`, a factor of 1. The line says that something is done here, and nothing is.

        decay weights(0)

    Leave it out. Where the number is one to be tried, make it a hyperparameter, whose default may
    be 0: `decay weights(decay)`.
    """,
    Severity.WARNING,
)


def check_idle(subject: Subject, report: Diagnostics) -> None:
    """Warn of stages with literal arguments whose result is the signal itself."""
    for passage in subject.draft.passages:
        stage = subject.stage(passage)
        idle = _is_same(subject, subject.made(passage), passage)
        if _is_literal(stage.syntax.rule) and idle:
            message = f"`{shown(stage)}` changes nothing"
            help = "leave it out, or make the number a hyperparameter"
            span = stage.syntax.rule.span
            report_at(
                subject, report, IDLE_STAGE, span, message, label="gives what it gets", help=help
            )


def _is_literal(rule: syntax.Expr) -> bool:
    """Whether a rule has arguments, and all of them are numbers."""
    arguments = rule.arguments if isinstance(rule, syntax.Call) else ()
    return bool(arguments) and all(_is_number(argument.value) for argument in arguments)


def _is_number(expr: syntax.Expr) -> bool:
    match expr:
        case syntax.Number() | syntax.Bool():
            return True
        case syntax.Name():
            return expr.id in ("inf", "pi")
        case syntax.Unary():
            return _is_number(expr.operand)
        case syntax.Binary():
            return _is_number(expr.left) and _is_number(expr.right)
        case _:
            return False


def _is_same(subject: Subject, id: int, passage: Passage) -> bool:
    """Whether a value is the signal that a stage got."""
    while id != passage.before:
        node = subject.nodes[id]
        values = [subject.intervals[i].point for i in node.inputs]
        match node.op, values:
            case ("clamp", [_, low, high]) if (low, high) == (-math.inf, math.inf):
                id = node.inputs[0]
            case ("add", [_, 0.0]) | ("sub", [_, 0.0]) | ("mul", [_, 1.0]) | ("div", [_, 1.0]):
                id = node.inputs[0]
            case ("add", [0.0, _]) | ("mul", [1.0, _]):
                id = node.inputs[1]
            case _:
                return False
    return passage.before != passage.after
