"""`assert` lines: what an optimizer claims to cost, in terms of what `optc plan` measures.

They are typed when a spec is checked, and change nothing of its program.
"""

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, correction, declare, did_you_mean
from .constants import OPERATORS
from .records import Assertion, Term

BAD_ASSERT = declare(
    "bad-assert",
    "an assertion that cannot be checked",
    """
    `assert` states a condition on what an optimizer costs, and `optc plan` checks it for the
    weights that it is given. It may speak of `state_bytes` and `weight_bytes`, the numbers of
    `tensors` and `groups`, the `oracles` that a step asks on average, and `flops_per_weight`. They
    are combined with numbers by arithmetic, compared, and joined by `and`, `or` and `not`.

    Wrong: `assert state_bytes`, `assert lr < 1`.

    Right: `assert state_bytes <= 1.5 * weight_bytes and oracles <= 2`.

    The range of a hyperparameter is said where it is declared, `lr = 0.1 in [0, 1)`.
    """,
)

QUANTITIES = {
    "state_bytes": "bytes of the state between steps",
    "weight_bytes": "bytes of the weights",
    "tensors": "weight tensors",
    "groups": "groups",
    "oracles": "questions to the objective in a step, on average",
    "flops_per_weight": "operations of a step for each weight, on average",
}
"""What an assertion may speak of."""

_OPERATORS = {sign: op for sign, op in OPERATORS.items() if sign != "%"}
_KINDS = {"number": "a number", "bool": "a condition"}


def assertion(line: syntax.Assert, report: Diagnostics) -> Assertion | None:
    """What a line claims, or None where it was reported as wrong."""
    condition = _typed(line.condition, "bool", report)
    if condition is None:
        return None
    return Assertion(line.condition.span.in_one_line, line.span.place, condition)


def _typed(expr: syntax.Expr, wanted: str, report: Diagnostics) -> Term | None:
    """The term of an expression, which must be a number or a condition as `wanted` says."""
    match expr:
        case syntax.Number():
            kind, term = "number", Term("literal", (expr.value,))
        case syntax.Bool():
            kind, term = "bool", Term("literal", (expr.value,))
        case syntax.Name() if expr.id in QUANTITIES:
            kind, term = "number", Term("quantity", (expr.id,))
        case syntax.Name():
            _unknown(expr, report)
            return None
        case syntax.Unary(op="-"):
            return _applied("neg", "number", "number", (expr.operand,), expr, wanted, report)
        case syntax.Unary():
            return _applied("not", "bool", "bool", (expr.operand,), expr, wanted, report)
        case syntax.Binary() if expr.op in _OPERATORS:
            takes = "bool" if expr.op in ("and", "or") else "number"
            gives = "number" if expr.op in ("+", "-", "*", "/", "^") else "bool"
            both = (expr.left, expr.right)
            return _applied(_OPERATORS[expr.op], takes, gives, both, expr, wanted, report)
        case _:
            message = "an assertion is arithmetic over what `plan` measures"
            report.add(BAD_ASSERT.at(expr.span, message, label="not understood here"))
            return None
    return _fitting(term, kind, expr, wanted, report)


def _applied(
    op: str,
    takes: str,
    gives: str,
    operands: tuple[syntax.Expr, ...],
    expr: syntax.Expr,
    wanted: str,
    report: Diagnostics,
) -> Term | None:
    terms = [_typed(operand, takes, report) for operand in operands]
    known = tuple(term for term in terms if term is not None)
    if len(known) < len(terms):
        return None
    return _fitting(Term(op, known), gives, expr, wanted, report)


def _fitting(
    term: Term, kind: str, expr: syntax.Expr, wanted: str, report: Diagnostics
) -> Term | None:
    if kind == wanted:
        return term
    message = f"`{expr.span.text}` is {_KINDS[kind]}; {_KINDS[wanted]} is needed here"
    help = "compare it: `... <= ...`" if wanted == "bool" else None
    report.add(BAD_ASSERT.at(expr.span, message, help=help))
    return None


def _unknown(name: syntax.Name, report: Diagnostics) -> None:
    known = f"there are {', '.join(f'`{each}`' for each in QUANTITIES)}"
    report.add(
        BAD_ASSERT.at(
            name.span,
            f"`{name.id}` is nothing that `plan` measures",
            label="unknown here",
            help=did_you_mean(name.id, QUANTITIES) or known,
            fix=correction(name.span, QUANTITIES),
        )
    )
