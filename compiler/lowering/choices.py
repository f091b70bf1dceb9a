"""Choices: before the step, by static conditions and tensors, and while running."""

from collections.abc import Callable, Container, Iterator, Mapping

from ...grammar import syntax
from ...grammar.source import Span
from ..predicate import is_predicate, rank
from ..records import Term
from ..types import Dim, Dims
from . import expressions, shapes, statements
from .arguments import NOT_STATIC
from .builder import MISTAKE, Value
from .by_tensor import tensors_where
from .context import REFUSED, REFUSES, Binding, Context, Scope, Site
from .reach import asks_whole, keeps_only_fields


def when(ctx: Context, site: Site, scope: Scope, when: syntax.When) -> Value | None:
    """A choice before the step: by a static condition, or for each tensor by a predicate."""
    dimensions = scope.dimensions()
    if isinstance(when.condition, syntax.IsShape) and not is_predicate(when.condition):
        return _when_shape(ctx, site, scope, when, when.condition)
    if is_predicate(when.condition, scope.known()) or _speaks_of(when.condition, dimensions):
        term = tensors_where(ctx, scope, when.condition)
        return MISTAKE if term is None else _when_tensor(ctx, site, scope, when, term)
    condition = expressions.condition(ctx, site, scope, when.condition)
    if condition.type.is_unknown:
        return MISTAKE
    if isinstance(condition.constant, bool):
        chosen = when.then if condition.constant else when.otherwise
        if (refused := _refusal(chosen)) is not None:
            # It is known here, however often what stands around it runs.
            return _refuse_stage(ctx, refused)
        return _side(ctx, site, scope, chosen)
    if not condition.type.static:
        message = "the condition of `when` is known only while the program runs"
        help = "write `if` to choose while running"
        ctx.report.add(NOT_STATIC.at(when.condition.span, message, help=help))
        return MISTAKE
    for refused, other, flip in _refused_sides(when):
        with ctx.assuming(condition, holds=not flip):
            ctx.refuse(refused)
        return _side(ctx, site, scope, other)

    sides = _Sides(ctx, "when")

    def side(block: syntax.Block | None, holds: bool) -> Value | None:
        with ctx.assuming(condition, holds):
            return sides.of(block, _side(ctx, site, scope, block))

    if keeps_only_fields(site, scope, when) and not asks_whole(site, scope, when):
        # No state is kept for a side that is not chosen: its tensors are none. One that asks the
        # whole model speaks of all tensors, so its states are kept.
        term = ctx.term(condition)
        name = f"{site.label.replace('.', '_')}_tensors"
        found = ctx.choose(
            ctx.add_domain(name, term),
            ctx.add_domain(f"other_{name}", Term(op="not", arguments=(term,))),
            lambda: side(when.then, True),
            lambda: side(when.otherwise, False),
        )
    else:
        found = ctx.branch(
            condition,
            lambda: side(when.then, True),
            lambda: side(when.otherwise, False),
            name=site.result,
        )
    return found if sides.agree() else MISTAKE


def branch(
    ctx: Context,
    site: Site,
    scope: Scope,
    condition: Value,
    then: syntax.Block,
    otherwise: syntax.Block | None,
) -> Value | None:
    """A choice while running: an `if`, or what is done now and then only."""
    sides = _Sides(ctx, "if")
    found = ctx.branch(
        condition,
        lambda: sides.of(then, _side(ctx, site, scope, then)),
        lambda: sides.of(otherwise, _side(ctx, site, scope, otherwise)),
        name=site.result,
    )
    return found if sides.agree() else MISTAKE


def _side(ctx: Context, site: Site, scope: Scope, block: syntax.Block | None) -> Value | None:
    """What a side returns, where there is one that does."""
    return statements.lowered(ctx, site, Scope(scope), block) if block else None


class _Sides:
    """What the sides of a choice return, which have one shape."""

    def __init__(self, ctx: Context, word: str) -> None:
        self._ctx = ctx
        self._word = word
        self._values: list[Value] = []
        self._spans: list[Span] = []

    def of(self, block: syntax.Block | None, value: Value | None) -> Value | None:
        """Note what a block returns."""
        if block is not None and value is not None:
            *_, last = block.statements
            self._values.append(value)
            self._spans.append(last.value.span if isinstance(last, syntax.Return) else last.span)
        return value

    def agree(self) -> bool:
        """Whether the shapes are the same; a report where they are not."""
        what = f"both sides of `{self._word}` return"
        return shapes.agree(self._ctx, self._values, self._spans, what)


def _when_shape(
    ctx: Context, site: Site, scope: Scope, when: syntax.When, shape: syntax.IsShape
) -> Value | None:
    """A choice by rank; on its first side the dimensions have names."""
    value = expressions.expression(ctx, site, scope, shape.value)
    if value.type.is_unknown:
        return MISTAKE
    count = len(shape.dimensions)
    axes: Dims = tuple(range(-count, 0))
    if value.type.dims is not None:
        axes = (*axes[:-2], *value.type.dims)[-count:]
    if not (value.type.is_field and value.type.per == "element") or value.type.is_vector:
        described = shapes.described(ctx, value.type)
        return ctx.mistyped(shape.value.span, f"only a field has a shape; this is {described}")
    given = zip(axes, shape.dimensions, strict=True)
    names: dict[Dim, syntax.Name] = {a: name for a, name in given if isinstance(a, int)}

    def named(block: syntax.Block) -> Value | None:
        inner = Scope(scope)
        for axis, name in zip(axes, shape.dimensions, strict=True):
            length = shapes.extent(ctx, value, axis, name.id)
            known = axis if isinstance(axis, int) and axis < 0 else 0
            ctx.define(inner, name, Binding("let", name.span, length, axis=known))
        with ctx.naming(names):
            return statements.lowered(ctx, site, inner, block)

    return _when_tensor(ctx, site, scope, when, rank(shape), named, names)


def _speaks_of(expr: syntax.Expr, names: Container[str]) -> bool:
    match expr:
        case syntax.Name():
            return expr.id in names
        case syntax.Unary():
            return _speaks_of(expr.operand, names)
        case syntax.Binary():
            return _speaks_of(expr.left, names) or _speaks_of(expr.right, names)
        case _:
            return False


def _when_tensor(
    ctx: Context,
    site: Site,
    scope: Scope,
    when: syntax.When,
    term: Term,
    named: Callable[[syntax.Block], Value | None] | None = None,
    names: Mapping[Dim, syntax.Name] | None = None,
) -> Value | None:
    """A choice by tensor; `named` lowers its first side, with `names` for lengths."""
    first = named or (lambda block: _side(ctx, site, scope, block))
    opposite = Term(op="not", arguments=(term,))
    # A rule that looks at the shape in a group for that shape has no other side.
    if _refusal(when.then) is None and ctx.sure(term):
        return first(when.then)
    if _refusal(when.otherwise) is None and ctx.sure(opposite):
        return _side(ctx, site, scope, when.otherwise)
    name = f"{site.label.replace('.', '_')}_tensors"
    inside = ctx.add_domain(name, term)
    outside = ctx.add_domain(f"other_{name}", opposite)
    for refused, other, flip in _refused_sides(when):
        ctx.refuse(refused, outside if flip else inside)
        return first(other) if flip and other else _side(ctx, site, scope, other)
    ctx.choices += 1
    sides, otherwise = _Sides(ctx, "when"), when.otherwise
    chosen = ctx.choose(
        inside,
        outside,
        lambda: sides.of(when.then, first(when.then)),
        lambda: sides.of(otherwise, _side(ctx, site, scope, otherwise)),
    )
    ctx.choices -= 1
    with ctx.naming(names or {}):
        agreed = sides.agree()
    if not agreed:
        return MISTAKE
    if chosen is not None and chosen.type.kind not in ("scalar", "field", "unknown"):
        message = f"a choice by tensor is of numbers or fields; this is {chosen.type}"
        return ctx.mistyped(when.condition.span, message, "choose outside of it")
    return chosen


def refuse(ctx: Context, refuse: syntax.Refuse) -> Value:
    """An `error` that is reached."""
    # A choice by static parameters is a block too, but is made before.
    if len(ctx.frame.blocks) > ctx.pipeline_depth + len(ctx.assumed):
        message = "an `error` cannot be raised while the program runs"
        help = "let a `when` hold nothing but the `error`, so that it is decided before"
        ctx.report.add(REFUSED.at(refuse.span, message, help=help))
        return MISTAKE
    return _refuse_stage(ctx, refuse)


def _refused_sides(
    when: syntax.When,
) -> Iterator[tuple[syntax.Refuse, syntax.Block | None, bool]]:
    """The side of a `when` that is only an `error`, the other one, and whether it is `else`."""
    for side, other, flip in (
        (when.then, when.otherwise, False),
        (when.otherwise, when.then, True),
    ):
        if (refused := _refusal(side)) is not None:
            yield refused, other, flip


def _refusal(block: syntax.Block | None) -> syntax.Refuse | None:
    """The `error` of a block that has nothing else."""
    match block:
        case syntax.Block(statements=(syntax.Refuse() as refused,)):
            return refused
        case _:
            return None


def _refuse_stage(ctx: Context, refuse: syntax.Refuse) -> Value:
    """Report the stage that is being lowered, if there is one, for a refusal of its rule."""
    if ctx.place is not None:
        ctx.blame(REFUSED, refuse.span, refuse.message.value, REFUSES)
    return MISTAKE
