"""An optimizer as a review sees it: its lines, groups, parameters, states and costs.

Everything here is said by the spec or known from its graph, without the layout of the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ...grammar import syntax
from ...grammar.layout import inline
from ...grammar.literals import quote
from ..declarations import Declarations, Found
from ..graph import Graph
from ..records import Group, Hyperparameter, Slot, View
from ..spec import Spec, SpecObserve, SpecStage
from . import calls


@dataclass(frozen=True)
class Argument:
    """An argument of a stage: `value` as the spec means it, `text` as it says it."""

    name: str
    text: str
    value: syntax.Expr


@dataclass(frozen=True)
class Line:
    """A stage: `rule` is the name of what it does, empty where it is an expression.

    `text` is the rule as the spec says it, `value` as it is meant. `where` is empty for all.
    """

    kind: str
    label: str
    rule: str
    text: str
    value: syntax.Expr
    arguments: tuple[Argument, ...]
    where: str
    condition: syntax.Expr | None
    place: str

    @property
    def shown(self) -> str:
        """The rule and its tensors."""
        return f"{self.text} where {self.where}" if self.where else self.text


@dataclass(frozen=True)
class Block:
    """A group with its lines."""

    group: Group
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """What the group is called."""
        return self.group.name

    @property
    def view(self) -> str:
        """The arrangement of axes as the spec says it, empty without one."""
        return _view(self.group.view)

    @property
    def shown(self) -> str:
        """The line that opens the group."""
        where = f" where {self.group.where}" if self.group.where else ""
        word = "view " if self.group.view and self.group.view.pattern else ""
        view = f" {word}{self.view}" if self.view else ""
        return f"{self.name}{where}{view}"


Element = Line | Block


@dataclass(frozen=True)
class Observation:
    """A reported number; `word` is observe or request, `group` is empty outside of groups."""

    name: str
    word: str
    text: str
    value: syntax.Expr
    every: str
    group: str


@dataclass(frozen=True)
class Outline:
    """One optimizer."""

    name: str
    doc: str
    claim: str
    assertions: tuple[str, ...]
    lifting: str
    hyperparameters: tuple[Hyperparameter, ...]
    elements: tuple[Element, ...]
    observations: tuple[Observation, ...]
    declarations: calls.Reached
    slots: tuple[Slot, ...]
    warnings: tuple[str, ...]
    graph: Graph


def outline(spec: Spec, graph: Graph, warnings: tuple[str, ...]) -> Outline:
    """What a review sees of a spec, of its graph, and of what `check` warns of."""
    return Outline(
        name=spec.name,
        doc=spec.doc,
        claim=inline(spec.equals) if spec.equals is not None else "",
        assertions=tuple(each.text for each in spec.assertions),
        lifting="" if spec.lifting == "auto" else spec.lifting,
        hyperparameters=graph.hyperparameters,
        elements=(
            *_lines(spec.before),
            *(Block(group.declared, _lines(group.stages)) for group in spec.groups),
            *_lines(spec.after),
        ),
        observations=tuple(map(_observation, spec.observes)),
        declarations=_declarations(spec),
        slots=graph.slots,
        warnings=warnings,
        graph=graph,
    )


def _lines(stages: Iterable[SpecStage]) -> tuple[Line, ...]:
    return tuple(map(_line, stages))


def _line(stage: SpecStage) -> Line:
    said, scope = stage.syntax, stage.declarations
    call, callee = _callee(stage)
    value = calls.meant(said.rule, scope, stage.kind)
    rule = ""
    arguments: tuple[Argument, ...] = ()
    if call is not None and callee is not None:
        value = calls.named(call, callee[1])
        rule = callee[1].decl.name.id
        arguments = tuple(_argument(a, scope, stage.kind) for a in value.arguments)
    where = "" if said.where is None else inline(said.where)
    kind = "tune step" if stage.kind == "tune" else stage.kind
    place = said.span.place
    text = inline(said.rule)
    return Line(kind, stage.label, rule, text, value, arguments, where, said.where, place)


def _argument(argument: syntax.Argument, scope: Declarations, kind: str) -> Argument:
    name = argument.name.id if argument.name else ""
    return Argument(name, inline(argument.value), calls.meant(argument.value, scope, kind))


def _callee(stage: SpecStage) -> tuple[syntax.Call | None, tuple[str, Found] | None]:
    """The call that a stage is, and what it names; an expression is no call."""
    call = calls.as_call(stage.syntax.rule)
    if call is None or not isinstance(call.function, syntax.Name):
        return call, None
    if stage.kind == "tune":
        # A name alone is a hyperparameter, and what is called may be a schedule.
        is_name = isinstance(stage.syntax.rule, syntax.Name)
        return call, None if is_name else calls.found(call, stage.declarations, "tune")
    rule = stage.declarations.find(stage.kind, call.function.id)
    return call, None if rule is None else (stage.kind, rule)


def _observation(observe: SpecObserve) -> Observation:
    said = observe.syntax
    every = "" if said.every is None else inline(said.every)
    value = calls.meant(said.value, observe.declarations, "observe")
    return Observation(observe.name, said.word, inline(said.value), value, every, observe.group)


def _declarations(spec: Spec) -> calls.Reached:
    """Every rule, schedule and function that the optimizer is made of."""
    reached: calls.Reached = {}
    inside = (stage for group in spec.groups for stage in group.stages)
    for stage in (*spec.before, *inside, *spec.after):
        _, callee = _callee(stage)
        if callee is not None:
            calls.enter(*callee, reached)
        calls.reach(stage.syntax.rule, stage.declarations, stage.kind, reached)
    for observe in spec.observes:
        calls.reach(observe.syntax.value, observe.declarations, "observe", reached)
    return reached


def _view(view: View | None) -> str:
    if view is None:
        return ""
    sizes = ", ".join(f"{name} = {size}" for name, size in view.sizes)
    shown = [quote(view.pattern)] if view.pattern else []
    shown += [f"with ({sizes})"] if sizes else []
    shown += [f"blocks of {view.blocks}"] if view.blocks is not None else []
    return " ".join(shown)
