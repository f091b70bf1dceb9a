"""Parameters that are fixed when a program is bound, and need not be."""

from collections.abc import Iterator, Mapping

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, Fix, Severity, declare
from ...grammar.parse import parse
from ...grammar.source import Span
from ..declarations import Declarations
from ..lowering.draft import DraftNode
from ..ops import OPS
from ..records import Hyperparameter, Term
from .run import calls, names
from .subject import Subject, walk

RECOMPILING_INT = declare(
    "recompiling-int",
    "an `int` parameter that only does arithmetic",
    """
    `int`, `bool` and `str` parameters are fixed when a program is bound: each value is another
    compiled program, so a sweep compiles once for each, and `vmap` over them is not possible. That
    is the price where a number counts something, as the rounds of a `repeat` do. One that is only
    added and multiplied is as good as a float, which is an input of the compiled step.

        optimizer scaled(lr = 0.1 in [0, inf), width: int = 4 in [1, inf)) { ... lr / width ... }

    Leave out `: int`, as `optc check --fix` does. Numbers of steps, which are compared or divided
    with `t`, and exponents are whole by nature, and have no warning.
    """,
    Severity.WARNING,
)

_WHOLE = ("total", "steps", "warmup", "period")
"""Words of names of numbers of steps."""

_ARITHMETIC = (
    *("add", "sub", "mul", "div", "min", "max", "neg", "abs", "float", "sqrt", "square", "exp"),
    *("log", "expm1", "log1p", "clamp", "lt", "le", "gt", "ge"),
)


def check_static(subject: Subject, report: Diagnostics) -> None:
    """Warn of `int` parameters to which nothing happens but arithmetic."""
    for parameter in subject.draft.hyperparameters:
        if parameter.kind == "int" and _only_counts(subject, parameter):
            _report(subject, parameter, report)


def _only_counts(subject: Subject, parameter: Hyperparameter) -> bool:
    name = parameter.name
    if any(word in name.split("_") for word in _WHOLE):
        return False
    derived = (h.derived for h in subject.draft.hyperparameters if h.static and h.derived)
    views = [d.view for d in subject.draft.domains if d.view]
    sizes = [size for view in views for size in (view.blocks, *(size for _, size in view.sizes))]
    if name in sizes or any(name in _parameters(term) for term in derived):
        return False
    if any(name in names(expr) for expr in _fixed(subject)):
        return False
    regions = [subject.draft.step, subject.draft.start]
    regions += [subject.draft.evaluation] if subject.draft.evaluation else []
    used = False
    for region in regions:
        nodes = {node.id: node for node in walk(region)}
        for node in nodes.values():
            if node.op == "parameter" and node["name"] == name:
                verdict = _uses(nodes, node.id)
                if verdict is None:
                    return False
                used = used or verdict
    return used


def _uses(nodes: Mapping[int, DraftNode], id: int) -> bool | None:
    """Whether a value is used, and in arithmetic on values alone; None for any other use."""
    used = False
    timed = _timed(nodes)
    left, seen = [id], {id}
    while left:
        source = left.pop()
        for node in nodes.values():
            inner = {r for region in node.regions for r in region.results}
            if source in inner:
                return None
            if source not in node.inputs:
                continue
            if node.op not in _ARITHMETIC or any(i in timed for i in node.inputs):
                return None
            used = True
            if node.type.static and node.id not in seen:
                seen.add(node.id)
                left.append(node.id)
    return used


def _timed(nodes: Mapping[int, DraftNode]) -> set[int]:
    """Scalars that are made of the step count."""
    found: set[int] = set()
    for id in sorted(nodes):
        node = nodes[id]
        counts = node.op == "input" and node["name"] == "t"
        plain = node.type.is_scalar and OPS[node.op].op_class == "elementwise"
        if counts or (plain and any(i in found for i in node.inputs)):
            found.add(id)
    return found


def _fixed(subject: Subject) -> Iterator[syntax.Expr]:
    """What an optimizer hands to parameters that are fixed, and the sizes of micro-batches."""
    for stage in subject.stages.values():
        if stage.kind == "accumulate":
            yield stage.syntax.rule
        for call in calls(stage.syntax.rule):
            yield from _static_arguments(call, stage.kind, stage.declarations)
    for observe in subject.spec.observes:
        for call in calls(observe.syntax.value):
            yield from _static_arguments(call, "func", observe.declarations)


def _static_arguments(call: syntax.Call, kind: str, scope: Declarations) -> Iterator[syntax.Expr]:
    assert isinstance(call.function, syntax.Name)
    kinds = ("func", "schedule", kind)
    found = [scope.find(each, call.function.id) for each in kinds]
    decl = next((each.decl for each in found if each is not None), None)
    if decl is None:
        # A function of the language may need a number before the program runs.
        yield from (argument.value for argument in call.arguments if argument.name is not None)
        return
    for place, argument in enumerate(call.arguments):
        if argument.name is not None:
            params = [p for p in decl.params if p.name.id == argument.name.id]
        else:
            params = [*decl.params[place : place + 1]]
        if isinstance(decl, syntax.ExternDecl) or any(p.type is not None for p in params):
            yield argument.value


def _parameters(term: Term) -> set[str]:
    own = {str(a) for a in term.arguments} if term.op == "parameter" else set()
    return own.union(*(_parameters(inner) for inner in term.terms))


# ---- the report


def _report(subject: Subject, parameter: Hyperparameter, report: Diagnostics) -> None:
    message = f"`{parameter.name}` only does arithmetic, and each value compiles another program"
    declared = _declared(subject, parameter.name)
    if declared is None:
        report.add(RECOMPILING_INT.at(subject.spec.span, message, help="let it be a float"))
        return
    typed, name = declared
    fix = Fix(Span(typed.source, name.end, typed.end), "", safe=True)
    help = "leave out `: int`"
    report.add(
        RECOMPILING_INT.at(
            typed, message, label="fixed when a program is bound", help=help, fix=fix
        )
    )


def _declared(subject: Subject, name: str) -> tuple[Span, Span] | None:
    """The type and the name of a parameter, where the optimizer itself declares it."""
    source = subject.spec.span.source
    for item in parse(source, Diagnostics()).items:
        if isinstance(item, syntax.OptimizerDecl | syntax.VariantDecl):
            for param in item.params if item.name.id == subject.spec.name else ():
                if param.name.id == name and param.type is not None:
                    return param.type.span, param.name.span
    return None
