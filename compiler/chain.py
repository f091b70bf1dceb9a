"""A spec as optax's own transformations, where every stage has a twin.

Twins are the claims `equals optax.f(...)` of rules and schedules, which the test suite holds, and
what `extern` names. Groups become `optax.partition`, a `where` becomes `optax.masked`. What optax
cannot say so (oracles, averages) is refused, unless the optimizer claims a twin as a whole.
"""

import re
from collections.abc import Iterable, Mapping

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare
from ..grammar.source import Span
from . import parameters
from .predicate import parameters as parameters_of
from .predicate import python as predicate_text
from .printing.hints import RESERVED, identifier
from .printing.layout import (
    INDENT,
    Labelled,
    Piece,
    call,
    docstring,
    flat,
    lines,
    mapping,
    tuple_of,
)
from .printing.terms import term_text
from .quoting import quoted
from .records import Hyperparameter, Term
from .spec import Spec, SpecGroup, SpecStage
from .transformations import TABLE

NO_TWIN = declare(
    "no-optax-twin",
    "a stage that optax has no transformation for",
    """
    `--emit optax` prints a spec as `optax.chain(...)`. Every stage must name a rule or a schedule
    that says `equals optax.f(...)`, or an `extern`, and its arguments must be numbers, parameters
    of the optimizer, or arithmetic over these; otherwise the optimizer itself must say what it
    equals. The compiled module has no such limits.
    """,
)

Names = Mapping[str, Term]
"""What the parameters of a rule stand for, over the parameters of the optimizer."""

_TENSOR = {
    "path": "path",
    "rows": "(1, 1, *tensor.shape)[-2]",
    "cols": "(1, 1, *tensor.shape)[-1]",
}
"""How a predicate asks an array with its path for what arrays do not have themselves."""


def chain_text(spec: Spec, report: Diagnostics) -> str | None:
    """The module that builds the chain, or None where a stage has no twin."""
    found = Diagnostics()
    chain = _Chain(spec, found)
    transformation = chain.transformation()
    if found.has_errors and spec.equals is not None and _is_optax(spec.equals):
        chain = _Chain(spec, report)
        transformation = chain.twin(spec.equals, chain.own, spec.span)
    else:
        for finding in found:
            report.add(finding)
    return None if report.has_errors or transformation is None else chain.module(transformation)


class _Chain:
    def __init__(self, spec: Spec, report: Diagnostics) -> None:
        self.spec = spec
        self.report = report
        names = [p.name for p in spec.hyperparameters]
        self.own = {name: Term(op="parameter", arguments=(name,)) for name in names}
        self.choices: dict[str, list[str]] = {}
        # From its rate on the signal of optax is minus the step; stages that follow see the step.
        self.turned_late = _goes_on(spec)

    def module(self, transformation: Piece) -> str:
        """The text of a module whose one function returns the transformation."""
        spec = self.spec
        summary = spec.doc or f"The optimizer `{spec.name}`."
        head = docstring(
            f"{summary}\n\nThe stages of `{spec.file}` as optax's own transformations."
        )
        choices = [row for rows in self.choices.values() for row in ("", "", *rows)]
        body = "\n".join(choices)
        imports = ["import re", ""] if "re.search(" in body else []
        imports += ["import jax"] if choices else []
        name = identifier(spec.name, {*RESERVED, *self.choices})
        signature = lines(call(f"def {name}", *map(_parameter, spec.hyperparameters)), 0, "", ":")
        returned = lines(transformation, 1, "return ")
        rows = [*head, "", *imports, "import optax", *choices, "", "", *signature, *returned]
        return "\n".join(rows) + "\n"

    def transformation(self) -> Piece | None:
        """All stages in order, the groups as one of them."""
        spec = self.spec
        links = [*map(self._link, spec.before)]
        links += [self._partition(spec.groups)] if spec.groups else []
        links += map(self._link, spec.after)
        links += ["optax.scale(-1.0)"] if self.turned_late else []
        return None if self.report.has_errors else _chained(links)

    def _refuse(self, span: Span, message: str) -> None:
        self.report.add(NO_TWIN.at(span, message, label="no twin"))

    # ---- stages

    def _link(self, stage: SpecStage, within: int = 0) -> Piece | None:
        piece = self._rate(stage) if stage.kind == "tune" else self._named(stage)
        return piece if piece is None or stage.domain == within else self._masked(stage, piece)

    def _named(self, stage: SpecStage) -> Piece | None:
        """The twin of a stage that names a rule or an external one."""
        twin = self._claimed(stage, stage.kind, stage.syntax.rule)
        if twin is None:
            self._refuse(stage.syntax.rule.span, "this stage has no twin in optax")
        return twin

    def _rate(self, stage: SpecStage) -> Piece | None:
        rule = stage.syntax.rule
        if (rate := self._scalar(stage, rule)) is not None:
            flip = ["flip_sign=False"] if self.turned_late else []
            return call("optax.scale_by_learning_rate", rate, *flip)
        if stage.index > 0 or self.turned_late:
            self._refuse(rule.span, "this step size has no twin in optax")
            return None
        return self._named(stage)

    def _scalar(self, stage: SpecStage, rule: syntax.Expr) -> Piece | None:
        """A number, a schedule that claims to be one of optax's, or the product of both."""
        if (number := _term(rule, self.own)) is not None:
            return _text(number)
        if isinstance(rule, syntax.Binary) and rule.op == "*":
            for factor, schedule in ((rule.left, rule.right), (rule.right, rule.left)):
                number = _term(factor, self.own)
                piece = self._claimed(stage, "schedule", schedule)
                if number is not None and piece is not None:
                    return f"lambda count: {_text(number, 12)} * {flat(piece)}(count)"
        return self._claimed(stage, "schedule", rule)

    def _claimed(self, stage: SpecStage, kind: str, rule: syntax.Expr) -> Piece | None:
        function = rule.function if isinstance(rule, syntax.Call) else rule
        if not isinstance(function, syntax.Name):
            return None
        found = stage.declarations.find(kind, function.id)
        equals = _equals(found.decl) if found else None
        if found is None or equals is None:
            return None
        arguments = rule.arguments if isinstance(rule, syntax.Call) else ()
        return self.twin(equals, _bound(found.decl.params, arguments, self.own), rule.span)

    def twin(self, equals: syntax.Call, names: Names, span: Span) -> Piece | None:
        """A claim as a call, over the parameters of the optimizer."""
        arguments: list[Piece] = []
        for argument in equals.arguments:
            piece = self._argument(argument.value, names, span)
            if piece is None:
                return None
            arguments.append(Labelled(f"{argument.name.id}=", piece) if argument.name else piece)
        return call(equals.function.span.text, *arguments)

    def _argument(self, value: syntax.Expr, names: Names, span: Span) -> Piece | None:
        if isinstance(value, syntax.Call) and _is_optax(value):
            return self.twin(value, names, span)
        if isinstance(value, syntax.Call) and value.function.span.text == "tuple":
            parts = [self._argument(a.value, names, span) for a in value.arguments]
            return None if None in parts else tuple_of([p for p in parts if p is not None])
        term = _term(value, names)
        if term is None:
            self._refuse(span, "an argument of this stage is not a number that optax takes")
        return None if term is None else _text(term)

    # ---- tensors

    def _masked(self, stage: SpecStage, twin: Piece) -> Piece:
        domain = self.spec.domains[stage.domain]
        rows = [f"{INDENT}return {_condition(domain.predicate)}"]
        mask = self._chooser(f"in_{domain.name}", [domain.predicate], rows)
        return call("optax.masked", twin, mask)

    def _partition(self, groups: tuple[SpecGroup, ...]) -> Piece | None:
        entries = []
        for group in groups:
            if group.declared.view is not None:
                self._refuse(self.spec.span, f"optax has no view for the group `{group.name}`")
            links = [self._link(stage, group.domain) for stage in group.stages]
            if not self.report.has_errors:
                entries.append((group.name, _chained(links)))
        rows = []
        for group in groups:
            answer = f"return {quoted(group.name)}"
            if group.declared.predicate is None:
                rows.append(INDENT + answer)
                break
            condition = _condition(group.declared.predicate)
            rows += [f"{INDENT}if {condition}:", INDENT * 2 + answer]
        else:
            rows += lines(call("ValueError", 'f"`{path}` falls into no group"'), 1, "raise ")
        conditions = [g.declared.predicate for g in groups if g.declared.predicate is not None]
        labels = self._chooser("group_of", conditions, rows)
        return None if self.report.has_errors else call("optax.partition", mapping(entries), labels)

    def _chooser(self, name: str, conditions: list[Term], rows: list[str]) -> Piece:
        """What asks a function of the module, which decides on each tensor and its path."""
        asked = dict.fromkeys(p for condition in conditions for p in parameters_of(condition))
        parameters = "".join(f", {_name(parameter)}" for parameter in asked)
        path = 'path = jax.tree_util.keystr(keys, simple=True, separator="/")'
        read = [INDENT + path] if any("path" in row for row in rows) else []
        self.choices[name] = [f"def {name}(keys, tensor{parameters}):", *read, *rows]
        function: Piece = name
        if asked:
            function = Labelled("lambda keys, tensor: ", f"{name}(keys, tensor{parameters})")
        mapped = call("jax.tree_util.tree_map_with_path", function, "params")
        return Labelled("lambda params: ", mapped)


def _goes_on(spec: Spec) -> bool:
    """Whether a stage follows a step size."""
    outside = (*spec.before, *spec.after)
    tuned = (stage for row in (outside, *(g.stages for g in spec.groups)) for stage in row[:-1])
    behind_groups = bool(spec.groups and spec.after and spec.after[-1].kind != "tune")
    return behind_groups or any(stage.kind == "tune" for stage in tuned)


def _chained(links: Iterable[Piece | None]) -> Piece:
    pieces = [link for link in links if link is not None]
    return pieces[0] if len(pieces) == 1 else call("optax.chain", *pieces)


def _condition(term: Term) -> str:
    return predicate_text(
        term,
        ask=lambda name: _TENSOR.get(name, f"tensor.{name}"),
        search="bool(re.search({1}, {0}))",
        read=_name,
    )


def _name(parameter: str) -> str:
    """A parameter of the optimizer in the module, which has names of its own."""
    return identifier(parameter, {*RESERVED, "keys", "tensor", "path", "params"})


_OPTAX = re.compile(r"optax(\.contrib)?\.[A-Za-z]\w*")
"""What a chain may call: nothing else of a spec becomes a name in the module."""


def _is_optax(called: syntax.Call) -> bool:
    return _OPTAX.fullmatch(called.function.span.text) is not None


def _equals(decl: syntax.Node) -> syntax.Call | None:
    """What an item claims to be, or what an external stage is, among the public names of optax."""
    match decl:
        case (
            syntax.RuleDecl(equals=syntax.Call() as called)
            | syntax.ScheduleDecl(equals=syntax.Call() as called)
            | syntax.ExternDecl(target=called)
        ):
            row = TABLE["optax"].get(called.function.span.text.removeprefix("optax."))
            takes_gradients = row is None or row.sort != "search"
            return called if _is_optax(called) and takes_gradients else None
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


def _text(term: Term, binding: int = 0) -> str:
    return term_text(term, _name, binding)


def _parameter(parameter: Hyperparameter) -> str:
    name = _name(parameter.name)
    if parameter.default is None:
        return name
    value = parameter.default
    return f"{name}={quoted(value) if isinstance(value, str) else repr(value)}"
