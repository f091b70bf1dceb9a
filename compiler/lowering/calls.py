"""Calls: functions of the language, oracles, and declared functions, schedules and rules."""

from collections.abc import Sequence
from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import correction, declare, did_you_mean
from ..declarations import NOT_YET as NOT_YET_COMPILED
from ..declarations import Found
from ..ops import NOT_YET, OPS
from ..records import Term
from ..types import PERS, Per, Type
from . import expressions, externs, statements
from .arguments import checked, match
from .builder import MISTAKE, Value
from .context import Binding, Context, Scope, Site
from .examples import per_example_mean
from .knots import interpolate
from .oracles import RESULTS, ask, refuse_in_example

UNKNOWN_FUNCTION = declare(
    "unknown-function",
    "a call of something that does not exist",
    """
    What can be called: the functions of the language (`sqrt`, `norm`, `where` ...), the oracles
    (`grad`, `hvp` ...), the functions and schedules that are declared here, in a used file or in
    the library, and rules of the same kind as the rule that calls them.
    """,
)
UNKNOWN_RULE = declare(
    "unknown-rule",
    "a name that no rule of this kind has",
    """
    Rules are found by kind and name: in the file, in the files that it uses, and in the library
    (`optc list` shows it). A rule of another kind does not fit, since each kind sees and returns
    something else.
    """,
)
RECURSION = declare(
    "recursive-rule",
    "a rule, schedule or function that calls itself",
    """
    Calls are replaced by the bodies of what they call, so nothing may call itself, directly or
    through others. Write a bounded loop instead: `repeat 5 { ... }`.
    """,
)
RANDOM_OF = declare(
    "random-of",
    "a random field is asked for something that is not the weights, or where none can be drawn",
    """
    `normal(w)`, `rademacher(w)` and `uniform(w)` draw a field with the shapes of the weights. To
    scale or shift it, use arithmetic. Each round of a loop draws another one; the condition of
    `repeat ... while` is not part of a round, so it draws none.
    """,
)

NO_AXIS = declare(
    "no-axis",
    "an axis that some tensors may not have",
    """
    `per = 0`, `per = 1`, ... give one number for each place of an axis. The tensors must be sure to
    have it: by a `when` around the line, or by the group's `view`.

        when g is [rows, cols] {
          return g / sqrt(min(max(g^2, per = 0), max(g^2, per = 1)))
        } else {
          return sign(g)
        }
    """,
)

_OPERATORS_ONLY = {
    "add", "sub", "mul", "div", "mod", "pow", "neg", "float",
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not",
}  # fmt: skip
ELEMENTWISE = {
    name for name, op in OPS.items() if op.op_class == "elementwise" and name not in _OPERATORS_ONLY
}
"""Functions of the language that act on each element."""

REDUCTIONS = ("sum", "mean", "norm", "dot", "all", "any")
"""Functions of the language that reduce a field; `max` and `min` of one argument join them."""

_VERDICTS = ("all", "any")

RANDOM = ("normal", "rademacher", "uniform")
FILLS = ("zeros", "ones")
FUNCTIONS = {
    *ELEMENTWISE, *REDUCTIONS, *RANDOM, *FILLS, *RESULTS, *NOT_YET, "per_example_mean"
}  # fmt: skip
"""Every function of the language."""

CALLABLE_KINDS = ("perturb", "clip", "precondition", "decay", "tune", "constrain")
"""Kinds whose rules may call rules of the same kind."""


def call(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None = None
) -> Value:
    """The value of a call."""
    if not isinstance(expr.function, syntax.Name):
        shown = expressions.dotted(expr.function)
        message = f"`{shown}` cannot be called here"
        ctx.report.add(UNKNOWN_FUNCTION.at(expr.function.span, message))
        return MISTAKE
    function = expr.function.id
    if found := site.declarations.find("func", function):
        return _function(ctx, scope, site, expr, found, name)
    if function in ELEMENTWISE and not _is_reduction(expr):
        return _elementwise(ctx, site, scope, expr, name)
    if function in REDUCTIONS or function in ("min", "max"):
        return _reduction(ctx, site, scope, expr, name)
    if function in RANDOM or function in FILLS:
        return _fill(ctx, site, scope, expr, name)
    if function == "per_example_mean":
        return per_example_mean(ctx, site, scope, expr, name)
    if function in RESULTS:
        return _oracle(ctx, site, scope, expr, name)
    if function in NOT_YET:
        message = f"`{function}` ({NOT_YET[function]}) is not compiled yet"
        ctx.report.add(NOT_YET_COMPILED.at(expr.function.span, message, label="parsed only"))
        return MISTAKE
    if found := site.declarations.find("schedule", function):
        return _schedule(ctx, scope, site, expr, found, name)
    if site.kind in CALLABLE_KINDS and (found := site.declarations.find(site.kind, function)):
        return _rule(ctx, scope, site, expr, found, name)
    return _unknown(ctx, site, expr.function)


def _unknown(ctx: Context, site: Site, name: syntax.Name) -> Value:
    if name.id in site.declarations.broken:
        return MISTAKE
    known = FUNCTIONS | site.declarations.names("func") | site.declarations.names("schedule")
    if site.kind in CALLABLE_KINDS:
        known |= site.declarations.names(site.kind)
    help = did_you_mean(name.id, known)
    if kinds := site.declarations.kinds_of(name.id):
        help = f"`{name.id}` is {a_kind(kinds[0])}, which cannot be called here"
    what = f"{site.kind} rule, schedule or function" if site.kind == "tune" else "function"
    message = f"no {what} is named `{name.id}`"
    fix = correction(name.span, known)
    ctx.report.add(UNKNOWN_FUNCTION.at(name.span, message, label="unknown", help=help, fix=fix))
    return MISTAKE


def a_kind(kind: str) -> str:
    """A kind of declaration as messages call it: `a clip rule`, `an optimizer`."""
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind}{' rule' if kind in syntax.KINDS else ''}"


# ---- functions of the language


def _is_reduction(expr: syntax.Call) -> bool:
    """`max(x)` reduces, `max(x, y)` compares."""
    assert isinstance(expr.function, syntax.Name)
    placed = sum(a.name is None for a in expr.arguments)
    return expr.function.id in ("min", "max") and placed < 2


def _placed(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, names: Sequence[str]
) -> dict[str, tuple[Value, syntax.Expr]] | None:
    assert isinstance(expr.function, syntax.Name)
    matched = match(ctx, expr, names, names, expr.function.id)
    if matched is None:
        return None
    return {
        key: (expressions.expression(ctx, site, scope, a.value), a.value)
        for key, a in matched.items()
    }


_NAMES = {
    "where": ("condition", "yes", "no"),
    "clamp": ("x", "low", "high"),
    "arctan2": ("y", "x"),
}


def _elementwise(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    assert isinstance(expr.function, syntax.Name)
    op = expr.function.id
    if op == "interpolate":
        return interpolate(ctx, site, scope, expr, name)
    if op in ("min", "max"):
        return _extremum(ctx, site, scope, expr, name)
    placed = _placed(ctx, site, scope, expr, _NAMES.get(op, ("x",)))
    if placed is None:
        return MISTAKE
    ordered = [placed[key] for key in _NAMES.get(op, ("x",))]
    values, spans = tuple(v for v, _ in ordered), tuple(e.span for _, e in ordered)
    return expressions.elementwise(ctx, op, values, spans, op, name)


def _extremum(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    op, names = expr.function.id, tuple(f"x{i}" for i in range(len(expr.arguments)))
    placed = _placed(ctx, site, scope, expr, names)
    if placed is None:
        return MISTAKE
    (result, first), *rest = (placed[key] for key in names)
    for place, (value, piece) in enumerate(rest):
        own = name if place == len(rest) - 1 else None
        spans = (first.span, piece.span)
        result = expressions.elementwise(ctx, op, (result, value), spans, op, own)
    return result


def _reduction(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    op = {"min": "smallest", "max": "largest"}.get(function, function)
    operands = ("x", "y") if op == "dot" else ("x",)
    more = () if op in _VERDICTS else ("per",)
    matched = match(ctx, expr, (*operands, *more), operands, function)
    if matched is None:
        return MISTAKE
    values = []
    for key in operands:
        value = expressions.expression(ctx, site, scope, matched[key].value)
        wrong = _not_reducible(value, op)
        if wrong is not None:
            return ctx.mistyped(
                matched[key].span, f"`{function}` takes {wrong}; this is {value.type}"
            )
        values.append(value)
    if any(v.type.is_unknown for v in values):
        return MISTAKE
    placed = tuple(matched[key].span for key in operands)
    if op == "dot" or "per" in matched:
        mixed = expressions.differently_arranged(ctx, tuple(values), placed)
        if mixed is not None:
            return mixed
    dtype = OPS[op].gives
    assert dtype != "join"
    if "per" not in matched:
        whole = [ctx.restricted(v) for v in values]
        return ctx.node(op, whole, Type("scalar", dtype), name=name)
    per = _per(ctx, matched["per"].value, function)
    if per is None:
        return MISTAKE
    type = Type("field", dtype, per, ctx.domain)
    return ctx.node(op, values, type, name=name, attributes={"per": per})


def _not_reducible(value: Value, op: str) -> str | None:
    if value.type.is_unknown:
        return None
    wanted = "bool" if op in _VERDICTS else "float"
    if value.type.is_field and (value.type.dtype == "bool") == (wanted == "bool"):
        return None
    return "a field of conditions" if wanted == "bool" else "a field"


def _per(ctx: Context, expr: syntax.Expr, function: str) -> Per | None:
    match expr:
        case syntax.Name(id="tensor" | "unit" | "row" | "column" | "matrix" as per):
            return per
        case syntax.Name():
            ctx.unknown(expr, PERS, "is not a part of a tensor")
        case syntax.Number(value=int(axis)):
            number = Term(op="literal", arguments=(axis,))
            if ctx.sure(Term(op="gt", arguments=(Term(op="ndim"), number))):
                return axis
            message = f"`{function}` per axis {axis}, where a tensor may have {_axes(axis)}"
            help = f"do it in a `when` for enough axes: `when ndim > {axis} {{ ... }}`"
            ctx.report.add(NO_AXIS.at(expr.span, message, label="no such axis", help=help))
        case _:
            message = "`per` takes one of tensor, unit, row, column, matrix, or an axis: 0, 1, ..."
            ctx.mistyped(expr.span, message)
    return None


def _axes(count: int) -> str:
    return "no axes" if count == 0 else "one axis" if count == 1 else f"{count} axes"


def _fill(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    if function in FILLS and len(expr.arguments) == 2:
        message = f"`{function}` of a matrix shape is not compiled yet"
        ctx.report.add(NOT_YET_COMPILED.at(expr.span, message, label="parsed only"))
        return MISTAKE
    placed = _placed(ctx, site, scope, expr, ("like",))
    if placed is None:
        return MISTAKE
    like, piece = placed["like"]
    if like.type.is_unknown:
        return MISTAKE
    if not like.type.is_field:
        return ctx.mistyped(piece.span, f"`{function}` takes a field; this is {like.type}")
    type = Type("field", "float", like.type.per, ctx.domain)
    if function in FILLS:
        if type.per == "element":
            # Only the shape matters, and it is the weights': nothing else need be computed.
            like = ctx.weights
        return ctx.node(function, (like,), type, name=name)
    if like.id != ctx.weights.id:
        message = f"`{function}` draws a field like the weights: write `{function}(w)`"
        ctx.report.add(RANDOM_OF.at(piece.span, message))
        return MISTAKE
    if refuse_in_example(ctx, expr, f"`{function}` is drawn"):
        return MISTAKE
    if any(block.kind == "loop" and block.index is None for block in ctx.frame.blocks):
        message = f"`{function}` cannot be drawn in the condition of a loop"
        ctx.report.add(RANDOM_OF.at(expr.span, message, help="draw it in the body"))
        return MISTAKE
    return ctx.random(function, like, ctx.weights.type, name)


def _oracle(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    oracle = expr.function.id
    acts = oracle in ("pullback", "hvp")
    names: tuple[str, ...] = ("vector", "at") if acts else ("at",)
    names = () if oracle == "examples" else names
    matched = match(ctx, expr, names, names[:1], oracle)
    if matched is None:
        return MISTAKE
    values = {
        key: expressions.expression(ctx, site, scope, a.value, "point" if key == "at" else None)
        for key, a in matched.items()
    }
    at, vector = values.get("at", ctx.weights), values.get("vector")
    for key, value in values.items():
        wanted = "outputs" if (oracle, key) == ("pullback", "vector") else "field"
        if not value.type.is_unknown and value.type.kind != wanted:
            needs = "model outputs" if wanted == "outputs" else "a field"
            message = f"`{oracle}` takes {needs} here; this is {value.type}"
            return ctx.mistyped(matched[key].span, message)
    return ask(ctx, oracle, at, vector, expr, name)


# ---- declared functions, schedules and rules


def _function(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    decl = found.decl
    assert isinstance(decl, syntax.FuncDecl)
    inner = bind(ctx, site, scope, expr, decl, decl.params, any_type=True)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    signals = {"w": ctx.weights}
    result = name or decl.name.id
    body = Site("func", site.label, signals, found.scope, f"{decl.name.id}_", result)
    value = statements.body(ctx, body, inner, decl.body)
    ctx.active.pop()
    return value


def _schedule(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    decl = found.decl
    assert isinstance(decl, syntax.ScheduleDecl)
    inner = bind(ctx, site, scope, expr, decl, decl.params)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    body = Site("schedule", site.label, {}, found.scope)
    result = expressions.expression(ctx, body, inner, decl.value, name or decl.name.id)
    ctx.active.pop()
    return result


def _rule(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    """A rule called by a rule of its kind. Outside tune its first argument is the signal."""
    decl = found.decl
    assert isinstance(decl, syntax.RuleDecl | syntax.ExternDecl)
    signals = dict(site.signals)
    if site.kind == "tune" and isinstance(decl, syntax.ExternDecl):
        message = f"`{decl.name.id}` gives a whole step, and no step size that arithmetic could use"
        return ctx.mistyped(expr.span, message, f"let it stand alone: `tune step {decl.name.id}()`")
    if site.kind != "tune":
        signal = "u" if site.kind == "decay" else "g"
        if not expr.arguments or expr.arguments[0].name is not None:
            message = f"`{decl.name.id}` needs the signal first: `{decl.name.id}({signal}, ...)`"
            return ctx.mistyped(expr.span, message)
        first, rest = expr.arguments[0], expr.arguments[1:]
        signals[signal] = expressions.expression(ctx, site, scope, first.value)
        expr = syntax.Call(expr.span, expr.function, rest)
    inner = replace(site, signals=signals, prefix=f"{site.prefix}{decl.name.id}_")
    return rule(ctx, replace(inner, result=name or ""), scope, expr, found, signals)


def rule(
    ctx: Context,
    site: Site,
    scope: Scope,
    expr: syntax.Call,
    found: Found,
    signals: dict[str, Value],
) -> Value:
    """The result of a rule whose parameters are the arguments of `expr`."""
    decl = found.decl
    if isinstance(decl, syntax.ExternDecl):
        return externs.extern(ctx, site, scope, expr, found, signals)
    assert isinstance(decl, syntax.RuleDecl)
    inner = bind(ctx, site, scope, expr, decl, decl.params)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    body = Site(decl.kind.id, site.label, signals, found.scope, site.prefix, site.result)
    result = statements.body(ctx, body, inner, decl.body)
    ctx.active.pop()
    return result


def enter(ctx: Context, decl: syntax.Node, at: syntax.Node) -> bool:
    """Note that a declaration is being expanded; False, with a report, if it already is."""
    if any(active is decl for active in ctx.active):
        shown = expressions.dotted(at) if isinstance(at, syntax.Name | syntax.Attribute) else ""
        ctx.report.add(RECURSION.at(at.span, f"`{shown}` calls itself"))
        return False
    ctx.active.append(decl)
    return True


def bind(
    ctx: Context,
    site: Site,
    scope: Scope,
    expr: syntax.Call,
    decl: syntax.RuleDecl | syntax.ExternDecl | syntax.ScheduleDecl | syntax.FuncDecl,
    params: tuple[syntax.Param, ...],
    any_type: bool = False,
) -> Scope | None:
    """A scope with the parameters of `decl`: the arguments of the call, or the defaults."""
    names = [p.name.id for p in params]
    required = [p.name.id for p in params if p.default is None]
    matched = match(ctx, expr, names, required, decl.name.id)
    if matched is None:
        return None
    inner = Scope()
    own = Site("parameters", site.label, {}, site.declarations)
    for param in params:
        name = param.name.id
        if name in matched:
            given = matched[name].value
            value = expressions.expression(ctx, site, scope, given, name)
            value = checked(ctx, param, value, given.span, any_type)
        else:
            assert param.default is not None
            value = expressions.expression(ctx, own, inner, param.default, name)
            value = checked(ctx, param, value, param.default.span, any_type)
        inner.names[name] = Binding("parameter", param.name.span, value)
    return inner
