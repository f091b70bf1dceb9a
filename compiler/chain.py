"""A spec as a chain of optax's own transformations, where every stage has a twin.

Twins are the claims `rule ... equals optax.f(...)`, which the test suite holds. What optax cannot
say as a link of a chain (oracles, groups, averages, a stage of some tensors by path) is refused.
"""

import re
from collections.abc import Mapping

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare
from ..grammar.source import Span
from . import parameters
from .predicate import python as predicate_text
from .printing.hints import RESERVED, identifier
from .printing.layout import Labelled, Piece, call, docstring, lines, quoted
from .printing.terms import term_text
from .records import Hyperparameter, Term
from .spec import Spec, SpecStage
from .transformations import TABLE

NO_TWIN = declare(
    "no-optax-twin",
    "a stage that optax has no transformation for",
    """
    `--emit optax` prints a spec as `optax.chain(...)`. Every stage must name a rule that says
    `equals optax.f(...)`, and its arguments and the step size must be numbers, parameters of the
    optimizer, or arithmetic over these. The compiled module has no such limits.
    """,
)

Names = Mapping[str, Term]
"""What the parameters of a rule stand for, over the parameters of the optimizer."""


def chain_text(spec: Spec, report: Diagnostics) -> str | None:
    """The module that builds the chain, or None where a stage has no twin."""
    return _Chain(spec, report).text()


class _Chain:
    def __init__(self, spec: Spec, report: Diagnostics) -> None:
        self.spec = spec
        self.report = report
        self.masked = False

    def text(self) -> str | None:
        spec = self.spec
        if spec.groups:
            self._refuse(spec.span, "an optimizer with groups is no chain")
        links = [self._link(stage) for stage in (*spec.before, *spec.after)]
        if self.report.has_errors:
            return None
        pieces = [link for link in links if link is not None]
        summary = spec.doc or f"The optimizer `{spec.name}`."
        head = docstring(
            f"{summary}\n\nThe stages of `{spec.file}` as optax's own transformations."
        )
        imports = ["", *(["import jax"] if self.masked else []), "import optax", "", ""]
        name = identifier(spec.name, RESERVED)
        parameters = tuple(_parameter(p) for p in spec.hyperparameters)
        signature = lines(call(f"def {name}", *parameters), 0, "", ":")
        body = lines(call("optax.chain", *pieces), 1, "return ")
        return "\n".join([*head, *imports, *signature, *body]) + "\n"

    def _refuse(self, span: Span, message: str) -> None:
        self.report.add(NO_TWIN.at(span, message, label="no twin"))

    def _link(self, stage: SpecStage) -> Piece | None:
        line = stage.syntax
        names = [p.name for p in self.spec.hyperparameters]
        own = {name: Term(op="parameter", arguments=(name,)) for name in names}
        if stage.kind == "tune" and (rate := _term(line.rule, own)) is not None:
            return call("optax.scale_by_learning_rate", _text(rate))
        function = line.rule.function if isinstance(line.rule, syntax.Call) else line.rule
        arguments = line.rule.arguments if isinstance(line.rule, syntax.Call) else ()
        found = isinstance(function, syntax.Name) and stage.declarations.find(
            stage.kind, function.id
        )
        equals = _equals(found.decl) if found else None
        if not found or equals is None:
            self._refuse(line.rule.span, "this stage has no twin in optax")
            return None
        if stage.kind == "tune" and stage.index > 0:
            self._refuse(line.rule.span, "this step size is a whole optimizer in optax")
            return None
        bound = _bound(found.decl.params, arguments, own)
        twin = self._twin(equals, bound, line.rule.span)
        return self._limited(stage, twin) if twin is not None else None

    def _twin(self, equals: syntax.Call, names: Names, span: Span) -> Piece | None:
        arguments: list[Piece] = []
        for argument in equals.arguments:
            term = _term(argument.value, names)
            if term is None:
                self._refuse(span, "an argument of this stage is not a number that optax takes")
                return None
            label = f"{argument.name.id}=" if argument.name else ""
            arguments.append(Labelled(label, _text(term)) if label else _text(term))
        return call(equals.function.span.text, *arguments)

    def _limited(self, stage: SpecStage, twin: Piece) -> Piece | None:
        if stage.domain == 0:
            return twin
        condition = self.spec.domains[stage.domain].predicate
        if _speaks_of(condition, "path") or _speaks_of(condition, "matches"):
            span = stage.syntax.span
            self._refuse(span, "a choice by path needs the names of the weights")
            return None
        self.masked = True
        mask = f"lambda tensor: {predicate_text(condition)}"
        return call("optax.masked", twin, f"lambda params: jax.tree.map({mask}, params)")


def _speaks_of(term: Term, op: str) -> bool:
    return term.op == op or any(_speaks_of(t, op) for t in term.terms)


_OPTAX = re.compile(r"optax(\.contrib)?\.[A-Za-z]\w*")
"""What a chain may call: nothing else of a spec becomes a name in the module."""


def _equals(decl: syntax.Node) -> syntax.Call | None:
    """What a rule claims to be, or what an external stage is, among the public names of optax."""
    match decl:
        case syntax.RuleDecl(equals=syntax.Call() as call) | syntax.ExternDecl(target=call):
            row = TABLE["optax"].get(call.function.span.text.removeprefix("optax."))
            takes_gradients = row is None or row.sort != "search"
            return call if _OPTAX.fullmatch(call.function.span.text) and takes_gradients else None
    return None


def _bound(
    params: tuple[syntax.Param, ...], arguments: tuple[syntax.Argument, ...], own: Names
) -> dict[str, Term]:
    """The parameters of a rule over those of the optimizer; what cannot be said is left out."""
    names = [p.name.id for p in params]
    places = iter(names)
    given = {(a.name.id if a.name else next(places)): a.value for a in arguments}
    bound: dict[str, Term] = {}
    for param in params:
        value = given.get(param.name.id)
        scope = own if value is not None else bound
        value = value if value is not None else param.default
        if value is not None and (term := _term(value, scope)) is not None:
            bound[param.name.id] = term
    return bound


def _term(expr: syntax.Expr, names: Names) -> Term | None:
    """An expression over numbers and known names; None for anything else."""
    term = parameters.term(expr)
    return None if term is None else _substituted(term, names)


def _substituted(term: Term, names: Names) -> Term | None:
    if term.op == "parameter":
        return names.get(str(term.arguments[0]))
    inner = [_substituted(t, names) for t in term.terms]
    if any(t is None for t in inner):
        return None
    return term if not inner else Term(op=term.op, arguments=tuple(t for t in inner if t))


def _text(term: Term) -> str:
    return term_text(term, lambda name: identifier(name, RESERVED))


def _parameter(parameter: Hyperparameter) -> str:
    name = identifier(parameter.name, RESERVED)
    if parameter.default is None:
        return name
    value = parameter.default
    return f"{name}={quoted(value) if isinstance(value, str) else repr(value)}"
