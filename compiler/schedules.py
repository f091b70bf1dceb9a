"""Schedules as values: a schedule with its arguments as a graph of the step count alone.

What is asked for is written as a spec would write it, `warmup_cosine(peak = 0.1, total = 100)`,
and lowered like that: names, missing arguments and ranges get the diagnostics that they get in
a spec.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, SpecError, declare
from ..grammar.literals import quote
from ..grammar.parse import parse
from ..grammar.source import Source, Span
from .constants import NAMED
from .declarations import Declarations, Found, gather
from .freeze import freeze
from .graph import Graph, Node, Region, walk
from .locate import Located, open_use
from .lowering import expressions
from .lowering.builder import TooLargeError
from .lowering.calls import declared
from .lowering.context import Context, Scope, Site
from .lowering.draft import Draft
from .lowering.pipeline import TOO_LARGE
from .ops import OPS, knots
from .passes import PIPELINE
from .records import ALL, Output, Scalar
from .resolve import resolve
from .spec import SpecStage
from .structure import names_called
from .variants import whole
from .verify import verify

NOT_OF_TIME = declare(
    "not-of-time",
    "a schedule that depends on more than the step count",
    """
    A schedule that is drawn or called by itself is a number of `t` and of its parameters. One
    that calls functions which look at the weights or ask the objective has values in a running
    optimizer only.
    """,
)


@dataclass(frozen=True)
class Curve:
    """A schedule as a spec would say it, the arguments that it was given, its graph over `t`."""

    text: str
    given: Mapping[str, Scalar]
    graph: Graph


def curves(
    located: Located | None, text: str, settings: Mapping[str, Scalar], *, strict: bool = True
) -> tuple[Curve, ...]:
    """What `text` stands for: a schedule's name, an optimizer's, or an expression over `t`.

    Names are those of the file `located`, or of the library. `settings` are the arguments of a
    name; those that it does not have are mistakes, or without `strict` left out. An optimizer has
    a curve for each `tune step`. Raises SpecError.
    """
    report = Diagnostics()
    scope = Declarations()
    if located is not None:
        scope = gather(parse(located.source, report), open_use(located), report, located.modules)
    found = [_curve(each, report) for each in _asked(scope, text, settings, strict, report)]
    if report.has_errors:
        raise SpecError(report.sorted())
    return tuple(curve for curve in found if curve is not None)


def value(graph: Graph, t: Any, numpy: Any) -> Any:
    """The value of a schedule's graph at the step count `t`, a number or an array.

    `numpy` is NumPy, or a module with its names. Both sides of a choice are worked out.
    """
    return _Values(numpy, t).region(graph.step)[0]


# ---- what is asked for


@dataclass(frozen=True)
class _Asked:
    """An expression as it would stand in a spec, what it is called, and the names there."""

    shown: str
    text: str
    given: Mapping[str, Scalar]
    scope: Declarations


def _asked(
    scope: Declarations,
    text: str,
    settings: Mapping[str, Scalar],
    strict: bool,
    report: Diagnostics,
) -> Iterator[_Asked]:
    if not text.isidentifier() or text in ("t", *NAMED):
        yield _Asked(text, text, {}, scope)
        return
    found = scope.find("schedule", text)
    optimizer = None if found else scope.find("optimizer", text)
    if optimizer is None:
        params = found.decl.params if found else ()
        given = _given(settings, params, strict)
        call = _call(text, given)
        yield _Asked(call, call, given, scope)
        return
    for name, decl, names in _step_sizes(optimizer, report):
        # An optimizer and a rule that it uses may share a name: `dog` is both.
        called = decl.name.id
        while set(names.kinds_of(called)) - {"optimizer"}:
            called += "_step"
        own = {**names.own, ("schedule", called): decl}
        given = _given(settings, decl.params, strict)
        call = _call(called, given)
        yield _Asked(_call(name, given), call, given, replace(names, own=own))


def _given(
    settings: Mapping[str, Scalar], params: tuple[syntax.Param, ...], strict: bool
) -> Mapping[str, Scalar]:
    known = {param.name.id for param in params}
    return {name: value for name, value in settings.items() if strict or name in known}


def _call(name: str, given: Mapping[str, Scalar]) -> str:
    return f"{name}({', '.join(f'{k} = {literal(v)}' for k, v in given.items())})"


def literal(value: Scalar) -> str:
    """A value as a spec writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case _:
            return repr(value)


def _step_sizes(
    optimizer: Found, report: Diagnostics
) -> Iterator[tuple[str, syntax.ScheduleDecl, Declarations]]:
    """Each `tune step` of an optimizer as a schedule with the optimizer's parameters."""
    decl = optimizer.decl
    assert isinstance(decl, syntax.OptimizerDecl | syntax.VariantDecl)
    found = whole(decl, optimizer.scope, report)
    if found is None:
        return
    spec = resolve(found.decl, found.scopes, report)
    stages: list[SpecStage] = [*spec.before, *spec.after]
    stages += [stage for group in spec.groups for stage in group.stages]
    for stage in stages:
        if stage.kind == "tune":
            group = stage.label.rpartition(".")[0]
            name = f"{spec.name}.{group}" if group else spec.name
            params, value = found.decl.params, stage.syntax.rule
            if rule := _tune_rule(value, stage.declarations):
                message = f"the step size of `{name}` depends on more than the step count"
                label = "a tune rule"
                report.add(NOT_OF_TIME.at(rule.span, message, label=label))
                continue
            step = syntax.ScheduleDecl(decl.span, decl.name, params, None, None, value)
            yield name, step, stage.declarations


def _tune_rule(value: syntax.Expr, scope: Declarations) -> syntax.Name | None:
    """A name in a step size that is called and can only be that of a rule."""
    for name in names_called(value):
        found = declared(scope, "tune", name.id)
        if found and isinstance(found.decl, syntax.RuleDecl | syntax.ExternDecl):
            return name
    return None


# ---- lowering


def _curve(asked: _Asked, report: Diagnostics) -> Curve | None:
    # The expression stands on a line of its own, which messages show.
    source = Source("<schedule>", f"schedule asked() =\n  {asked.text}\n")
    file = parse(source, report)
    decl = next((i for i in file.items if isinstance(i, syntax.ScheduleDecl)), None)
    if decl is None:
        return None
    ctx = Context(report, {}, [ALL])
    site = Site("schedule", "schedule", {}, asked.scope)
    try:
        result = ctx.as_float(expressions.number(ctx, site, Scope(), decl.value))
    except TooLargeError:
        message = f"`{asked.text}` expands to more than 100,000 operations"
        report.add(TOO_LARGE.at(decl.value.span, message))
        return None
    if result.type.is_unknown or report.has_errors:
        return None
    nothing = Draft(
        name="schedule",
        doc="",
        file=source.name,
        hyperparameters=(),
        domains=(ALL,),
        stages=(),
        slots=(),
        start=ctx.start.region([]),
        step=ctx.step.region([result]),
        refusals=(),
        outputs=(Output(role="observed", name="value"),),
    )
    graph = verify(freeze(nothing))
    for run in PIPELINE:
        graph = verify(run(graph))
    if any(not _is_of_time(node) for node in walk(graph.step)):
        _refuse(asked, decl.value.span, report)
        return None
    return Curve(asked.shown, asked.given, graph)


def _is_of_time(node: Node) -> bool:
    if node.op == "input":
        return node["name"] == "t"
    return OPS[node.op].op_class in ("leaf", "elementwise", "control")


def _refuse(asked: _Asked, span: Span, report: Diagnostics) -> None:
    message = f"`{asked.shown}` depends on more than the step count"
    report.add(NOT_OF_TIME.at(span, message, label="not a number of `t` alone"))


# ---- values


class _Values:
    """Runs a region of scalars for one `t` or an array of them, straight from the op table."""

    def __init__(self, numpy: Any, t: Any) -> None:
        self._numpy = numpy
        self._t = t
        self._known: dict[int, Any] = {}

    def region(self, region: Region) -> list[Any]:
        for node in region.nodes:
            if node.op != "argument":
                self._known[node.id] = self._node(node)
        return [self._known[i] for i in region.results]

    def _node(self, node: Node) -> Any:
        inputs = [self._known[i] for i in node.inputs]
        match node.op:
            case "const":
                value = node["value"]
                return value if isinstance(value, bool | str) else float(value)
            case "input":
                return self._t
            case "nan":
                return float("nan")
            case "item":
                return inputs[0][int(node["index"])]
            case "float":
                return inputs[0]
            case "if":
                sides = [self.region(region) for region in node.regions]
                return [self._where(inputs[0], yes, no) for yes, no in zip(*sides, strict=True)]
            case "loop":
                return self._loop(node, int(inputs[0]), inputs[1:])
            case "interpolate":
                x, y = zip(*knots(node), strict=True)
                return self._numpy.interp(inputs[0], self._numpy.array(x), self._numpy.array(y))
        return getattr(self._numpy, OPS[node.op].numpy)(*inputs)

    def _loop(self, node: Node, count: int, carried: list[Any]) -> list[Any]:
        body, *condition = node.regions
        going: Any = True
        for round in range(count):
            if condition:
                self._known |= zip(condition[0].arguments, carried, strict=True)
                going = self._numpy.logical_and(going, self.region(condition[0])[0])
            self._known |= zip(body.arguments, (float(round), *carried), strict=True)
            new = self.region(body)
            carried = [self._where(going, x, y) for x, y in zip(new, carried, strict=True)]
        return carried

    def _where(self, condition: Any, yes: Any, no: Any) -> Any:
        return self._numpy.where(condition, yes, no)
