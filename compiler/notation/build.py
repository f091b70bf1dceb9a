"""From a graph to its algorithm box."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from ..graph import Graph, Node
from ..ops import OPS
from ..rearrange import words
from ..records import Group as GroupRecord
from ..records import Hyperparameter, Output
from .box import Assign, Body, Box, Count, Group, Input, Interval, Part, Report, State, parts
from .formula import literal, refused, tensors
from .lines import Lines
from .naming import Naming
from .statements import Line, Statements, end, stage_of, targets
from .tree import Infix, Symbol

_PAPER = re.compile(r"(arXiv:(\d{4}\.\d{4,5})|doi:(10\.[\w./()-]*\w))")

_CHOICES = ("merge", "where", "select", "item")
"""Ops whose formula is too tall to be subtracted from the weights in one line."""


def build(graph: Graph) -> Box:
    """The box of a graph: every hyperparameter, slot and stage is in it."""
    return _Builder(graph).box()


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._naming = Naming(graph)
        self._nodes = self._naming.nodes
        self._results = dict(zip(graph.outputs, graph.step.results, strict=True))
        labels = (stage.label.rpartition(".")[2] for stage in graph.stages)
        # A rate of 1 leaves no value, but the step is still its line's.
        self._last_tune = max((n for n, label in enumerate(labels) if label == "tune"), default=-1)

    def box(self) -> Box:
        """The whole box."""
        graph = self._graph
        title, _, notes = graph.doc.partition("\n")
        start = self._start()  # first, since the states' own lines speak of its values
        return Box(
            name=graph.name,
            file=graph.file,
            title=title.strip().removesuffix("."),
            notes=" ".join(notes.split()),
            papers=tuple(_papers(graph.doc)),
            inputs=tuple(self._input(each) for each in graph.hyperparameters),
            states=tuple(self._states()),
            groups=tuple(Group(each.name, _members(each)) for each in graph.groups),
            refusals=tuple(f"{refused(graph, each)}: {each.message}" for each in graph.refusals),
            start=start,
            step=self._step(),
            evaluation=self._evaluation(),
        )

    def _input(self, parameter: Hyperparameter) -> Input:
        default = parameter.default
        return Input(
            self._naming.parameters[parameter.name],
            parameter.name,
            None if default is None else literal(default),
            "" if parameter.kind == "float" else parameter.kind,
            _values(parameter),
        )

    def _start(self) -> Body:
        naming = self._naming
        naming.time = "0"
        region = self._graph.start
        literals = {node.id: False for node in region.nodes if node.op == "const"}
        made = Statements(naming, naming.lines(region, literals))
        lines: list[Line] = []
        for node in region.nodes:
            made.node(node, lines)
        return made.body(lines)

    def _states(self) -> Iterable[State]:
        for number, slot in enumerate(self._graph.slots):
            where = tensors(self._graph, slot.type.domain)
            notes = ", ".join(filter(None, (slot.dtype or "", f"for {where}" if where else "")))
            start = self._naming.use(self._graph.start.results[number])
            yield State(self._naming.at(number, "0"), start, slot.stage, slot.name, notes)

    # ---- a step

    def _step(self) -> Body:
        naming = self._naming
        naming.time = "t-1"
        made = Statements(naming, self._lines_of_step())
        lines: list[Line] = []
        for node in self._graph.step.nodes:
            made.node(node, lines)
            self._moved(node, lines)
        self._write_slots(lines)
        for output, result in self._results.items():
            if output.is_reported:
                stage = self._observation(output)
                word: Literal["report", "request"] = "report"
                if output.role == "requested":
                    word = "request"
                report = Report(output.name, naming.use(result), word)
                lines.insert(end(lines, stage), Line(stage, 0, report))
            if output.role == "applied":
                lines.append(Line(-1, 0, Count(naming.use(result))))
        return self._with_all_stages(made.body(lines))

    def _lines_of_step(self) -> Lines:
        """Results have lines of their own: a value that a state gets has the state's symbol."""
        wanted: dict[int, bool] = {}
        for output, result in self._results.items():
            node = self._nodes[result]
            once = self._graph.step.results.count(result) == 1
            match output.role:
                case "slot" | "weights" | "moved" if self._is_made(node) and result not in wanted:
                    wanted[result] = True
                    slot = output.index
                    is_slot = output.role == "slot"
                    new = self._naming.at(slot, "t") if is_slot else self._naming.weights_at("t")
                    self._naming.give(result, new)
                case "step" if node.op not in _CHOICES and once:
                    wanted[result] = False
        for output, result in self._results.items():
            node = self._nodes[result]
            if output.is_reported and node.name == output.name and node.op not in _CHOICES:
                wanted.setdefault(result, False)
        return self._naming.lines(self._graph.step, wanted)

    def _is_made(self, node: Node) -> bool:
        """Whether a value comes about in the step and has no symbol by its nature."""
        if node.op == "item":
            # The sides of a choice write to the state itself; a loop has variables.
            return self._nodes[node.inputs[0]].op != "loop"
        return OPS[node.op].op_class != "leaf" and node.op not in ("loss", "grad")

    def _moved(self, node: Node, lines: list[Line]) -> None:
        """The new weights, as soon as the step is known."""
        for output, result in self._results.items():
            if result != node.id or output.role not in ("step", "weights", "moved"):
                continue
            new, value = self._naming.weights_at("t"), self._naming.use(result)
            if output.role == "step":
                value = Infix("-", self._naming.weights_at("t-1"), value)
            if value != new:
                stage = stage_of(node, lines)
                if output.role == "step" and node.op != "item":
                    stage = max(stage, self._last_tune)
                lines.append(Line(stage, 0, Assign((new,), (value,))))

    def _write_slots(self, lines: list[Line]) -> None:
        """New values of slots that have another symbol already, or are literals."""
        for output, result in self._results.items():
            if output.role != "slot":
                continue
            new, value = self._naming.at(output.index, "t"), self._naming.use(result)
            if new == value:
                continue
            slot = self._graph.slots[output.index]
            stage = next(n for n, s in enumerate(self._graph.stages) if s.label == slot.stage)
            known = (p + 1 for p, line in enumerate(lines) if value in targets(line))
            place = max(end(lines, stage), *known, 0)
            lines.insert(place, Line(stage, slot.type.domain, Assign((new,), (value,))))

    def _observation(self, output: Output) -> int:
        word = "observe" if output.role == "observed" else "request"
        labels = [stage.label for stage in self._graph.stages]
        ends = (n for n, label in enumerate(labels) if label.endswith(f"{word} {output.name}"))
        return next(ends, -1)

    def _with_all_stages(self, body: Body) -> Body:
        """The body with a part, empty, for each stage that does nothing of its own."""
        shown = {part.stage for part in parts(body)}
        order = {stage: number for number, stage in enumerate(self._graph.stages)}
        made = list(body)
        for stage, number in order.items():
            if stage not in shown:
                later = (
                    place
                    for place, part in enumerate(made)
                    if part.stage is not None and order[part.stage] > number
                )
                made.insert(next(later, len(made)), Part(stage, ()))
        return tuple(made)

    def _evaluation(self) -> Body:
        region = self._graph.evaluation
        if region is None:
            return ()
        naming = self._naming
        naming.time = "t"
        (result,) = region.results
        made = Statements(naming, naming.lines(region, {result: False}))
        lines: list[Line] = []
        for node in region.nodes:
            made.node(node, lines)
        target: Symbol = naming.names.take(replace(naming.weights, below=("eval",)))
        averages = (n for n, s in enumerate(self._graph.stages) if s.label.startswith("average"))
        stage = max(self._nodes[result].stage, *averages, -1)
        lines.append(Line(stage, 0, Assign((target,), (naming.use(result),))))
        return made.body(lines)


def _members(group: GroupRecord) -> str:
    seen = f', seen as "{words(group.view)}"' if group.view else ""
    return (group.where or "the others") + seen


def _values(parameter: Hyperparameter) -> Interval | None:
    low, high = parameter.low, parameter.high
    if low is None and high is None:
        return None
    return Interval(
        literal(-float("inf") if low is None else low),
        literal(float("inf") if high is None else high),
        "(" if parameter.low_open or low is None else "[",
        ")" if parameter.high_open or high is None else "]",
    )


def _papers(doc: str) -> Iterable[tuple[str, str]]:
    for name, arxiv, doi in dict.fromkeys(_PAPER.findall(doc)):
        address = f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://doi.org/{doi}"
        yield name, address
