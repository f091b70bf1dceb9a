"""From a graph to its algorithm box."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ..graph import Graph, Node, Region, index
from ..ops import OPS
from ..records import Hyperparameter, Slot
from .box import (
    Assign,
    Body,
    Box,
    Count,
    Group,
    If,
    Input,
    Interval,
    Let,
    Part,
    Repeat,
    Report,
    State,
    Statement,
    Where,
    parts,
    statements,
)
from .formula import Formulas, literal, tensors
from .lines import Lines, is_debiased
from .symbols import Names, symbol
from .tree import Cases, Formula, Infix, Symbol, Time, symbols

_PAPER = re.compile(r"(arXiv:(\d{4}\.\d{4,5})|doi:(10\.[\w./()-]*\w))")

_CHOICES = ("merge", "where", "select", "item")
"""Ops whose formula is too tall to be subtracted from the weights in one line."""


@dataclass(frozen=True)
class _Line:
    """A statement with the line of the spec and the tensors that it belongs to."""

    stage: int
    domain: int
    statement: Statement


def build(graph: Graph) -> Box:
    """The box of a graph: every hyperparameter, slot and stage is in it."""
    return _Builder(graph).box()


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = index(graph)
        self._formulas = Formulas(graph, self._nodes, self._known)
        self._names = Names()
        self._symbols: dict[int, Formula] = {}
        self._constants: dict[tuple[str, float], Symbol] = {}
        self._time: Time = "0"
        self._weights = self._names.take(symbol("w"))
        self._count = self._names.take(Symbol("t"))
        self._names.take(Symbol("L"))
        self._parameters = {
            h.name: self._names.take(symbol(h.name, "hyperparameter"))
            for h in graph.hyperparameters
        }
        self._slots = [self._slot_symbol(slot) for slot in graph.slots]
        self._results = dict(zip(graph.outputs, graph.step.results, strict=True))
        self._lines = self._lines_of_step()

    def box(self) -> Box:
        """The whole box."""
        graph = self._graph
        title, _, notes = graph.doc.partition("\n")
        return Box(
            name=graph.name,
            file=graph.file,
            title=title.strip().removesuffix("."),
            notes=" ".join(notes.split()),
            papers=tuple(_papers(graph.doc)),
            inputs=tuple(self._input(h) for h in graph.hyperparameters),
            states=tuple(self._states()),
            groups=tuple(
                Group(
                    g.name,
                    (g.where or "the others") + (f', seen as "{g.view.pattern}"' if g.view else ""),
                )
                for g in graph.groups
            ),
            refusals=tuple(
                f"{tensors(graph, r.domain) or 'any tensor'}: {r.message}" for r in graph.refusals
            ),
            step=self._step(),
            evaluation=self._evaluation(),
        )

    # ---- what is there before the first step

    def _slot_symbol(self, slot: Slot) -> Symbol:
        group = slot.stage.rpartition(".")[0]
        return self._names.take(symbol(slot.name, "state"), group)

    def _input(self, parameter: Hyperparameter) -> Input:
        default = parameter.default
        return Input(
            self._parameters[parameter.name],
            parameter.name,
            None if default is None else literal(default),
            "" if parameter.kind == "float" else parameter.kind,
            _values(parameter),
        )

    def _states(self) -> Iterable[State]:
        for number, slot in enumerate(self._graph.slots):
            where = tensors(self._graph, slot.type.domain)
            what = [slot.dtype or "", f"for {where}" if where else ""]
            start = self._formulas.use(self._graph.start.results[number])
            yield State(
                self._at(number, "0"), start, slot.stage, slot.name, ", ".join(filter(None, what))
            )

    def _at(self, slot: int, time: Time) -> Symbol:
        """The symbol of a slot at a time; one that never changes has none."""
        written = next(
            self._nodes[result]
            for output, result in self._results.items()
            if output.role == "slot" and output.index == slot
        )
        kept = written.op == "state" and written["name"] == slot
        return self._slots[slot] if kept else replace(self._slots[slot], time=time)

    # ---- a step

    def _lines_of_step(self) -> Lines:
        wanted: dict[int, bool] = {}
        top = {node.id: node for node in self._graph.step.nodes}
        for output, result in self._results.items():
            node = top[result]
            leaf = OPS[node.op].op_class == "leaf" or node.op in ("loss", "grad")
            if node.op == "item" and top[node.inputs[0]].op != "loop":
                leaf = False  # the sides of a choice write the state itself
            once = self._graph.step.results.count(result) == 1
            match output.role:
                case "slot" | "weights" if not leaf:
                    wanted[result] = True
                    if result not in self._symbols:
                        self._symbols[result] = (
                            self._at(output.index, "t")
                            if output.role == "slot"
                            else replace(self._weights, time="t")
                        )
                case "step" if node.op not in _CHOICES and once:
                    wanted[result] = False
        for output, result in self._results.items():
            node = top[result]
            if output.role == "observed" and node.name == output.name and node.op not in _CHOICES:
                wanted.setdefault(result, False)
        return Lines(self._graph, self._nodes, self._graph.step, wanted)

    def _step(self) -> Body:
        self._time = "t-1"
        lines: list[_Line] = []
        for node in self._graph.step.nodes:
            self._node(node, lines)
            self._moved(node, lines)
        self._write_slots(lines)
        for output, result in self._results.items():
            if output.role == "observed":
                stage = self._observation(output.name)
                report = Report(output.name, self._formulas.use(result))
                lines.insert(_end(lines, stage), _Line(stage, 0, report))
            if output.role == "applied":
                lines.append(_Line(-1, 0, Count(self._formulas.use(result))))
        return self._with_all_stages(self._body(lines))

    def _moved(self, node: Node, lines: list[_Line]) -> None:
        """The new weights, as soon as the step is known."""
        for output, result in self._results.items():
            if result != node.id or output.role not in ("step", "weights"):
                continue
            new = replace(self._weights, time="t")
            value = self._formulas.use(result)
            if output.role == "step":
                value = Infix("-", replace(self._weights, time="t-1"), value)
            if value != new:
                lines.append(_Line(_stage(node, lines), 0, Assign((new,), (value,))))

    def _write_slots(self, lines: list[_Line]) -> None:
        """New values of slots that have another symbol already, or are literals."""
        for output, result in self._results.items():
            if output.role != "slot":
                continue
            new, value = self._at(output.index, "t"), self._formulas.use(result)
            if new == value:
                continue
            label = self._graph.slots[output.index].stage
            stage = next(n for n, s in enumerate(self._graph.stages) if s.label == label)
            known = (p + 1 for p, line in enumerate(lines) if value in _targets(line))
            place = max(_end(lines, stage), *known, 0)
            domain = self._graph.slots[output.index].type.domain
            lines.insert(place, _Line(stage, domain, Assign((new,), (value,))))

    def _observation(self, name: str) -> int:
        labels = [stage.label for stage in self._graph.stages]
        ends = (n for n, label in enumerate(labels) if label.endswith(f"observe {name}"))
        return next(ends, -1)

    def _evaluation(self) -> Body:
        region = self._graph.evaluation
        if region is None:
            return ()
        self._time = "t"
        self._lines = Lines(self._graph, self._nodes, region, {})
        lines: list[_Line] = []
        for node in region.nodes:
            self._node(node, lines)
        (result,) = region.results
        target = self._names.take(replace(self._weights, below=("eval",)))
        stage = self._nodes[result].stage
        lines.append(_Line(stage, 0, Assign((target,), (self._formulas.use(result),))))
        return self._body(lines)

    # ---- values

    def _known(self, node: Node) -> Formula | None:
        if node.id in self._symbols:
            return self._symbols[node.id]
        match node.op:
            case "parameter":
                return self._parameters[str(node["name"])]
            case "state":
                return self._at(int(node["name"]), self._time)
            case "input" if node["name"] == "t":
                return self._count
            case "input":
                return replace(self._weights, time=self._time)
            case "const":
                return literal(node["value"])
            case _:
                return None

    def _node(self, node: Node, lines: list[_Line]) -> None:
        match node.op:
            case "if":
                self._if(node, lines)
            case "loop":
                self._repeat(node, lines)
            case "extern":
                targets = [self._name(item) for item in self._items(node).values()]
                made = Assign(tuple(targets), (self._formulas.of(node),))
                self._add(node, made, lines)
            case "const" if node.id in self._lines:
                self._let(node, lines)
            case "item" | "const" | "argument":
                pass
            case _ if node.id in self._lines:
                drawn = OPS[node.op].notation[0] == "sample"
                value = self._written(node)
                target = self._name(node)
                self._add(node, Assign((target,), (value,), drawn), lines)

    def _written(self, node: Node) -> Formula:
        """A value written out although it has a symbol already."""
        held = self._symbols.pop(node.id, None)
        value = self._formulas.of(node)
        if held is not None:
            self._symbols[node.id] = held
        return value

    def _name(self, node: Node) -> Symbol:
        """The symbol of a value with a line, given when the line is reached."""
        if node.id not in self._symbols:
            self._symbols[node.id] = self._new_symbol(node)
        found = self._symbols[node.id]
        assert isinstance(found, Symbol)
        return found

    def _new_symbol(self, node: Node) -> Symbol:
        if is_debiased(node, self._nodes):
            biased = self._formulas.use(node.inputs[0])
            if isinstance(biased, Symbol) and not biased.accent:
                return self._names.take(replace(biased, accent="hat"))
        if node.name is None:
            return self._names.spare()
        group = self._graph.stages[node.stage].group if node.stage >= 0 else ""
        return self._names.take(symbol(node.name), group)

    def _let(self, node: Node, lines: list[_Line]) -> None:
        value = node["value"]
        assert node.name is not None
        assert not isinstance(value, str)
        key = (node.name, float(value))
        known = key in self._constants
        if not known:
            self._constants[key] = self._names.take(symbol(node.name, "hyperparameter"))
        self._symbols[node.id] = self._constants[key]
        if known:
            return
        pair = (self._constants[key], literal(value))
        last = lines[-1] if lines else None
        if last and last.stage == node.stage and isinstance(last.statement, Let):
            lines[-1] = replace(last, statement=Let((*last.statement.constants, pair)))
        else:
            lines.append(_Line(node.stage, 0, Let((pair,))))

    # ---- control flow

    def _items(self, source: Node) -> dict[int, Node]:
        """The values that are read of a node with several results, by their number."""
        return {
            int(node["index"]): node
            for node in self._nodes.values()
            if node.op == "item" and node.inputs == (source.id,)
        }

    def _if(self, node: Node, lines: list[_Line]) -> None:
        items = self._items(node)
        condition = self._formulas.use(node.inputs[0])
        if not any(region.nodes for region in node.regions):
            then, otherwise = (region.results for region in node.regions)
            for number, item in items.items():
                chosen = self._formulas.use(then[number]), condition
                value = Cases((chosen,), self._formulas.use(otherwise[number]))
                self._add(node, Assign((self._name(item),), (value,)), lines)
            return
        targets = {number: self._name(item) for number, item in items.items()}
        stage = _stage(node, lines)
        sides = [self._side(region, targets, stage) for region in node.regions]
        self._add(node, If(condition, *sides), lines)

    def _side(self, region: Region, targets: dict[int, Symbol], stage: int) -> Body:
        own = {n.id for n in region.nodes}
        for number, target in targets.items():
            result = region.results[number]
            if result in own and result in self._lines and result not in self._symbols:
                self._symbols[result] = target
        lines: list[_Line] = []
        known: list[_Line] = []
        for node in region.nodes:
            self._node(node, lines)
        for number, target in targets.items():
            result = self._nodes[region.results[number]]
            value = self._formulas.use(result.id)
            if value == target or result.op == "nan":
                continue
            assign = _Line(stage, self._place(result), Assign((target,), (value,)))
            if result.id in own and any(symbols(value)):
                lines.append(replace(assign, stage=_stage(result, lines)))
            else:
                known.append(assign)
        return self._body([*known, *lines])

    def _repeat(self, node: Node, lines: list[_Line]) -> None:
        body, *conditions = node.regions
        count, *initial = (self._formulas.use(i) for i in node.inputs)
        index, *carried = body.arguments
        items = self._items(node)
        self._symbols[index] = self._names.take(Symbol("i"))
        variables = []
        for number, (argument, value) in enumerate(zip(carried, initial, strict=True)):
            item = items.get(number, self._nodes[argument])
            if self._is_only_started(node.inputs[number + 1]) and item.id not in self._symbols:
                self._symbols[item.id] = value
            variable = self._name(item)
            self._symbols[argument] = variable
            for condition in conditions:
                self._symbols[condition.arguments[number]] = variable
            variables.append(variable)
            if variable != value:
                self._add(node, Assign((variable,), (value,)), lines)
        tested = self._formulas.use(conditions[0].results[0]) if conditions else None
        rounds: list[_Line] = []
        for inner in body.nodes:
            self._node(inner, rounds)
        changed = [
            (variable, value)
            for variable, result in zip(variables, body.results, strict=True)
            if (value := self._formulas.use(result)) != variable
        ]
        if changed:
            targets, values = zip(*changed, strict=True)
            self._add(node, Assign(targets, values), rounds)
        self._add(node, Repeat(count, tested, self._body(rounds)), lines)

    def _is_only_started(self, id: int) -> bool:
        """Whether a value with a line has no other use than to be what a loop begins with."""
        return id in self._lines and self._lines.uses[id] == 1 and self._nodes[id].op != "const"

    # ---- arranging

    def _add(self, node: Node, statement: Statement, lines: list[_Line]) -> None:
        lines.append(_Line(_stage(node, lines), self._place(node), statement))

    def _place(self, node: Node) -> int:
        """The tensors that a value is about: a number is about those that it was reduced from."""
        if node.type.is_field:
            return node.type.domain
        places = [self._place(self._nodes[i]) for i in node.inputs if i not in self._lines]
        fields = (self._nodes[i].type for i in node.inputs)
        places += [type.domain for type in fields if type.is_field]
        if deepest := max(places, default=0):
            return deepest
        return self._graph.stages[node.stage].domain if node.stage >= 0 else 0

    def _body(self, lines: Sequence[_Line]) -> Body:
        """Lines of one stage as a part, lines about the same tensors under one heading."""
        made: list[Part] = []
        for stage, run in groupby(lines, lambda line: line.stage):
            statements: list[Statement] = []
            for words, inside in groupby(run, lambda line: tensors(self._graph, line.domain)):
                own = tuple(line.statement for line in inside)
                statements.extend((Where(words, own),) if words else own)
            line = self._graph.stages[stage] if stage >= 0 else None
            made.append(Part(line, tuple(statements)))
        return tuple(made)

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


def _stage(node: Node, lines: Sequence[_Line]) -> int:
    """The stage of a value; what joins others, and has none, goes with the line before it."""
    return node.stage if node.stage >= 0 or not lines else lines[-1].stage


def _end(lines: Sequence[_Line], stage: int) -> int:
    """Where the lines of a stage end, or would stand."""
    own = [place for place, line in enumerate(lines) if line.stage == stage]
    later = (place for place, line in enumerate(lines) if line.stage > stage)
    return own[-1] + 1 if own else next(later, len(lines))


def _targets(line: _Line) -> set[Symbol]:
    """What a line, or a line in it, gives a value to."""
    every = statements((Part(None, (line.statement,)),))
    return {target for each in every if isinstance(each, Assign) for target in each.targets}


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
