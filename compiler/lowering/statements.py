"""Statements of a rule's body: names, states, loops, choices, the result."""

from collections.abc import Iterator
from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ..declarations import DUPLICATE_NAME, NOT_YET
from ..predicate import is_predicate, predicate
from ..records import Slot, Term
from ..types import Type, dynamic
from . import expressions
from .arguments import NOT_STATIC
from .builder import MISTAKE, Cell, Value
from .context import Binding, Context, Scope, Site

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
STATE_IN_LOOP = declare(
    "state-in-loop",
    "a state is declared inside a loop",
    """
    A state exists once for the whole program, so it is declared outside `repeat`. Inside, `<-`
    may give it new values.
    """,
)
UNKNOWN_DTYPE = declare(
    "unknown-dtype",
    "a stored dtype that does not exist",
    """
    States are stored in the dtype of their weights, or in `bf16`, `f16`, `f32` or `f64` when they
    say so. `bf16 stochastic` rounds up or down with the probability that keeps the mean.
    """,
)
REFUSED = declare(
    "refused",
    "a rule refuses this combination",
    """
    A rule says `error "..."` where it has no meaning; the headline is its own sentence, and the
    label shows the line of the rule that says it.
    """,
)
NOT_A_STATEMENT = declare(
    "not-in-this-rule",
    "a statement that this kind of rule does not have",
    """`evaluate` names the weights to evaluate with, so only `average` rules have it.""",
)

DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64"}
"""How a spec names stored dtypes, and how NumPy does."""


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
            _state(ctx, site, scope, statement)
        case syntax.Var():
            _var(ctx, site, scope, statement)
        case syntax.Update():
            _update(ctx, site, scope, statement)
        case syntax.Repeat():
            _repeat(ctx, site, scope, statement)
        case syntax.If():
            condition = expressions.condition(ctx, site, scope, statement.condition)
            return _branch(ctx, site, scope, condition, statement.then, statement.otherwise)
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


def _declare(ctx: Context, scope: Scope, name: syntax.Name, binding: Binding) -> None:
    known = scope.find(name.id)
    if known is not None:
        others = (Label(known.span, "declared here"),) if known.span else ()
        message = f"`{name.id}` already has a meaning here"
        ctx.report.add(DUPLICATE_NAME.at(name.span, message, label="again", others=others))
    scope.names[name.id] = binding


def _let(ctx: Context, site: Site, scope: Scope, let: syntax.Let) -> None:
    value = expressions.expression(ctx, site, scope, let.value, let.name.id)
    _declare(ctx, scope, let.name, Binding("let", let.name.span, value))
    if ctx.block.kind == "top" or len(ctx.frame.blocks) == ctx.pipeline_depth:
        ctx.named.setdefault(f"{site.label}.{site.prefix}{let.name.id}", value)


# ---- states and vars


def _state(ctx: Context, site: Site, scope: Scope, state: syntax.State) -> None:
    if any(block.kind == "loop" for block in ctx.frame.blocks):
        ctx.report.add(STATE_IN_LOOP.at(state.span, f"the state `{state.name.id}` is in a loop"))
        scope.names[state.name.id] = Binding("state", state.name.span)
        return
    dtype = _dtype(ctx, state)
    initial, deferred = _initial(ctx, site, scope, state)
    if initial.type.is_unknown:
        _declare(ctx, scope, state.name, Binding("state", state.name.span))
        return
    type = _stored_type(ctx, initial.type)
    number = len(ctx.slots)
    ctx.slots.append(
        Slot(stage=site.label, name=_slot_name(ctx, site, state), type=type, dtype=dtype)
    )
    cell = Cell(type, state.name.id, number)
    value = ctx.read(number, cell)
    if deferred:
        # The initial value speaks of the first gradient, which a fresh state has not seen.
        ctx.starts.append(_blank(ctx, type))
        first = ctx.apply("eq", ctx.count, ctx.constant(1))
        value = ctx.apply("where", first, initial, value, name=state.name.id)
    else:
        ctx.starts.append(initial)
    if state.stochastic:
        ctx.stochastic.add(number)
    key = ctx.new_cell(cell, value)
    _declare(ctx, scope, state.name, Binding("state", state.name.span, cell=key))


def _dtype(ctx: Context, state: syntax.State) -> str | None:
    if state.dtype is None:
        return None
    if state.dtype.id not in DTYPES:
        ctx.unknown_dtype(state.dtype, DTYPES, UNKNOWN_DTYPE)
        return None
    if state.stochastic and state.dtype.id != "bf16":
        message = "only `bf16` can be rounded stochastically"
        ctx.report.add(UNKNOWN_DTYPE.at(state.dtype.span, message))
    return DTYPES[state.dtype.id]


def _slot_name(ctx: Context, site: Site, state: syntax.State) -> str:
    """The state's own name; that of its rule comes first where two rules of a stage share it."""
    taken = {slot.name for slot in ctx.slots if slot.stage == site.label}
    name = state.name.id
    if name not in taken:
        return name
    name, count = f"{site.prefix}{name}", 1
    unique = name
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique


def _initial(ctx: Context, site: Site, scope: Scope, state: syntax.State) -> tuple[Value, bool]:
    """The initial value, and whether it must wait for the first step."""
    if _known_at_start(ctx, site, scope, state.initial):
        with ctx.in_frame(ctx.start):
            names = _start_scope(ctx, scope, state.initial)
            fresh = replace(site, signals=dict.fromkeys(site.signals, ctx.weights))
            initial = expressions.expression(ctx, fresh, names, state.initial)
            if initial.type.is_field and initial.id == ctx.weights.id:
                # Weights and state are donated separately, so the state needs its own buffers.
                initial = ctx.node("copy", (initial,), replace(initial.type, domain=ctx.domain))
            if initial.type.is_field:
                initial = ctx.restricted(initial)
            return _as_stored(ctx, initial, state), False
    initial = expressions.expression(ctx, site, scope, state.initial)
    return _as_stored(ctx, initial, state), True


def _as_stored(ctx: Context, initial: Value, state: syntax.State) -> Value:
    if not (initial.type.is_scalar or initial.type.is_field or initial.type.is_unknown):
        return ctx.mistyped(
            state.initial.span, f"a state keeps a number or a field; this is {initial.type}"
        )
    if state.dtype and initial.type.is_scalar:
        return ctx.mistyped(
            state.dtype.span, f"only fields have a stored dtype; `{state.name.id}` is a number"
        )
    return ctx.as_float(initial)


def _start_scope(ctx: Context, scope: Scope, initial: syntax.Expr) -> Scope:
    """The names that an initial value speaks of, as a fresh state knows them."""
    names = Scope()
    for name in names_of(initial):
        if (binding := scope.find(name)) is None:
            continue
        value = ctx.transplant(binding.value) if binding.kind == "parameter" else None
        # Other names stand in `zeros` and `ones`, which look at shapes only.
        names.names[name] = Binding("parameter", None, value or ctx.weights)
    return names


def _known_at_start(ctx: Context, site: Site, scope: Scope, initial: syntax.Expr) -> bool:
    """Whether an initial value speaks only of the weights, of parameters, and of shapes."""
    for name in _value_names(initial):
        binding = scope.find(name)
        if binding is not None and binding.kind != "parameter":
            return False
        if binding is not None and not ctx.can_transplant(binding.value):
            return False
        if binding is None and name in site.signals and name != "w":
            return False
        if binding is None and name == "t":
            return False
    return not any(_asks(c) for c in _calls(initial))


def _asks(call: syntax.Call) -> bool:
    return expressions.dotted(call.function) in (
        *("loss", "grad", "hvp", "outputs", "outputs_grad", "pullback"),
        *("normal", "rademacher", "uniform"),
    )


def _stored_type(ctx: Context, type: Type) -> Type:
    if type.is_field:
        return Type("field", type.dtype, type.per, ctx.domain)
    return dynamic(type)


def _blank(ctx: Context, type: Type) -> Value:
    with ctx.in_frame(ctx.start):
        if not type.is_field:
            return ctx.constant(0.0 if type.dtype == "float" else False)
        like = ctx.weights
        if type.per != "element":
            part = replace(type, dtype="float")
            like = ctx.node("sum", (like,), part, attributes={"per": type.per})
        return ctx.node("zeros", (like,), type)


def _var(ctx: Context, site: Site, scope: Scope, var: syntax.Var) -> None:
    value = ctx.as_float(expressions.expression(ctx, site, scope, var.initial, var.name.id))
    cell = ctx.new_cell(Cell(dynamic(value.type), var.name.id), value)
    _declare(ctx, scope, var.name, Binding("var", var.name.span, cell=cell))


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
    if not value.type.is_unknown and not _fits(value.type, info.type):
        declared = [Label(binding.span, f"declared as {info.type}")] if binding.span else []
        ctx.mistyped(
            update.value.span,
            f"`{update.name.id}` is {info.type}; this is {value.type}",
            others=declared,
        )
        value = MISTAKE
    elif info.type.is_scalar and info.domain != ctx.domain:
        help = "let it be a field, or change it outside the choice"
        message = f"`{update.name.id}` is one number for all tensors; some of them cannot change it"
        value = ctx.mistyped(update.name.span, message, help)
    ctx.cells[binding.cell] = value


def _fits(new: Type, old: Type) -> bool:
    return (new.kind, new.dtype) == (old.kind, old.dtype) and (
        not new.is_field or new.per == old.per
    )


# ---- control flow


def _branch(
    ctx: Context,
    site: Site,
    scope: Scope,
    condition: Value,
    then: syntax.Block,
    otherwise: syntax.Block | None,
) -> Value | None:
    return ctx.branch(
        condition,
        lambda: _block(ctx, site, Scope(scope), then),
        lambda: _block(ctx, site, Scope(scope), otherwise) if otherwise else None,
        name=site.result,
    )


def _when(ctx: Context, site: Site, scope: Scope, when: syntax.When) -> Value | None:
    if isinstance(when.condition, syntax.IsShape) and not is_predicate(when.condition):
        ctx.report.add(
            NOT_YET.at(
                when.condition.span,
                "choosing by matrix shape is not compiled yet",
                label="parsed only",
                help="`when ndim >= 2` chooses by rank",
            )
        )
        return MISTAKE
    if is_predicate(when.condition):
        return _when_tensor(ctx, site, scope, when)
    condition = expressions.condition(ctx, site, scope, when.condition)
    if condition.type.is_unknown:
        return MISTAKE
    if isinstance(condition.constant, bool):
        chosen = when.then if condition.constant else when.otherwise
        return _block(ctx, site, Scope(scope), chosen) if chosen else None
    if not condition.type.static:
        message = "the condition of `when` is known only while the program runs"
        help = "write `if` to choose while running"
        ctx.report.add(NOT_STATIC.at(when.condition.span, message, help=help))
        return MISTAKE
    for refused, other, flip in _refused_sides(when):
        ctx.refuse_if(ctx.apply("not", condition) if flip else condition, refused.message.value)
        return _block(ctx, site, Scope(scope), other) if other else None
    return _branch(ctx, site, scope, condition, when.then, when.otherwise)


def _when_tensor(ctx: Context, site: Site, scope: Scope, when: syntax.When) -> Value | None:
    term = predicate(when.condition, ctx.report)
    if term is None:
        return MISTAKE
    name = f"{site.label.replace('.', '_')}_tensors"
    inside = ctx.add_domain(name, term)
    outside = ctx.add_domain(f"other_{name}", Term(op="not", arguments=(term,)))
    for refused, other, flip in _refused_sides(when):
        ctx.refuse_tensors(outside if flip else inside, refused.message.value)
        return _block(ctx, site, Scope(scope), other) if other else None
    return ctx.choose(
        inside,
        outside,
        lambda: _block(ctx, site, Scope(scope), when.then),
        lambda: _block(ctx, site, Scope(scope), when.otherwise) if when.otherwise else None,
    )


def _refused_sides(
    when: syntax.When,
) -> Iterator[tuple[syntax.Refuse, syntax.Block | None, bool]]:
    """The side of a `when` that is only an `error`, the other one, and whether it is `else`."""
    for side, other, flip in (
        (when.then, when.otherwise, False),
        (when.otherwise, when.then, True),
    ):
        if side and len(side.statements) == 1 and isinstance(side.statements[0], syntax.Refuse):
            yield side.statements[0], other, flip


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
    if not value.type.is_unknown and not value.type.is_field:
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
    if len(ctx.frame.blocks) > ctx.pipeline_depth:
        message = "an `error` cannot be raised while the program runs"
        help = "let a `when` hold nothing but the `error`, so that it is decided before"
        ctx.report.add(REFUSED.at(refuse.span, message, help=help))
    elif ctx.place is not None:
        others = (Label(refuse.span, "the rule refuses here"),)
        ctx.report.add(REFUSED.at(ctx.place, refuse.message.value, others=others))
    return MISTAKE


# ---- names in syntax


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


def names_of(expr: syntax.Expr) -> list[str]:
    """Every name that an expression speaks of, once."""
    return list(dict.fromkeys(_names(expr, shapes=True)))


def _value_names(expr: syntax.Expr) -> list[str]:
    return list(dict.fromkeys(_names(expr, shapes=False)))


def _names(expr: syntax.Expr, shapes: bool) -> Iterator[str]:
    match expr:
        case syntax.Name():
            yield expr.id
        case syntax.Call():
            only_shape = expressions.dotted(expr.function) in ("zeros", "ones")
            for argument in expr.arguments:
                plain = isinstance(argument.value, syntax.Name)
                if shapes or not (only_shape and plain):
                    yield from _names(argument.value, shapes)
        case syntax.Unary():
            yield from _names(expr.operand, shapes)
        case syntax.Binary():
            yield from _names(expr.left, shapes)
            yield from _names(expr.right, shapes)
        case syntax.Attribute():
            yield from _names(expr.value, shapes)
        case _:
            pass


def _calls(expr: syntax.Expr) -> Iterator[syntax.Call]:
    match expr:
        case syntax.Call():
            yield expr
            for argument in expr.arguments:
                yield from _calls(argument.value)
        case syntax.Unary():
            yield from _calls(expr.operand)
        case syntax.Binary():
            yield from _calls(expr.left)
            yield from _calls(expr.right)
        case _:
            pass
