"""Which symbol stands for which value of a graph."""

import re
from dataclasses import replace

from ..graph import Graph, Node, Region, index
from ..records import Slot
from .formula import Formulas, literal, loss_sign
from .lines import Lines, is_debiased
from .symbols import Names, Role, hatted, symbol
from .tree import Formula, Symbol, Time

_NUMBERED_BETA = re.compile("b[0-9]+")


class Naming:
    """The symbols of one graph, given out as values are reached; no two values have the same.

    `time` says whether states and weights are spoken of as they are in a fresh state, before the
    step, or after it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = index(graph)
        self.time: Time = "0"
        self.formulas = Formulas(graph, self.nodes, self._known)
        self.names = Names()
        self.weights = self.names.take(symbol("w"))
        self.count = self.names.take(Symbol("t"))
        ops = {node.op for node in self.nodes.values()}
        for sign in (
            loss_sign(graph),
            *("F" for _ in ops & {"outputs"}),
            *("B" for _ in ops & {"examples"}),
        ):
            self.names.take(Symbol(sign))
        self.parameters = {
            h.name: self.names.take(symbol(h.name, "hyperparameter")) for h in graph.hyperparameters
        }
        self._slots = [self._slot(slot) for slot in graph.slots]
        self._kept = set(self._never_written())
        self._symbols: dict[int, Formula] = {}
        self._constants: dict[tuple[str, float], Symbol] = {}

    def _slot(self, slot: Slot) -> Symbol:
        return self.names.take(symbol(slot.name, "state"), slot.stage.rpartition(".")[0])

    def _never_written(self) -> list[int]:
        written = zip(self.graph.outputs, self.graph.step.results, strict=True)
        states = ((output.index, self.nodes[result]) for output, result in written)
        return [n for n, node in states if node.op == "state" and node["name"] == n]

    def at(self, slot: int, time: Time) -> Symbol:
        """The symbol of a slot at a time; one that is never written has none."""
        return self._slots[slot] if slot in self._kept else replace(self._slots[slot], time=time)

    def weights_at(self, time: Time) -> Symbol:
        """The symbol of the weights at a time."""
        return replace(self.weights, time=time)

    def use(self, id: int) -> Formula:
        """A value where it is used."""
        return self.formulas.use(id)

    def written(self, node: Node) -> Formula:
        """A value written out, although it may have a symbol already."""
        held = self._symbols.pop(node.id, None)
        value = self.formulas.of(node)
        if held is not None:
            self._symbols[node.id] = held
        return value

    def _known(self, node: Node) -> Formula | None:
        if node.id in self._symbols:
            return self._symbols[node.id]
        match node.op:
            case "parameter":
                return self.parameters[str(node["name"])]
            case "state":
                return self.at(int(node["name"]), self.time)
            case "input" if node["name"] == "t":
                return self.count
            case "input":
                return self.weights_at(self.time)
            case "const":
                return literal(node["value"])
            case "argument":
                return self.of(node)
            case _:
                return None

    def of(self, node: Node) -> Symbol:
        """The symbol of a value with a line, given when the line is reached."""
        if node.id not in self._symbols:
            self._symbols[node.id] = self._new(node)
        found = self._symbols[node.id]
        assert isinstance(found, Symbol)
        return found

    def has(self, node: Node) -> bool:
        """Whether a value was given a symbol."""
        return node.id in self._symbols

    def give(self, id: int, symbol: Formula) -> None:
        """Let a value be called as another one that it is written to."""
        self._symbols[id] = symbol

    def _new(self, node: Node) -> Symbol:
        if is_debiased(node, self.nodes):
            biased = self.use(node.inputs[0])
            if isinstance(biased, Symbol) and not biased.accent:
                # A name that says no more than the letter of what it is made of, `m` of `mu`.
                letter = replace(biased, time="")
                if node.name is None or symbol(node.name) == letter:
                    return self.names.take(hatted(biased))
        if node.name is None:
            return self.names.spare()
        group = self.graph.stages[node.stage].group if node.stage >= 0 else ""
        return self.names.take(symbol(node.name, self._role(node.name)), group)

    def _role(self, name: str) -> Role:
        """A value of a rule may go on from the hyperparameters, as `b3 = sqrt(b2)` does."""
        betas = any(each.base == "beta" for each in self.parameters.values())
        return "hyperparameter" if betas and _NUMBERED_BETA.fullmatch(name) else "value"

    def constant(self, node: Node) -> tuple[Symbol, bool]:
        """The symbol of a literal with a name, and whether it is new."""
        value = node["value"]
        assert node.name is not None
        assert not isinstance(value, str)
        key = (node.name, float(value))
        is_new = key not in self._constants
        if is_new:
            self._constants[key] = self.names.take(symbol(node.name, "hyperparameter"))
        self._symbols[node.id] = self._constants[key]
        return self._constants[key], is_new

    def lines(self, region: Region, wanted: dict[int, bool]) -> Lines:
        """Which values of a top region have a line."""
        return Lines(self.graph, self.nodes, region, wanted)
