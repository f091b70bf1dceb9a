"""Externs: stages that a transformation of optax implements, with a state that only it knows."""

import keyword
from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import Label
from ..declarations import Found
from ..externs import EXTERN_ARGUMENT, Target, target
from ..records import Scalar, Slot
from ..types import OPAQUE, TUPLE, Type
from . import calls, expressions
from .arguments import match
from .builder import MISTAKE, Cell, Value
from .context import Context, Scope, Site
from .oracles import ask
from .regions import refuse_to_keep
from .states import STATE_IN_LOOP, slot_name

_SIGNALS = {"decay": "u", "tune": "u", "constrain": "w_next"}
"""Which signal an external stage acts on; `g` for the kinds that are not named."""


def extern(
    ctx: Context,
    site: Site,
    scope: Scope,
    expr: syntax.Call,
    found: Found,
    signals: dict[str, Value],
) -> Value:
    """What an external stage makes of its signal: for `tune` the whole step, not its size."""
    decl = found.decl
    assert isinstance(decl, syntax.ExternDecl)
    named = target(decl, found.scope.modules, ctx.report)
    inner = calls.bind(ctx, site, scope, expr, found, decl.params)
    if named is None or inner is None:
        return MISTAKE
    if any(block.kind == "loop" for block in ctx.frame.blocks):
        message = f"the state of `{decl.name.id}` is in a loop"
        ctx.report.add(STATE_IN_LOOP.at(expr.function.span, message))
        return MISTAKE
    if refuse_to_keep(ctx, expr, f"the state of `{decl.name.id}` is kept"):
        return MISTAKE
    arguments = _arguments(ctx, site, inner, found, named, expr)
    signal = signals.get(_SIGNALS.get(decl.kind.id, "g"), MISTAKE)
    if arguments is None or signal.type.is_unknown:
        return MISTAKE
    call = _Call(ctx, site, decl, named, arguments)
    match named.sort:
        case "direction":
            return call.update(expr, signal, site.result or None)
        case "update":
            return ctx.apply("neg", call.update(expr, signal, "update"), name="step")
        case "search":
            update = call.update(expr, ctx.apply("neg", signal), "update")
            return ctx.apply("neg", update, name="step")
        case "constraint":
            change = ctx.apply("sub", signal, ctx.weights, name="change")
            allowed = call.update(expr, change, "change")
            return ctx.apply("add", ctx.weights, allowed, name=site.result or None)


def check_extern(ctx: Context, scope: Scope, decl: syntax.ExternDecl, found: Found) -> None:
    """Report what is wrong with a declaration, whatever its arguments are."""
    named = target(decl, found.scope.modules, ctx.report)
    if named is not None:
        site = Site(decl.kind.id, "extern", {}, found.scope)
        _arguments(ctx, site, scope, found, named, decl.target)


class _Call:
    """One use of a transformation: its state, and its update."""

    def __init__(
        self,
        ctx: Context,
        site: Site,
        decl: syntax.ExternDecl,
        named: Target,
        arguments: dict[str, Value],
    ) -> None:
        self.ctx = ctx
        self.named = named
        self.literals: dict[str, Scalar] = {}
        self.inputs: dict[str, Value] = {}
        for name, value in arguments.items():
            if value.constant is not None:
                self.literals[name] = value.constant
            else:
                self.inputs[name] = value
        # A rule that calls it puts its name before those of its states, which here is the same.
        outer = replace(site, prefix=site.prefix.removesuffix(f"{decl.name.id}_"))
        self.slot = slot_name(ctx, outer, decl.name.id)
        self.name = decl.name.id
        self.label = site.label

    def _attributes(self, extra: tuple[str, ...] = ()) -> dict[str, Scalar]:
        found: dict[str, Scalar] = {
            "name": self.name,
            "module": self.named.module,
            "function": self.named.function,
            "inputs": " ".join(self.inputs),
            "extra": " ".join(extra),
        }
        return found | {f"={name}": value for name, value in self.literals.items()}

    def update(self, expr: syntax.Call, signal: Value, name: str | None) -> Value:
        """The transformed signal; the state goes on."""
        ctx = self.ctx
        values = self._extra(expr)
        if any(value.type.is_unknown for value in values):
            return MISTAKE
        signal = ctx.restricted(signal)
        key = self._state()
        inputs = (signal, ctx.cells[key], ctx.weights, *self.inputs.values(), *values)
        call = ctx.node(
            "extern", inputs, TUPLE, name=self.name, attributes=self._attributes(self.named.extra)
        )
        type = Type("field", domain=ctx.domain)
        result = ctx.node("item", (call,), type, name=name, attributes={"index": 0})
        state = ctx.cell_info[key].type
        ctx.cells[key] = ctx.node("item", (call,), state, name=self.slot, attributes={"index": 1})
        return result

    def _state(self) -> int:
        """The slot of the transformation's state."""
        ctx = self.ctx
        with ctx.in_frame(ctx.start):
            inputs = [ctx.transplant(value) for value in self.inputs.values()]
            weights = ctx.restricted(ctx.weights)
            attributes = self._attributes()
            start = ctx.node(
                "extern_init", (weights, *inputs), OPAQUE, name=self.name, attributes=attributes
            )
        ctx.starts.append(start)
        number = len(ctx.slots)
        ctx.slots.append(Slot(stage=self.label, name=self.slot, type=OPAQUE))
        cell = Cell(OPAQUE, self.slot, number)
        return ctx.new_cell(cell, ctx.read(number, cell))

    def _extra(self, expr: syntax.Call) -> list[Value]:
        """What the update takes beside the signal: the loss and the gradient at the weights."""
        oracles = {"value": "loss", "grad": "grad"}
        asked = [oracles[each] for each in self.named.extra if each in oracles]
        return [ask(self.ctx, each, self.ctx.weights, None, expr, None) for each in asked]


def _arguments(
    ctx: Context, site: Site, scope: Scope, found: Found, named: Target, expr: syntax.Call
) -> dict[str, Value] | None:
    """The values that the transformation is made of, by the names of its own parameters."""
    decl = found.decl
    assert isinstance(decl, syntax.ExternDecl)
    if named.parameters is None:
        matched = _by_name(ctx, decl.target, named)
    else:
        matched = match(ctx, decl.target, named.parameters, named.required, named.path)
    if matched is None:
        return None
    own = Site("parameters", site.label, {}, found.scope)
    values: dict[str, Value] = {}
    for name in named.parameters or matched:
        if name in matched:
            what = f"`{name}` of `{named.path}`"
            use = expr if expr is not decl.target else None
            values[name] = _argument(ctx, own, scope, matched[name].value, what, use)
    return None if any(v.type.is_unknown for v in values.values()) else values


def _argument(
    ctx: Context, site: Site, scope: Scope, written: syntax.Expr, what: str, use: syntax.Call | None
) -> Value:
    value = MISTAKE
    if not isinstance(written, syntax.Lambda | syntax.Attribute | syntax.IsShape):
        value = expressions.expression(ctx, site, scope, written)
        if value.type.is_unknown:
            return MISTAKE
    others = (Label(use.span, "used here"),) if use else ()
    if value.type.kind not in ("scalar", "text"):
        message = f"{what} takes a number, a truth value or a text"
        ctx.report.add(EXTERN_ARGUMENT.at(written.span, message, others=others))
        return MISTAKE
    if value.constant is None and not ctx.can_transplant(value):
        message = f"{what} is not known when a state is made"
        ctx.report.add(EXTERN_ARGUMENT.at(written.span, message, others=others))
        return MISTAKE
    return value


def _by_name(ctx: Context, expr: syntax.Call, named: Target) -> dict[str, syntax.Argument] | None:
    """The arguments for a function of which nothing is known."""
    for argument in expr.arguments:
        if argument.name is None or keyword.iskeyword(argument.name.id):
            message = f"the arguments of `{named.path}` are given by name"
            if argument.name:
                message = f"no parameter in Python is named `{argument.name.id}`"
            ctx.report.add(EXTERN_ARGUMENT.at((argument.name or argument).span, message))
            return None
    names = [argument.name.id for argument in expr.arguments if argument.name]
    return match(ctx, expr, names, (), named.path)
