"""Matching the arguments of a call with the names that it takes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...grammar import syntax
from ...grammar.diagnostic import Label, correction, declare, did_you_mean
from ...grammar.source import Span
from ..parameters import OUT_OF_RANGE, Bounds, bounds, kind
from ..records import Scalar
from .builder import MISTAKE, Value
from .context import Context

UNKNOWN_ARGUMENT = declare(
    "unknown-argument",
    "an argument that the callee does not take",
    """
    Arguments are given by place or by name, those by place first. A rule takes its parameters, a
    function of the language the arguments that its page names.
    """,
)
MISSING_ARGUMENT = declare(
    "missing-argument",
    "an argument without which the callee has no meaning",
    """
    A parameter without a default must be given: `warmup_cosine(peak = lr, warmup = 100,
    total = 1000)`.
    """,
)
DUPLICATE_ARGUMENT = declare(
    "duplicate-argument",
    "an argument that is given twice",
    """An argument is given once, by place or by name: `adam(0.9, b1 = 0.9)` gives `b1` twice.""",
)
NOT_STATIC = declare(
    "not-static",
    "a value that is needed before the program runs",
    """
    `int`, `bool` and `str` parameters, the count of `repeat` and the condition of `when` are fixed
    when a program is bound: they are literals, `int`, `bool` or `str` parameters of the optimizer,
    or arithmetic over these. Float parameters may change while the program runs.
    """,
)


def match(
    ctx: Context,
    call: syntax.Call,
    names: Sequence[str],
    required: Iterable[str],
    callee: str,
) -> dict[str, syntax.Argument] | None:
    """The argument for each name, or None where something was reported."""
    found: dict[str, syntax.Argument] = {}
    takes = f"{len(names)} argument{'s' if len(names) != 1 else ''}" if names else "no arguments"
    sound = not too_many(ctx, call, len(names), f"`{callee}` takes {takes}")
    places = iter(names)
    for argument in call.arguments:
        name = argument.name.id if argument.name else next(places, None)
        if name is None:
            continue
        if argument.name and name not in names:
            help = did_you_mean(name, names)
            if help is None and names:
                help = f"it takes {', '.join(f'`{n}`' for n in names)}"
            message = f"`{callee}` has no parameter `{name}`"
            fix = correction(argument.name.span, names)
            ctx.report.add(UNKNOWN_ARGUMENT.at(argument.name.span, message, help=help, fix=fix))
            sound = False
        elif name in found:
            message = f"`{name}` is given twice"
            others = (Label(found[name].span, "given here"),)
            ctx.report.add(DUPLICATE_ARGUMENT.at(argument.span, message, others=others))
            sound = False
        else:
            found[name] = argument
    missing = [name for name in required if name not in found]
    if sound and missing:
        listed = " and ".join(f"`{name}`" for name in missing)
        ctx.report.add(MISSING_ARGUMENT.at(call.span, f"`{callee}` needs {listed}"))
    return found if sound and not missing else None


def too_many(ctx: Context, call: syntax.Call, most: int, message: str) -> bool:
    """Whether more arguments are given by place than are taken; it is reported."""
    further = [argument.span for argument in call.arguments if argument.name is None][most:]
    if further:
        label = "one too many" if len(further) == 1 else f"{len(further)} too many"
        ctx.report.add(UNKNOWN_ARGUMENT.at(further[0].to(further[-1]), message, label=label))
    return bool(further)


def checked(
    ctx: Context, param: syntax.Param, value: Value, span: Span, any_type: bool = False
) -> Value:
    """The value for a parameter, after checking its type and, where it is known, its range."""
    if value.type.is_unknown:
        return MISTAKE
    name, wanted = param.name.id, kind(param)
    declared = [Label(param.span, "declared here")]
    if wanted == "float":
        is_number = value.type.is_scalar or _is_per_tensor(value)
        is_number = is_number and value.type.dtype != "bool"
        if any_type and param.type is None and not is_number:
            return value
        if not is_number:
            message = f"`{name}` takes a number; this is {value.type}"
            return ctx.mistyped(span, message, others=declared)
    elif not _is_static(value, wanted):
        needs = {"int": "an integer", "bool": "true or false", "str": "a text"}[wanted]
        message = f"`{name}` takes {needs} that is known before the program runs"
        ctx.report.add(NOT_STATIC.at(span, message, others=tuple(declared)))
        return MISTAKE
    for each, written in _alternatives(ctx, value, span):
        _check_range(ctx, param, each, written)
    return value


def _is_per_tensor(value: Value) -> bool:
    """Whether this is one number for each tensor, which arithmetic broadcasts as it does one."""
    return value.type.is_field and value.type.per == "tensor"


def _alternatives(ctx: Context, value: Value, span: Span) -> Iterator[tuple[Value, Span]]:
    """The values among which a `where` with a predicate chooses, and where they are written.

    Any other value by itself.
    """
    found, left = {value.id}, [(value, span)]
    while left:
        value, span = left.pop()
        node = ctx.made[value.id]
        if node.op != "merge":
            yield value, span
            continue
        written = ctx.sides.get(value.id, (span, span))
        for source, side in zip(node.inputs, written, strict=True):
            if source not in found:
                found.add(source)
                made = ctx.made[source]
                constant = made["value"] if made.op == "const" else None
                left.append((Value(source, made.type, constant), side))


def _is_static(value: Value, wanted: str) -> bool:
    if wanted == "str":
        return value.type.kind == "text"
    return value.type.is_scalar and value.type.static and value.type.dtype == wanted


def _check_range(ctx: Context, param: syntax.Param, value: Value, span: Span) -> None:
    limits = bounds(param)
    if limits == Bounds():
        return
    ctx.tighten(value, limits)
    constant: Scalar | Any = value.constant
    if constant is None:
        constant = ctx.default_of(value)
    if isinstance(constant, int | float) and not limits.admits(constant):
        ctx.report.add(
            OUT_OF_RANGE.at(
                span,
                f"`{param.name.id}` is {constant:g}; it {limits.phrase()}",
                label="outside",
                others=(Label(param.span, "declared here"),),
            )
        )
