"""States: where a rule keeps what lives between steps, and what it holds at first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...grammar import syntax
from ...grammar.diagnostic import declare
from ..declarations import Declarations
from ..ops import OPERATORS
from ..records import Slot, distinct
from ..structure import names_called, names_read, states_in
from ..types import Type, dynamic
from . import expressions
from .builder import MISTAKE, Cell, Value
from .context import Binding, Context, Scope, Site
from .histories import empty_history
from .matrices import made
from .oracles import RESULTS
from .regions import refuse_to_keep

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
    States are stored in the dtype of their weights, or in `bf16`, `f16`, `f32`, `f64` or `i8` when
    they say so; those with a shape of their own have at least 32 bits when they do not. `bf16
    stochastic` rounds up or down with the probability that keeps the mean. `i8` keeps the nearest
    whole number from -127 to 127; a scale for it is another state.
    """,
)

DTYPES = {
    "bf16": "bfloat16",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
}
"""How a spec names stored dtypes, and how NumPy does."""


def declare_state(ctx: Context, site: Site, scope: Scope, state: syntax.State) -> None:
    """Make a slot for a state, and a name for its value."""
    if any(block.kind == "loop" for block in ctx.frame.blocks):
        ctx.report.add(STATE_IN_LOOP.at(state.span, f"the state `{state.name.id}` is in a loop"))
        scope.names[state.name.id] = Binding("state", state.name.span)
        return
    if refuse_to_keep(ctx, state, f"the state `{state.name.id}` is kept"):
        scope.names[state.name.id] = Binding("state", state.name.span)
        return
    slot = _Slot(ctx, site, state, _dtype(ctx, state))
    value: Value | None
    if (call := _history(site, state.initial)) is not None:
        value = slot.born(_as_stored(ctx, empty_history(ctx, site, scope, call), state))
    elif _asks(state.initial, site.kind, scope, site.declarations, []):
        # What is asked at the first step only costs nothing in the others.
        late = ctx.branch(
            _is_first(ctx),
            lambda: slot.late(_in_step(ctx, site, scope, state)),
            slot.stored,
            name=state.name.id,
        )
        value = late or MISTAKE
    elif _known_at_start(ctx, site, scope, state.initial):
        value = slot.born(_at_start(ctx, site, scope, state))
    else:
        initial = slot.late(_in_step(ctx, site, scope, state))
        value = ctx.apply("where", _is_first(ctx), initial, slot.stored(), name=state.name.id)
    if value is None or slot.cell is None:
        ctx.define(scope, state.name, Binding("state", state.name.span))
        return
    key = ctx.new_cell(slot.cell, value)
    ctx.define(scope, state.name, Binding("state", state.name.span, cell=key))
    if len(ctx.frame.blocks) == ctx.pipeline_depth:
        ctx.kept.setdefault(f"{site.label}.{site.prefix}{state.name.id}", key)


@dataclass
class _Slot:
    """The place of a state, which is made when it is known of what type the first value is."""

    ctx: Context
    site: Site
    state: syntax.State
    dtype: str | None
    cell: Cell | None = None

    def born(self, initial: Value) -> Value:
        """The state, as a fresh one has `initial`."""
        if not initial.type.is_unknown:
            self._make(initial, initial)
        return self.stored()

    def late(self, initial: Value) -> Value:
        """`initial`, the value at the first step, which a fresh state does not know yet."""
        if not initial.type.is_unknown:
            self._make(initial, _blank(self.ctx, _stored_type(self.ctx, initial.type)))
        return initial

    def stored(self) -> Value:
        """The state as a step finds it."""
        return self.ctx.read(self.cell.slot, self.cell) if self.cell else MISTAKE

    def _make(self, initial: Value, fresh: Value) -> None:
        ctx, name, number = self.ctx, self.state.name.id, len(self.ctx.slots)
        type = _stored_type(ctx, initial.type)
        shown = slot_name(ctx, self.site, name)
        ctx.slots.append(Slot(self.site.label, shown, type, self.dtype))
        ctx.starts.append(fresh)
        self.cell = Cell(type, name, number)
        if self.state.stochastic:
            ctx.stochastic.add(number)


def _is_first(ctx: Context) -> Value:
    """Whether this is the first step, and above `accumulate` the first of its micro-batches."""
    first = ctx.apply("eq", ctx.count, ctx.constant(1))
    if ctx.micro_step is None or ctx.pipeline_depth > 1:
        return first
    return ctx.apply("and", first, ctx.apply("eq", ctx.micro_step, ctx.constant(0)))


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


def slot_name(ctx: Context, site: Site, name: str) -> str:
    """The state's own name; that of its rule comes first where two rules of a stage share it."""
    taken = {slot.name for slot in ctx.slots if slot.stage == site.label}
    if name not in taken:
        return name
    return distinct(f"{site.prefix}{name}", taken)


def _at_start(ctx: Context, site: Site, scope: Scope, state: syntax.State) -> Value:
    """The initial value of a fresh state, before any step."""
    with ctx.in_frame(ctx.start):
        names = _start_scope(ctx, scope, state.initial)
        fresh = replace(site, signals=dict.fromkeys(site.signals, ctx.weights))
        initial = expressions.expression(ctx, fresh, names, state.initial)
        if initial.type.is_field and initial.id == ctx.weights.id:
            # Weights and state are donated separately, so the state needs its own buffers.
            initial = ctx.node("copy", (initial,), initial.type)
        if initial.type.is_field:
            initial = ctx.restricted(initial)
        return _as_stored(ctx, initial, state)


def _in_step(ctx: Context, site: Site, scope: Scope, state: syntax.State) -> Value:
    """The initial value, worked out in a step."""
    return _as_stored(ctx, expressions.expression(ctx, site, scope, state.initial), state)


_KEPT = ("scalar", "field", "history", "unknown")


def _as_stored(ctx: Context, initial: Value, state: syntax.State) -> Value:
    if initial.type.kind not in _KEPT or initial.type.is_indices:
        return ctx.mistyped(
            state.initial.span, f"a state keeps a number or a field; this is {initial.type}"
        )
    if state.dtype and initial.type.is_scalar:
        return ctx.mistyped(
            state.dtype.span, f"only fields have a stored dtype; `{state.name.id}` is a number"
        )
    if state.dtype and initial.type.kind == "history":
        return _as_history(ctx, initial, state, state.dtype)
    return ctx.as_float(initial)


def _as_history(ctx: Context, initial: Value, state: syntax.State, dtype: syntax.Name) -> Value:
    message = ""
    if state.stochastic or dtype.id == "i8":
        message = "the fields of a history are kept in `bf16`, `f16`, `f32` or `f64`"
    elif dtype.id in ("bf16", "f16") and "products" in dict(ctx.made[initial.id].attributes):
        # Where damping is small, a matrix of numbers before rounding is no inverse of those after.
        message = (
            "products are those of fields as they were pushed, and these are kept in fewer bits"
        )
    if not message:
        return initial
    ctx.report.add(UNKNOWN_DTYPE.at(dtype.span, message))
    return MISTAKE


def _start_scope(ctx: Context, scope: Scope, initial: syntax.Expr) -> Scope:
    """The names that an initial value speaks of, as a fresh state knows them."""
    names = Scope()
    for name in _names_of(initial):
        if (binding := scope.find(name)) is None:
            continue
        known = ctx.can_transplant(binding.value)
        value = ctx.transplant(binding.value) if known else _shaped(ctx, binding.value.type)
        names.names[name] = Binding("parameter", binding.span, value)
    return names


def _known_at_start(ctx: Context, site: Site, scope: Scope, initial: syntax.Expr) -> bool:
    """Whether an initial value speaks only of the weights, of parameters, and of shapes."""
    for name in _value_names(initial):
        binding = scope.find(name)
        if binding is not None and binding.kind not in ("parameter", "let"):
            return False
        if binding is not None and not ctx.can_transplant(binding.value):
            return False
        if binding is None and name in site.signals and name != "w":
            return False
        if binding is None and name == "t":
            return False
    arguments = (a.value for call in _calls(initial) for a in call.arguments)
    return not any(isinstance(argument, syntax.Lambda) for argument in arguments)


_ASKING = {
    *(*RESULTS, *OPERATORS, "per_example_mean"),
    *("normal", "rademacher", "uniform", "feature_alignment", "measured"),
    *("fisher_rows", "fisher_columns"),
}
"""Functions that have an answer in a step only."""


def _may_be_function(binding: Binding) -> bool:
    """Whether a parameter may be a function, of a declaration that is checked by itself."""
    return binding.kind == "parameter" and binding.value.type.is_unknown


def _asks(
    node: syntax.Node, kind: str, scope: Scope, declarations: Declarations, seen: list[syntax.Node]
) -> bool:
    """Whether something keeps a state, or calls or hands on what has an answer in a step only."""
    called = {name.id for name in names_called(node)}
    if states_in(node) or (seen and "t" in names_read(node)):
        return True
    for name in (*names_read(node), *called):
        binding = scope.find(name)
        if binding is not None:
            if binding.closure or _may_be_function(binding):
                return True
        elif found := declarations.find("func", name) or declarations.find("schedule", name):
            if not any(found.decl is each for each in seen):
                seen.append(found.decl)
                if _asks(_meaning(found.decl), "func", Scope(), found.scope, seen):
                    return True
        elif name in _ASKING or (name in called and declarations.find(kind, name)):
            return True
    return False


def _meaning(decl: syntax.Node) -> syntax.Node:
    """What a function or a schedule is."""
    assert isinstance(decl, syntax.FuncDecl | syntax.ScheduleDecl)
    return decl.body if isinstance(decl, syntax.FuncDecl) else decl.value


def _history(site: Site, initial: syntax.Expr) -> syntax.Call | None:
    """The call that a state starts with where it is a history, and no function of that name."""
    if not isinstance(initial, syntax.Call) or expressions.dotted(initial.function) != "history":
        return None
    return initial if site.declarations.find("func", "history") is None else None


def _stored_type(ctx: Context, type: Type) -> Type:
    if type.is_field:
        return replace(type, domain=ctx.domain)
    return dynamic(type)


def _blank(ctx: Context, type: Type) -> Value:
    with ctx.in_frame(ctx.start):
        if not type.is_field:
            return ctx.constant(0.0 if type.dtype == "float" else False)
        zeros = _shaped(ctx, type)
        if type.dims is None or type.per != "element":
            zeros = ctx.node("zeros", (zeros,), replace(type, dtype="float"))
        if type.dtype == "float":
            return zeros
        never = ctx.apply("lt", zeros, zeros)
        return never if type.dtype == "bool" else _choice(ctx, never)


def _choice(ctx: Context, condition: Value) -> Value:
    """1 where a condition holds and 0 elsewhere, as whole numbers."""
    return ctx.apply("where", condition, ctx.constant(1), ctx.constant(0))


def _shaped(ctx: Context, type: Type) -> Value:
    """A value for `zeros` and `ones`, which look at shapes only."""
    if type.is_scalar:
        return ctx.constant(0.0)
    whole = ctx.weights
    if type.dims is not None:
        whole = made(ctx, "filled", type.dims, value=0.0)
    if not type.is_field or type.per == "element":
        return whole
    part = Type("field", "float", type.per, ctx.domain, dims=type.dims)
    return ctx.node("sum", (whole,), part, attributes={"per": type.per})


def _names_of(expr: syntax.Expr) -> list[str]:
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
                if shapes or not (only_shape and _is_part(argument.value)):
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


def _is_part(expr: syntax.Expr) -> bool:
    """Whether an expression is a value or a reduction of one, whose shape needs no value."""
    match expr:
        case syntax.Name() | syntax.Number():
            return True
        case syntax.Call():
            is_known = expressions.dotted(expr.function) in ("abs", "max", "mean", "norm", "sum")
            return is_known and all(_is_part(argument.value) for argument in expr.arguments)
        case _:
            return False


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
