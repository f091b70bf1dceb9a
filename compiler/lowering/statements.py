"""Statements of a rule's body: names, states, loops, choices, the result."""

from collections.abc import Callable, Container, Iterator

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ...grammar.source import Span
from ..predicate import is_predicate, rank
from ..records import Term
from ..types import WHOLE, Dims, Type, dynamic
from . import expressions, shapes
from .arguments import NOT_STATIC
from .builder import MISTAKE, Cell, Value
from .by_tensor import tensors_where
from .context import REFUSED, REFUSES, Binding, Context, Scope, Site
from .states import declare_state
from .turns import refuse_for_all, stagger

NOT_A_STATE = declare(
    "not-a-state",
    "`<-` to something that does not change",
    """
    `x <- e` gives a new value to a `state`, which is kept between steps, or to a `var`, which a
    loop may change. Names made with `=` and parameters keep their one value.

        state mu = zeros(g)
        mu <- b1 * mu + (1 - b1) * g
    """,
)
NOT_A_STATEMENT = declare(
    "not-in-this-rule",
    "a statement that this kind of rule does not have",
    """`evaluate` names the weights to evaluate with, so only `average` rules have it.""",
)


def body(ctx: Context, site: Site, scope: Scope, block: syntax.Block) -> Value:
    """The result of a body; `compiler.structure` has checked that there is one."""
    result = _block(ctx, site, scope, block)
    return MISTAKE if result is None else result


def _block(ctx: Context, site: Site, scope: Scope, block: syntax.Block) -> Value | None:
    for statement in block.statements:
        result = _statement(ctx, site, scope, statement)
        if result is not None:
            return result
    return None


def _statement(ctx: Context, site: Site, scope: Scope, statement: syntax.Statement) -> Value | None:
    match statement:
        case syntax.Let():
            _let(ctx, site, scope, statement)
        case syntax.State():
            declare_state(ctx, site, scope, statement)
        case syntax.Var():
            _var(ctx, site, scope, statement)
        case syntax.Update():
            _update(ctx, site, scope, statement)
        case syntax.Repeat():
            _repeat(ctx, site, scope, statement)
        case syntax.If():
            condition = expressions.condition(ctx, site, scope, statement.condition)
            found = _branch(ctx, site, scope, condition, statement.then, statement.otherwise)
            if found is not None and found.type.kind == "spectrum":
                help = "choose between numbers that are asked of it"
                return ctx.mistyped(statement.span, "the sides of `if` return a spectrum", help)
            return found
        case syntax.Every(staggered=True):
            inner = Scope(scope)
            stagger(ctx, site, scope, statement, lambda: _run(ctx, site, inner, statement.body))
        case syntax.Every():
            period = expressions.number(ctx, site, scope, statement.period)
            condition = every(ctx, period)
            return _branch(ctx, site, scope, condition, statement.body, None)
        case syntax.When():
            return _when(ctx, site, scope, statement)
        case syntax.Return():
            name = site.result or None
            return ctx.as_float(expressions.expression(ctx, site, scope, statement.value, name))
        case syntax.Evaluate():
            _evaluate(ctx, site, scope, statement)
        case syntax.Refuse():
            return _refuse(ctx, statement)
    return None


def every(ctx: Context, period: Value) -> Value:
    """Whether this is one of every `period` steps, the first among them."""
    one, zero = ctx.constant(1), ctx.constant(0)
    since = ctx.apply("sub", ctx.count, one)
    return ctx.apply("eq", ctx.apply("mod", since, period), zero)


def _let(ctx: Context, site: Site, scope: Scope, let: syntax.Let) -> None:
    value = expressions.expression(ctx, site, scope, let.value, let.name.id)
    ctx.define(scope, let.name, Binding("let", let.name.span, value))
    if ctx.block.kind == "top" or len(ctx.frame.blocks) == ctx.pipeline_depth:
        ctx.named.setdefault(f"{site.label}.{site.prefix}{let.name.id}", value)


def _var(ctx: Context, site: Site, scope: Scope, var: syntax.Var) -> None:
    value = ctx.as_float(expressions.expression(ctx, site, scope, var.initial, var.name.id))
    if value.type.kind in ("examples", "spectrum"):
        message = f"a `var` is a number, a field or model outputs; this is {value.type}"
        value = ctx.mistyped(var.initial.span, message, "give it a name: `found = ...`")
    cell = ctx.new_cell(Cell(dynamic(value.type), var.name.id), value)
    ctx.define(scope, var.name, Binding("var", var.name.span, cell=cell))


def _update(ctx: Context, site: Site, scope: Scope, update: syntax.Update) -> None:
    value = expressions.expression(ctx, site, scope, update.value, update.name.id)
    value = ctx.as_float(value)
    binding = scope.find(update.name.id)
    if binding is None:
        known = [n for n in scope.known() if (b := scope.find(n)) and b.kind in ("state", "var")]
        ctx.unknown(update.name, known, "is not a state or var here")
        return
    if binding.kind not in ("state", "var"):
        what = "a parameter" if binding.kind == "parameter" else "a name for one value"
        message = f"`{update.name.id}` is {what}; it cannot change"
        others = (Label(binding.span, "declared here"),) if binding.span else ()
        ctx.report.add(NOT_A_STATE.at(update.name.span, message, others=others))
        return
    if binding.cell < 0:
        return
    info = ctx.cell_info[binding.cell]
    if not value.type.is_unknown and refuse_for_all(ctx, update, binding, info):
        value = MISTAKE
    if not value.type.is_unknown and not _fits(value.type, info.type):
        _refuse_value(ctx, update, binding, info.type, value.type)
        value = MISTAKE
    elif not (value.type.is_unknown or info.type.is_field or info.domain == ctx.domain):
        one = "one number" if info.type.is_scalar else str(info.type)
        help = "let it be a field, or change it outside the choice"
        message = f"`{update.name.id}` is {one} for all tensors; some of them cannot change it"
        value = ctx.mistyped(update.name.span, message, help)
    ctx.cells[binding.cell] = value


def _refuse_value(
    ctx: Context, update: syntax.Update, binding: Binding, old: Type, new: Type
) -> None:
    """Report a value of another type or shape than what it is for."""
    was, given = (shapes.described(ctx, type) for type in (old, new))
    if old.is_like_weights and new.dims:
        was = f"{was} {shapes.shown(ctx, WHOLE)}"
    elif new.is_like_weights and old.dims:
        given = f"{given} {shapes.shown(ctx, WHOLE)}"
    declared = [Label(binding.span, f"declared as {was}")] if binding.span else []
    message = f"`{update.name.id}` is {was}; this is {given}"
    if old.dims or new.dims:
        declared += shapes.sources(ctx, update.value.span, old.dims, new.dims)
        ctx.report.add(shapes.SHAPE_MISMATCH.at(update.value.span, message, others=tuple(declared)))
    else:
        ctx.mistyped(update.value.span, message, others=declared)


def _fits(new: Type, old: Type) -> bool:
    return (new.kind, new.dtype) == (old.kind, old.dtype) and (
        not new.is_field or (new.per, new.dims) == (old.per, old.dims)
    )


def _branch(
    ctx: Context,
    site: Site,
    scope: Scope,
    condition: Value,
    then: syntax.Block,
    otherwise: syntax.Block | None,
) -> Value | None:
    sides = _Sides(ctx, "if")
    found = ctx.branch(
        condition,
        lambda: sides.of(then, _block(ctx, site, Scope(scope), then)),
        lambda: (
            sides.of(otherwise, _block(ctx, site, Scope(scope), otherwise)) if otherwise else None
        ),
        name=site.result,
    )
    return found if sides.agree() else MISTAKE


class _Sides:
    """What the sides of a choice return, which have one shape."""

    def __init__(self, ctx: Context, word: str) -> None:
        self._ctx = ctx
        self._word = word
        self._values: list[Value] = []
        self._spans: list[Span] = []

    def of(self, block: syntax.Block, value: Value | None) -> Value | None:
        """Note what a block returns."""
        if value is not None:
            *_, last = block.statements
            self._values.append(value)
            self._spans.append(last.value.span if isinstance(last, syntax.Return) else last.span)
        return value

    def agree(self) -> bool:
        """Whether the shapes are the same; a report where they are not."""
        what = f"both sides of `{self._word}` return"
        return shapes.agree(self._ctx, self._values, self._spans, what)


def _when(ctx: Context, site: Site, scope: Scope, when: syntax.When) -> Value | None:
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
        return _block(ctx, site, Scope(scope), chosen) if chosen else None
    if not condition.type.static:
        message = "the condition of `when` is known only while the program runs"
        help = "write `if` to choose while running"
        ctx.report.add(NOT_STATIC.at(when.condition.span, message, help=help))
        return MISTAKE
    for refused, other, flip in _refused_sides(when):
        with ctx.assuming(condition, holds=not flip):
            ctx.refuse(refused)
        return _block(ctx, site, Scope(scope), other) if other else None

    def side(block: syntax.Block | None, holds: bool) -> Value | None:
        with ctx.assuming(condition, holds):
            return _block(ctx, site, Scope(scope), block) if block else None

    return ctx.branch(
        condition,
        lambda: side(when.then, True),
        lambda: side(when.otherwise, False),
        name=site.result,
    )


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

    def named(block: syntax.Block) -> Value | None:
        inner = Scope(scope)
        for axis, name in zip(axes, shape.dimensions, strict=True):
            length = shapes.extent(ctx, value, axis, name.id)
            known = axis if isinstance(axis, int) and axis < 0 else 0
            ctx.define(inner, name, Binding("let", name.span, length, axis=known))
        new = zip(axes, shape.dimensions, strict=True)
        with ctx.naming({a: n for a, n in new if isinstance(a, int)}):
            return _block(ctx, site, inner, block)

    return _when_tensor(ctx, site, scope, when, rank(shape), named)


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
) -> Value | None:
    """A choice by tensor; `named` lowers its first side, with names for lengths."""
    first = named or (lambda block: _block(ctx, site, Scope(scope), block))
    opposite = Term(op="not", arguments=(term,))
    # A rule that looks at the shape in a group for that shape has no other side.
    if _refusal(when.then) is None and ctx.sure(term):
        return first(when.then)
    if _refusal(when.otherwise) is None and ctx.sure(opposite):
        return _block(ctx, site, Scope(scope), when.otherwise) if when.otherwise else None
    name = f"{site.label.replace('.', '_')}_tensors"
    inside = ctx.add_domain(name, term)
    outside = ctx.add_domain(f"other_{name}", opposite)
    for refused, other, flip in _refused_sides(when):
        ctx.refuse(refused, outside if flip else inside)
        if other is None:
            return None
        return first(other) if flip else _block(ctx, site, Scope(scope), other)
    ctx.choices += 1
    sides, otherwise = _Sides(ctx, "when"), when.otherwise
    chosen = ctx.choose(
        inside,
        outside,
        lambda: sides.of(when.then, first(when.then)),
        lambda: (
            sides.of(otherwise, _block(ctx, site, Scope(scope), otherwise)) if otherwise else None
        ),
    )
    ctx.choices -= 1
    if not sides.agree():
        return MISTAKE
    if chosen is not None and chosen.type.kind not in ("scalar", "field", "unknown"):
        message = f"a choice by tensor is of numbers or fields; this is {chosen.type}"
        return ctx.mistyped(when.condition.span, message, "choose outside of it")
    return chosen


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


def _repeat(ctx: Context, site: Site, scope: Scope, repeat: syntax.Repeat) -> None:
    count = expressions.number(ctx, site, scope, repeat.count)
    if not count.type.is_unknown and not (count.type.static and count.type.dtype == "int"):
        message = "the count of `repeat` is an integer that is known before the program runs"
        ctx.report.add(NOT_STATIC.at(repeat.count.span, message))
        return
    bindings = [scope.find(name) for name in dict.fromkeys(_updated(repeat.body))]
    keys = sorted({b.cell for b in bindings if b is not None and b.cell >= 0})
    condition = repeat.condition
    ctx.loop(
        count,
        keys,
        lambda: _run(ctx, site, Scope(scope), repeat.body),
        (lambda: expressions.condition(ctx, site, scope, condition)) if condition else None,
    )


def _run(ctx: Context, site: Site, scope: Scope, block: syntax.Block) -> None:
    _block(ctx, site, scope, block)


def _evaluate(ctx: Context, site: Site, scope: Scope, evaluate: syntax.Evaluate) -> None:
    if site.kind != "average":
        message = "only `average` rules have `evaluate`"
        ctx.report.add(NOT_A_STATEMENT.at(evaluate.span, message))
        return
    value = expressions.expression(ctx, site, scope, evaluate.value)
    if not value.type.is_unknown and not value.type.is_like_weights:
        ctx.mistyped(evaluate.value.span, f"`evaluate` takes a field; this is {value.type}")
        return
    if ctx.evaluation is not None:
        message = "a second `evaluate`: a program has one set of weights to evaluate with"
        others = (Label(ctx.evaluation[1], "the first"),)
        place = ctx.place or evaluate.span
        ctx.report.add(NOT_A_STATEMENT.at(place, message, others=others))
        return
    ctx.evaluation = (value, ctx.place or evaluate.span)


def _refuse(ctx: Context, refuse: syntax.Refuse) -> Value:
    # A choice by static parameters is a block too, but is made before.
    if len(ctx.frame.blocks) > ctx.pipeline_depth + len(ctx.assumed):
        message = "an `error` cannot be raised while the program runs"
        help = "let a `when` hold nothing but the `error`, so that it is decided before"
        ctx.report.add(REFUSED.at(refuse.span, message, help=help))
        return MISTAKE
    return _refuse_stage(ctx, refuse)


def _refuse_stage(ctx: Context, refuse: syntax.Refuse) -> Value:
    """Report the stage that is being lowered, if there is one, for a refusal of its rule."""
    if ctx.place is not None:
        ctx.blame(REFUSED, refuse.span, refuse.message.value, REFUSES)
    return MISTAKE


def _updated(block: syntax.Block) -> Iterator[str]:
    for statement in block.statements:
        match statement:
            case syntax.Update():
                yield statement.name.id
            case syntax.Repeat() | syntax.Every():
                yield from _updated(statement.body)
            case syntax.If() | syntax.When():
                yield from _updated(statement.then)
                yield from _updated(statement.otherwise) if statement.otherwise else ()
