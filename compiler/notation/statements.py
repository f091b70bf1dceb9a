"""The statements of a region: assignments, choices and loops, arranged by lines of the spec."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ..graph import Node, Region
from ..ops import OPS
from .box import (
    Assign,
    Body,
    Each,
    Examples,
    If,
    Let,
    Part,
    Repeat,
    Statement,
    Stop,
    Turns,
    Where,
    statements,
)
from .formula import literal, tensors
from .lines import Lines
from .naming import Naming
from .tree import Cases, Formula, Symbol, symbols


@dataclass(frozen=True)
class Line:
    """A statement with the line of the spec and the tensors that it belongs to."""

    stage: int
    domain: int
    statement: Statement


class Statements:
    """Makes statements of the nodes of one top region."""

    def __init__(self, naming: Naming, lined: Lines) -> None:
        self._naming = naming
        self._lined = lined
        self._graph = naming.graph
        self._nodes = naming.nodes
        self._items: dict[int, dict[int, Node]] = {}
        for node in self._nodes.values():
            if node.op == "item":
                self._items.setdefault(node.inputs[0], {})[int(node["index"])] = node

    def node(self, node: Node, lines: list[Line]) -> None:
        """What a node has to say, if anything."""
        match node.op:
            case "if":
                self._if(node, lines)
            case "loop":
                self._repeat(node, lines)
            case "stagger":
                self._turns(node, lines)
            case "extern":
                targets = [self._naming.of(item) for item in self._results(node).values()]
                self._add(node, Assign(tuple(targets), (self._naming.written(node),)), lines)
            case "const" if node.id in self._lined:
                self._let(node, lines)
            case "item" | "const" | "argument":
                pass
            case _:
                self._examples(node, lines)
                self._value(node, lines)

    def _value(self, node: Node, lines: list[Line]) -> None:
        if node.id in self._lined:
            drawn = OPS[node.op].notation[0] == "sample"
            value = self._naming.written(node)
            self._add(node, Assign((self._naming.of(node),), (value,), drawn), lines)

    def _examples(self, node: Node, lines: list[Line]) -> None:
        """What functions of one value need, where they are more than a formula."""
        for region in node.regions:
            made: list[Line] = []
            for inner in region.nodes:
                self.node(inner, made)
            if made:
                argument = self._nodes[region.arguments[0]]
                each: Each = "field" if argument.type.is_field else "node"
                each = "example" if node.op == "per_example_mean" else each
                body = self.body(made, self._place(node))
                self._add(node, Examples(self._naming.of(argument), body, each), lines)

    def _results(self, source: Node) -> dict[int, Node]:
        """The values that are read of a node with several results, by their number."""
        return self._items.get(source.id, {})

    def _let(self, node: Node, lines: list[Line]) -> None:
        symbol, is_new = self._naming.constant(node)
        if not is_new:
            return
        pair = (symbol, literal(node["value"]))
        last = lines[-1] if lines else None
        if last and last.stage == node.stage and isinstance(last.statement, Let):
            lines[-1] = replace(last, statement=Let((*last.statement.constants, pair)))
        else:
            lines.append(Line(node.stage, 0, Let((pair,))))

    # ---- control flow

    def _if(self, node: Node, lines: list[Line]) -> None:
        items = self._results(node)
        condition = self._naming.use(node.inputs[0])
        if not any(region.nodes for region in node.regions):
            then, otherwise = (region.results for region in node.regions)
            for number, item in items.items():
                chosen = self._naming.use(then[number]), condition
                value = Cases((chosen,), self._naming.use(otherwise[number]))
                self._add(node, Assign((self._naming.of(item),), (value,)), lines)
            return
        targets = {number: self._naming.of(item) for number, item in items.items()}
        at = stage_of(node, lines), self._place(node)
        then_side, other_side = (self._side(region, targets, *at) for region in node.regions)
        self._add(node, If(condition, then_side, other_side), lines)

    def _side(self, region: Region, targets: dict[int, Symbol], stage: int, within: int) -> Body:
        own = {n.id for n in region.nodes}
        for number, target in targets.items():
            result = self._nodes[region.results[number]]
            if result.id in own and result.id in self._lined and not self._naming.has(result):
                self._naming.give(result.id, target)
        lines: list[Line] = []
        known: list[Line] = []
        for node in region.nodes:
            self.node(node, lines)
        for number, target in targets.items():
            result = self._nodes[region.results[number]]
            value = self._naming.use(result.id)
            if value == target or result.op in ("nan", "nans", "no_spectrum"):
                continue
            domain = max(self._place(result), within)
            assign = Line(stage, domain, Assign((target,), (value,)))
            if result.id in own and any(symbols(value)):
                lines.append(replace(assign, stage=stage_of(result, lines)))
            else:
                known.append(assign)
        return self.body([*known, *lines], within)

    def _turns(self, node: Node, lines: list[Line]) -> None:
        items = self._results(node)
        period = self._naming.use(node.inputs[0])
        targets = {number: self._naming.of(item) for number, item in items.items()}
        stage, place = stage_of(node, lines), self._place(node)
        side = self._side(node.regions[0], targets, stage, place)
        kept = {number: self._naming.use(node.inputs[2 + number]) for number in targets}
        waiting = [
            Line(stage, place, Assign((target,), (kept[number],)))
            for number, target in targets.items()
            if kept[number] != target
        ]
        self._add(node, Turns(period, side, self.body(waiting, place)), lines)

    def _repeat(self, node: Node, lines: list[Line]) -> None:
        body, *conditions = node.regions
        count = self._naming.use(node.inputs[0])
        index, *carried = body.arguments
        self._naming.of(self._nodes[index])
        variables = []
        for number, argument in enumerate(carried):
            initial = self._nodes[node.inputs[number + 1]]
            value = self._naming.use(initial.id)
            item = self._results(node).get(number, self._nodes[argument])
            if self._is_only_started(initial) and not self._naming.has(item):
                self._naming.give(item.id, value)
            variable = self._naming.of(item)
            self._naming.give(argument, variable)
            for condition in conditions:
                self._naming.give(condition.arguments[number], variable)
            variables.append(variable)
            if variable != value:
                self._add(node, Assign((variable,), (value,)), lines)
        rounds: list[Line] = []
        for condition in conditions:
            for inner in condition.nodes:
                self.node(inner, rounds)
        tested = self._naming.use(conditions[0].results[0]) if conditions else None
        if rounds and tested is not None:
            self._add(node, Stop(tested), rounds)
            tested = None
        for inner in body.nodes:
            self.node(inner, rounds)
        changed = {
            variable: value
            for variable, result in zip(variables, body.results, strict=True)
            if (value := self._naming.use(result)) != variable
        }
        for targets, values in in_turn(changed):
            self._add(node, Assign(targets, values), rounds)
        self._add(node, Repeat(count, tested, self.body(rounds, self._place(node))), lines)

    def _is_only_started(self, node: Node) -> bool:
        """Whether a value with a line has no other use than to be what a loop begins with."""
        return node.id in self._lined and self._lined.uses[node.id] == 1 and node.op != "const"

    # ---- arranging

    def _add(self, node: Node, statement: Statement, lines: list[Line]) -> None:
        lines.append(Line(stage_of(node, lines), self._place(node), statement))

    def _place(self, node: Node) -> int:
        """The tensors that a value is about: a number is about those that it was reduced from."""
        if node.type.is_field:
            return node.type.domain
        inputs = [self._nodes[i] for i in node.inputs]
        places = [self._place(each) for each in inputs if each.id not in self._lined]
        places += [each.type.domain for each in inputs if each.type.is_field]
        if deepest := max(places, default=0):
            return deepest
        return self._graph.stages[node.stage].domain if node.stage >= 0 else 0

    def body(self, lines: Sequence[Line], within: int = 0) -> Body:
        """Lines of one stage as a part, lines about the same tensors under one heading.

        What holds for the domain `within` is said around them already.
        """

        def words(line: Line) -> str:
            return tensors(self._graph, line.domain, within)

        made: list[Part] = []
        for stage, run in groupby(lines, lambda line: line.stage):
            own: list[Statement] = []
            for said, inside in groupby(run, words):
                same = tuple(line.statement for line in inside)
                own.extend((Where(said, same),) if said else same)
            made.append(Part(self._graph.stages[stage] if stage >= 0 else None, tuple(own)))
        return tuple(made)


def stage_of(node: Node, lines: Sequence[Line]) -> int:
    """The stage of a value; what joins others, and has none, goes with the line before it."""
    return node.stage if node.stage >= 0 or not lines else lines[-1].stage


def in_turn(
    changed: Mapping[Symbol, Formula],
) -> Iterator[tuple[tuple[Symbol, ...], tuple[Formula, ...]]]:
    """What variables become at the end of a round, in the order in which it can be said.

    One after the other, where none of the later ones reads what an earlier one was; those that read
    each other all at once.
    """
    left = dict(changed)
    while left:
        read = {v: set(symbols(value)) & left.keys() for v, value in left.items()}
        free = [v for v in left if not any(v in of for other, of in read.items() if other != v)]
        turn = (free[0],) if free else tuple(left)
        yield turn, tuple(left.pop(v) for v in turn)


def end(lines: Sequence[Line], stage: int) -> int:
    """Where the lines of a stage end, or would stand."""
    own = [place for place, line in enumerate(lines) if line.stage == stage]
    later = (place for place, line in enumerate(lines) if line.stage > stage)
    return own[-1] + 1 if own else next(later, len(lines))


def targets(line: Line) -> set[Symbol]:
    """What a line, or a line in it, gives a value to."""
    every = statements((Part(None, (line.statement,)),))
    return {target for each in every if isinstance(each, Assign) for target in each.targets}
