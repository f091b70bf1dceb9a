"""Deciding which values of a graph get a line and a symbol of their own.

A value has one where the spec named it, where a result or a choice asks for it, where it is used
again and takes long to say, and where a formula would become too wide without.
"""

from collections import Counter
from collections.abc import Mapping

from ..graph import Graph, Node, Region, walk
from ..ops import MAKERS, OPS
from .formula import Formulas, literal
from .plain import TextWriter
from .tree import Cases, Formula, Number, Symbol

WIDEST = 62
"""Characters of a formula in one line of text; on paper it is narrower."""

_SHORT = 14
"""A formula that is no longer than this may be said twice."""

_NEVER = ("const", "nan", "parameter", "input", "state", "argument", "point", "loss", "examples")
_NEVER_ALONE = (
    *("zeros", "ones", "full", "copy", "restrict", "rank_as", "float", "extern_init"),
    *(*MAKERS, "onto_matrix", "onto_vector"),
)
_PLACEHOLDER = Symbol("xx")


def uses(graph: Graph) -> Counter[int]:
    """How often each value is used, as an input or as a result."""
    count: Counter[int] = Counter()
    for region in graph.regions():
        count.update(region.results)
        for node in walk(region):
            count.update(node.inputs)
            for within in node.regions:
                count.update(within.results)
    return count


class Lines:
    """The values of one top region that get a line: ask with `in`."""

    def __init__(
        self, graph: Graph, nodes: Mapping[int, Node], region: Region, wanted: Mapping[int, bool]
    ) -> None:
        """`wanted` says of some values that they have a line, or that they have none."""
        self._nodes = nodes
        self.uses = uses(graph)
        self._wanted = dict(wanted)
        self._written: dict[int, Formula] = {}
        self._lined: set[int] = set()
        self._formulas = Formulas(graph, nodes, self._known)
        self._region(region, terse=False)

    def __contains__(self, id: int) -> bool:
        return id in self._lined

    def _region(self, region: Region, terse: bool) -> None:
        for node in region.nodes:
            if node.op == "merge":
                self._side(node)
        for node in region.nodes:
            for number, within in enumerate(node.regions):
                # What is asked each round, or of each example, is one formula where it fits.
                is_condition = node.op == "loop" and number == 1
                self._results(node, within)
                is_function = OPS[node.op].op_class in ("oracle", "spectral")
                self._region(within, terse or is_condition or is_function)
            if OPS[node.op].op_class != "control" and node.op not in ("item", "extern"):
                self._decide(node, terse)
            elif node.op == "item":
                self._lined.add(node.id)

    def _results(self, node: Node, region: Region) -> None:
        """A side of a choice gives its results their lines; a loop changes all at its end."""
        own = {n.id for n in region.nodes}
        for result in region.results:
            chosen = node.op in ("if", "stagger") and result in own
            if chosen and self._nodes[result].op not in _NEVER:
                self._wanted.setdefault(result, True)
            if node.op == "loop" and self.uses[result] == region.results.count(result):
                self._wanted.setdefault(result, False)

    def _side(self, merge: Node) -> None:
        """What only a choice by tensor uses, under its own name, is said inside the choice."""
        for source in (self._nodes[i] for i in merge.inputs):
            plain = OPS[source.op].op_class == "elementwise"
            if plain and source.name == merge.name and self.uses[source.id] == 1:
                self._wanted.setdefault(source.id, False)

    def _decide(self, node: Node, terse: bool) -> None:
        if node.op == "const":
            if self._wanted.get(node.id, self._named_constant(node)):
                self._lined.add(node.id)
            return
        self._written[node.id] = written = self._fitted(node)
        if not terse and self._has_line(node, written):
            self._lined.add(node.id)

    def _named_constant(self, node: Node) -> bool:
        number = isinstance(literal(node["value"]), Number)
        return node.name is not None and number and self.uses[node.id] > 1

    def _has_line(self, node: Node, written: Formula) -> bool:
        if node.id in self._wanted:
            return self._wanted[node.id]
        if node.op in _NEVER:
            return False
        if isinstance(written, Cases) or _is_asked(node):
            return True
        if node.op in _NEVER_ALONE and not isinstance(written, Symbol):
            return False
        if node.name or is_debiased(node, self._nodes):
            return True
        return self.uses[node.id] > 1 and width(written) > _SHORT

    def _fitted(self, node: Node) -> Formula:
        """The formula of a value, after its widest parts were given lines until it fits."""
        while True:
            written = self._formulas.of(node)
            if width(written) <= WIDEST:
                return written
            inlined = [i for i in node.inputs if i in self._written and i not in self._lined]
            wide = [i for i in inlined if width(self._written[i]) > _SHORT]
            wide = [i for i in wide if self._nodes[i].op not in _NEVER]
            if not wide:
                return written
            self._lined.add(max(wide, key=lambda i: width(self._written[i])))

    def _known(self, node: Node) -> Formula | None:
        if node.id in self._lined:
            return literal(node["value"]) if node.op == "const" else _PLACEHOLDER
        if node.op == "const":
            return literal(node["value"])
        if node.op in ("parameter", "state", "input", "argument"):
            return _PLACEHOLDER
        return self._written.get(node.id)


def _is_asked(node: Node) -> bool:
    """Whether a value is drawn, or a gradient, which are said once."""
    return OPS[node.op].op_class == "random" or node.op == "grad"


def width(formula: Formula) -> int:
    """How many characters a formula takes in a line of text."""
    return len(TextWriter().write(formula))


def is_debiased(node: Node, nodes: Mapping[int, Node]) -> bool:
    """Whether a value is another one over `1 - b^t`."""
    if node.op != "div":
        return False
    numerator, bias = (nodes[i] for i in node.inputs)
    if bias.op != "sub" or not numerator.name:
        return False
    one, power = (nodes[i] for i in bias.inputs)
    return one.get("value") == 1 and power.op == "pow" and _is_count(nodes[power.inputs[1]], nodes)


def _is_count(node: Node, nodes: Mapping[int, Node]) -> bool:
    if node.op == "float":
        return _is_count(nodes[node.inputs[0]], nodes)
    return node.op == "input" and node["name"] == "t"
