"""Statements of a rule's body: names, states, loops, choices, the result."""

from collections.abc import Iterator

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ..types import WHOLE, Type, dynamic
from . import choices, expressions, shapes
from .arguments import NOT_STATIC
from .builder import MISTAKE, Cell, Value
from .context import Binding, Context, Scope, Site
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
    result = lowered(ctx, site, scope, block)
    return MISTAKE if result is None else result


def lowered(ctx: Context, site: Site, scope: Scope, block: syntax.Block) -> Value | None:
    """What a block returns, if it does."""
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
            found = choices.branch(ctx, site, scope, condition, statement.then, statement.otherwise)
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
            return choices.branch(ctx, site, scope, condition, statement.body, None)
        case syntax.When():
            return choices.when(ctx, site, scope, statement)
        case syntax.Return():
            name = site.result or None
            return ctx.as_float(expressions.expression(ctx, site, scope, statement.value, name))
        case syntax.Evaluate():
            _evaluate(ctx, site, scope, statement)
        case syntax.Refuse():
            return choices.refuse(ctx, statement)
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
    lowered(ctx, site, scope, block)


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
