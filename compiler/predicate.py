"""Conditions on a tensor's shape, path and dtype: from syntax, to values, to Python text.

Terms are decided once, when the weights' shapes are known, and never on data.
"""

import operator
import re
from collections.abc import Callable, Container, Iterator, Mapping
from itertools import pairwise

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare, did_you_mean
from .constants import DECIDED, OPERATORS, value_of, zero_division
from .op import CALL
from .ops import OPS
from .quoting import quoted
from .records import Scalar, Term

BAD_PREDICATE = declare(
    "bad-predicate",
    "a condition that does not choose tensors",
    """
    `where` and `group ... where` choose tensors by what is known before a step runs: `ndim`,
    `size`, `rows` and `cols` (its last two axes), `path` (slash-separated), `dtype` (a name such
    as "bfloat16") and `shape`. They are compared with literals and joined by `and`, `or` and
    `not`; a path may be matched with a regular expression. `int` parameters may stand for literals,
    and so may sums and products of them. `where(PREDICATE, yes, no)` chooses a value for each
    tensor in the same way.

        decay   weights(0.1) where ndim >= 2 and not path matches "embed|head"
        group   hidden where ndim == 2 and rows <= limit { ... }
        perturb sam(radius = where(path matches "embed", 0, 0.05))
    """,
)
BAD_PATTERN = declare(
    "bad-pattern",
    "a regular expression that is wrong or too slow",
    """
    `matches` searches a path with a regular expression in Python's notation. Patterns whose
    search could take long are refused: a repeated group that contains another repetition
    (`(a+)+`), references back (`\\1`), looking around (`(?=...)`), more than three repetitions, and
    too many parts that may be there or not (`a?a?a?...`) or be one of several. Patterns are at most
    500 characters long.
    """,
)

_MOST_WAYS = 1024

_NONE: Mapping[str, Term] = {}

TENSOR_NAMES = ("ndim", "size", "rows", "cols", "path", "dtype", "shape")
"""What a predicate can ask of a tensor; `rows` and `cols` are 1 where it has no such axis."""

OPPOSITES = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "le": "gt", "gt": "le"}
"""What a comparison is when it does not hold."""


def predicate(
    expr: syntax.Expr, report: Diagnostics, names: Mapping[str, Term] = _NONE
) -> Term | None:
    """The predicate that `expr` says, or None where it was reported as wrong.

    `names` are those that a `when g is [rows, cols]` around it gave to axes, and the `int`
    parameters of the rule or the optimizer.
    """
    match expr:
        case syntax.Name() if expr.id in names:
            return names[expr.id]
        case syntax.Name() if expr.id in TENSOR_NAMES:
            return Term(op=expr.id)
        case syntax.Number() | syntax.String() | syntax.Bool():
            return Term(op="literal", arguments=(expr.value,))
        case syntax.Unary() | syntax.Binary() if (known := _number(expr, names)) is not None:
            return known
        case syntax.Unary(op="not"):
            inner = predicate(expr.operand, report, names)
            return inner and Term(op="not", arguments=(inner,))
        case syntax.Binary(op="matches"):
            return _matches(expr, report)
        case syntax.Binary() if expr.op in OPERATORS and expr.op not in "+-*/%^":
            left = predicate(expr.left, report, names)
            right = predicate(expr.right, report, names)
            both = left and right and Term(op=OPERATORS[expr.op], arguments=(left, right))
            return both or None
        case syntax.IsShape(value=syntax.Name(id="shape")):
            return rank(expr)
        case syntax.Name():
            report.add(
                BAD_PREDICATE.at(
                    expr.span,
                    f"`{expr.id}` is not a property of a tensor",
                    label="unknown here",
                    help=did_you_mean(expr.id, (*TENSOR_NAMES, *names))
                    or "tensors have `ndim`, `size`, `rows`, `cols`, `path`, `dtype` and `shape`",
                )
            )
        case _:
            report.add(
                BAD_PREDICATE.at(
                    expr.span,
                    "this cannot choose tensors",
                    label="not a condition on a tensor",
                    help="a property stands alone: compare it with what is worked out of numbers"
                    if isinstance(expr, syntax.Binary)
                    else "compare `ndim`, `size`, `rows`, `cols`, `path` or `dtype` with literals",
                )
            )
    return None


def _number(expr: syntax.Expr, names: Mapping[str, Term]) -> Term | None:
    """A sum or product of literals and parameters; None for anything else."""
    match expr:
        case syntax.Number():
            return Term("literal", (expr.value,))
        case syntax.Name() if expr.id in names and names[expr.id].op not in TENSOR_NAMES:
            return names[expr.id]
        case syntax.Unary(op="-"):
            parts = [_number(expr.operand, names)]
            op = "neg"
        case syntax.Binary(op="+" | "-" | "*"):
            parts = [_number(side, names) for side in (expr.left, expr.right)]
            op = OPERATORS[expr.op]
        case _:
            return None
    terms = tuple(part for part in parts if part is not None)
    return bound(Term(op, terms), {}) if len(terms) == len(parts) else None


def rank(shape: syntax.IsShape) -> Term:
    """The condition on ranks that `is [rows, cols]` or `is [.., rows, cols]` says."""
    number = Term(op="literal", arguments=(len(shape.dimensions),))
    return Term(op="ge" if shape.leading else "eq", arguments=(Term(op="ndim"), number))


def names_in(expr: syntax.Expr) -> Iterator[syntax.Name]:
    """The names that a condition is about, in order."""
    match expr:
        case syntax.Name():
            yield expr
        case syntax.Unary():
            yield from names_in(expr.operand)
        case syntax.Binary():
            yield from names_in(expr.left)
            yield from names_in(expr.right)


def is_predicate(expr: syntax.Expr, hidden: Container[str] = ()) -> bool:
    """Whether `expr` speaks of tensors, so that it is decided for each of them.

    `hidden` are names that stand for something else here.
    """
    match expr:
        case syntax.Name():
            return expr.id in TENSOR_NAMES and expr.id not in hidden
        case syntax.IsShape():
            return isinstance(expr.value, syntax.Name) and expr.value.id == "shape"
        case syntax.Unary():
            return is_predicate(expr.operand, hidden)
        case syntax.Binary():
            return is_predicate(expr.left, hidden) or is_predicate(expr.right, hidden)
        case _:
            return False


def _matches(expr: syntax.Binary, report: Diagnostics) -> Term | None:
    subject = predicate(expr.left, report)
    if not isinstance(expr.right, syntax.String):
        report.add(BAD_PREDICATE.at(expr.right.span, "`matches` takes a literal pattern"))
        return None
    if subject and subject.op not in ("path", "dtype"):
        report.add(BAD_PREDICATE.at(expr.left.span, "only `path` and `dtype` can be matched"))
        return None
    pattern = expr.right.value
    if (reason := _refusal(pattern)) is not None:
        report.add(BAD_PATTERN.at(expr.right.span, reason, label="not accepted"))
        return None
    literal = Term(op="literal", arguments=(pattern,))
    return subject and Term(op="matches", arguments=(subject, literal))


def _refusal(pattern: str) -> str | None:
    """Why a pattern is refused, or None when its search is sure to end soon."""
    if len(pattern) > 500:
        return "the pattern is longer than 500 characters"
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"the pattern is not a regular expression: {error}"
    bare = re.sub(r"\\[^0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)
    if re.search(r"\\[0-9]|\(\?(?!:)", bare):
        return "the pattern refers back or looks around"
    repetitions = len(re.findall(r"[*+]|\{\d*,\d*\}", bare))
    if repetitions > 3:
        return "the pattern has more than three repetitions"
    if re.search(r"\)\s*(?:[*+]|\{)", bare) and re.search(r"[*+{|?].*\)\s*(?:[*+]|\{)", bare):
        return "the pattern repeats a group that itself repeats or chooses"
    # A failing search tries every combination; each repetition tries many lengths besides.
    if _ways(bare) * 8**repetitions > _MOST_WAYS:
        return "the pattern leaves too many choices"
    return None


def _ways(bare: str) -> int:
    """In how many ways the optional parts and the groups of a pattern can be chosen, at most."""
    ways = 1
    groups: list[int] = []
    for before, mark in pairwise(f" {bare}"):
        match mark:
            case "(":
                groups.append(1)
            case "|" if groups:
                groups[-1] += 1
            case ")":
                ways *= groups.pop()
            case "?" if before not in "(*+?}":
                ways *= 2
    return ways


def holds(condition: Term, tensor: Mapping[str, Scalar]) -> bool:
    """Whether a tensor with these properties (all of `TENSOR_NAMES` but `shape`) is chosen."""
    return bool(_value(condition, tensor))


def bound(condition: Term, values: Mapping[str, Scalar]) -> Term:
    """A condition with those values of parameters that are given, worked out as far as known."""
    if condition.op == "parameter" and (name := str(condition.arguments[0])) in values:
        return Term(op="literal", arguments=(values[name],))
    if not condition.terms:
        return condition
    terms = tuple(bound(term, values) for term in condition.terms)
    whole = Term(condition.op, terms)
    is_known = all(term.op == "literal" for term in terms) and zero_division(whole, {}) is None
    return Term("literal", (value_of(whole, {}),)) if is_known else whole


def parameters(condition: Term) -> tuple[str, ...]:
    """The parameters that a condition depends on, which are known when the program is bound."""
    if condition.op == "parameter":
        return (str(condition.arguments[0]),)
    return tuple(dict.fromkeys(name for term in condition.terms for name in parameters(term)))


def asks_parameters(condition: Term) -> bool:
    """Whether a condition depends on a parameter."""
    return bool(parameters(condition))


def decider(condition: Term) -> Callable[[Mapping[str, Scalar]], bool]:
    """A function that says what `holds` says of a condition, for many tensors."""
    value = _function(condition)
    return lambda tensor: bool(value(tensor))


def _function(term: Term) -> Callable[[Mapping[str, Scalar]], Scalar]:
    if term.op == "literal":
        (literal,) = term.arguments
        assert not isinstance(literal, Term)
        return lambda tensor: literal
    if term.op in TENSOR_NAMES:
        return operator.itemgetter(term.op)
    if term.op == "matches":
        text, pattern = (_function(inner) for inner in term.terms)
        search = re.compile(str(pattern({}))).search
        return lambda tensor: search(str(text(tensor))) is not None
    if term.op in DECIDED:
        # What a group asks stands before what earlier groups ask, and mostly settles it.
        decides = DECIDED[term.op]
        parts = [_function(part) for part in _parts(term, term.op)]

        def joined(tensor: Mapping[str, Scalar]) -> bool:
            for part in parts:
                if bool(part(tensor)) is decides:
                    return decides
            return not decides

        return joined
    meaning = OPS[term.op].scalar
    assert meaning is not None
    match [_function(inner) for inner in term.terms]:
        case [x]:
            return lambda tensor: meaning(x(tensor))
        case [x, y]:
            return lambda tensor: meaning(x(tensor), y(tensor))
    raise AssertionError(term)  # predicates have no other ops


def _parts(term: Term, op: str) -> list[Term]:
    """The conditions that are joined by one word, from left to right."""
    found = []
    while term.op == op:
        term, right = term.terms
        found.append(right)
    return [term, *reversed(found)]


def _value(term: Term, tensor: Mapping[str, Scalar]) -> Scalar:
    if term.op == "literal":
        (literal,) = term.arguments
        assert not isinstance(literal, Term)
        return literal
    if term.op in TENSOR_NAMES:
        return tensor[term.op]
    if term.op in DECIDED:
        left, right = term.terms
        decided = bool(_value(left, tensor))
        return decided if decided is DECIDED[term.op] else _value(right, tensor)
    values = [_value(a, tensor) for a in term.terms]
    if term.op == "matches":
        return re.search(str(values[1]), str(values[0])) is not None
    meaning = OPS[term.op].scalar
    assert meaning is not None
    value: Scalar = meaning(*values)
    return value


def _read(parameter: str) -> str:
    return f"h[{quoted(parameter)}]"


def python(
    term: Term,
    binding: int = 0,
    ask: Callable[[str], str] = "tensor.{}".format,
    search: str = "rt.matches({0}, {1})",
    read: Callable[[str], str] = _read,
) -> str:
    """A Python expression that says the same of a variable `tensor`, with parameters in `h`.

    `ask` says how it is asked for one of `TENSOR_NAMES`, `search` how a text for a pattern, and
    `read` how for a parameter.
    """
    if term.op == "literal":
        (value,) = term.arguments
        return quoted(value) if isinstance(value, str) else repr(value).replace("e+", "e")
    if term.op in TENSOR_NAMES:
        return ask(term.op)
    if term.op == "parameter":
        return read(str(term.arguments[0]))
    if term.op == "not" and (opposite := OPPOSITES.get(term.terms[0].op)):
        return python(Term(opposite, term.terms[0].arguments), binding, ask, search, read)
    strength = {"or": 3, "and": 4, "not": 5, "matches": CALL}.get(term.op) or OPS[term.op].binding
    # `and` binds tighter than `or`, and a reader should not need to know.
    within = [5, 5] if term.op == "or" else [strength + 1] * 2
    if term.op not in (*OPPOSITES, "and", "or", "not", "matches"):
        within = [strength, strength + 1] if strength < CALL else [0, 0]
    inner = [
        python(a, each, ask, search, read) for a, each in zip(term.terms, within, strict=False)
    ]
    match term.op:
        case "matches":
            return search.format(*inner)
        case "not":
            text = f"not {inner[0]}"
        case "and" | "or":
            text = f"{inner[0]} {term.op} {inner[1]}"
        case op:
            template = OPS[op].static or ""
            whole = "{" in template
            text = template.format(*inner) if whole else f"{template}({', '.join(inner)})"
    return f"({text})" if strength < binding else text
