"""Recognise iterations of a matrix by polynomials of its Gram matrix: Newton-Schulz and its like.

A round is `y <- c * y + P(y @ y.T) @ y`, however it is written, with a polynomial P whose
coefficients are scalars; `y @ P(y.T @ y)` is the same. The rounds of a loop, or lines that follow
each other, become one op `gram_loop`, and the runtime chooses how it is done. A single round stays
as it was written.

Needs: equal values merged. Guarantees: the same values up to rounding; what is used elsewhere too
stays. Where the coefficients of a loop change with its scalars, its number of rounds is a literal
or a parameter with an upper bound.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from math import ceil, floor, inf
from typing import TypeGuard

from ..graph import Graph, Node, Region, index, reads
from ..records import Hyperparameter, Scalar
from .dead_code import dead_code
from .polynomials import Coefficients, Number, Numbers, Polynomials, Value, literal
from .rewrite import Replaced, over_regions, renamed, with_regions, with_results

MOST_ROUNDS = 64
"""How many rounds are written out one by one where their coefficients differ."""

LONGEST = 250
"""Among how many values of a region a round is looked for."""


Rounds = Sequence[tuple[Number | int, Coefficients]]
"""For each sort of round how many there are, and the coefficients."""


@dataclass(frozen=True)
class Made:
    """A matrix that is made by rounds of the matrix `start`; nothing else uses that if `alone`.

    `nodes` are scalars that are made for them, and are to stand before. Only as many of the rounds
    are done as the value `first` says, if there is one.
    """

    start: int
    rounds: Rounds
    nodes: tuple[Node, ...]
    alone: bool
    loop: bool = False
    first: int | None = None


def gram(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    if not any(node.op == "transpose" for node in nodes.values()):
        return graph
    bounds = {h.name: _most(h) for h in graph.hyperparameters}
    return dead_code(
        over_regions(graph, _Recognising(nodes, reads(graph.regions()), bounds).region)
    )


class _Recognising:
    def __init__(
        self, nodes: Mapping[int, Node], uses: "Counter[int]", bounds: Mapping[str, int | None]
    ) -> None:
        self.nodes = nodes
        self.bounds = bounds
        self.uses = uses
        self.ids = count(max(nodes) + 1)
        self.replaced: Replaced = {}

    def region(self, region: Region) -> Region:
        """The region with `gram_loop` for each loop and chain of lines that is one."""
        loops = {node.id: self._loop(node) for node in region.nodes if node.op == "loop"}
        made = self._lines(region)
        for node in region.nodes:
            if node.op == "item" and (loop := loops.get(node.inputs[0])) is not None:
                place = int(node["index"])
                if place in loop.matrices:
                    made[node.id] = loop.matrices[place]
                else:
                    self.replaced[node.id] = loop.scalars[place]
        inner = {each.start for each in made.values() if _goes_on(made.get(each.start), each)}
        chains = {id: _followed(id, made) for id in made if id not in inner}
        kept: list[Node] = []
        for node in region.nodes:
            node = renamed(node, self.replaced)
            chain = chains.get(node.id, [])
            if (loop := loops.get(node.id)) is not None:
                kept += [node, *loop.nodes]
            elif len(chain) > 1 or any(each.loop for each in chain):
                kept += self._gram_loop(node, chain)
            else:
                kept.append(with_regions(node, [self.region(r) for r in node.regions]))
        return with_results(region, kept, self.replaced)

    def _gram_loop(self, node: Node, chain: Sequence[Made]) -> list[Node]:
        """The op for some rounds, in place of a node."""
        numbers = Numbers(self.ids, node.stage)
        rounds = [each for made in chain for each in made.rounds]
        inputs = [self.replaced.get(chain[0].start, chain[0].start)]
        for times, coefficients in rounds:
            inputs.append(numbers.whole(times) if isinstance(times, int) else numbers.id(times))
            inputs += [numbers.id(x) for x in coefficients]
        attributes: dict[str, Scalar] = {
            "sizes": " ".join(str(len(coefficients)) for _, coefficients in rounds)
        }
        if chain[-1].first is not None:
            inputs.append(chain[-1].first)
            attributes["first"] = True
        update = {"op": "gram_loop", "inputs": tuple(inputs), "attributes": (*attributes.items(),)}
        before = [each for made in chain for each in made.nodes]
        return [*before, *numbers.made, node.model_copy(update=update)]

    # ---- lines

    def _lines(self, region: Region) -> dict[int, Made]:
        """What is made by a round each in a region."""
        places = {node.id: place for place, node in enumerate(region.nodes)}
        starts = dict.fromkeys(n.inputs[0] for n in region.nodes if n.op == "transpose")
        found: dict[int, Made] = {}
        for start in starts:
            y = self.nodes[start]
            if y.type.is_field and y.type.dtype == "float" and y.type.per == "element":
                place = places.get(start, -1) + 1
                found |= self._round(y, region.nodes[place : place + LONGEST])
        return found

    def _round(self, y: Node, after: Sequence[Node]) -> dict[int, Made]:
        """The first value through which all is made that is a polynomial of y; there may be none.

        What is between the two is used there only.
        """
        numbers = Numbers(self.ids, y.stage)
        met = Polynomials(y, self.nodes, numbers)
        for node in after:
            met.meet(node)
        known = met.known
        copies = {y.id, *(i for i, x in known.items() if x.kind == "transposed" and not x.degree)}
        inside = Counter(i for each in known for i in self.nodes[each].inputs if each != y.id)
        for id, x in known.items():
            if x.kind == "odd" and x.degree:
                made = {id, *self._made_of(id, known)} - {y.id}
                used = Counter(i for each in made for i in self.nodes[each].inputs)
                enclosed = all(used[i] == self.uses[i] for i in made - copies - {id})
                if enclosed and all(used[i] == inside[i] for i in copies & {y.id, *made}):
                    alone = all(used[i] == self.uses[i] for i in copies & {y.id, *made})
                    return {id: Made(y.id, [(1, x.coefficients)], tuple(numbers.made), alone)}
        return {}

    def _made_of(self, id: int, known: Mapping[int, object]) -> Iterator[int]:
        """What a value is made of, among these."""
        todo, met = [id], {id}
        while todo:
            for i in self.nodes[todo.pop()].inputs:
                if i in known and i not in met:
                    met.add(i)
                    todo.append(i)
                    yield i

    # ---- loops

    def _loop(self, loop: Node) -> "_Loop | None":
        """A loop that changes matrices by rounds, and scalars beside them."""
        body, *condition = loop.regions
        carried = list(zip(body.arguments[1:], body.results, strict=True))
        if condition or not any(self.nodes[i].type.is_field for i, _ in carried):
            return None
        made = self._lines(body)
        chains: dict[int, list[Made]] = {}
        for place, (argument, result) in enumerate(carried):
            if not self.nodes[argument].type.is_field:
                continue
            chain = _followed(result, made)
            lone = self.uses[result] == 1 and all(each.alone for each in chain)
            if not chain or chain[0].start != argument or not lone:
                return None
            chains[place] = chain
        numbers = Numbers(self.ids, loop.stage)
        unrolling = _Unrolling(loop, chains, self.nodes, numbers)
        times = self.nodes[loop.inputs[0]]
        first = most = None
        if (found := unrolling.equal()) is None:
            if times.op == "const":
                most = int(times["value"])
            elif times.op == "parameter" and not self._reads_scalars(loop, chains):
                most, first = self.bounds[str(times["name"])], times.id
            found = None if most is None or most > MOST_ROUNDS else unrolling.written_out(most)
        if found is None:
            return None
        rounds, scalars = found
        matrices = {
            place: Made(start, rounds[place], (), self.uses[start] == 1, True, first)
            for place, start in enumerate(loop.inputs[1:])
            if place in rounds
        }
        ids = {place: numbers.id(x) for place, x in scalars.items()}
        return _Loop(matrices, ids, tuple(numbers.made))

    def _reads_scalars(self, loop: Node, chains: Mapping[int, list[Made]]) -> bool:
        """Whether what a loop makes of its scalars is used behind it."""
        items = (n for n in self.nodes.values() if n.op == "item" and n.inputs[0] == loop.id)
        return any(int(item["index"]) not in chains for item in items)


@dataclass(frozen=True)
class _Loop:
    """What a loop results in: matrices, and values; `nodes` stand behind it."""

    matrices: Mapping[int, Made]
    scalars: Mapping[int, int]
    nodes: tuple[Node, ...]


Found = tuple[Mapping[int, Rounds], Mapping[int, Number]]
"""The rounds of each matrix that a loop carries, and what its scalars are in the end."""


class _Unrolling:
    """The rounds of a loop with coefficients that are known outside of it."""

    def __init__(
        self,
        loop: Node,
        chains: Mapping[int, list[Made]],
        nodes: Mapping[int, Node],
        numbers: Numbers,
    ) -> None:
        made = [node for chain in chains.values() for each in chain for node in each.nodes]
        inside = [*loop.regions[0].nodes, *made]
        self._numbers = numbers
        self._loop = loop
        self._chains = chains
        self._nodes = nodes
        self._body = [node for node in inside if node.type.is_scalar]
        self._inside = {node.id for node in inside}

    def equal(self) -> Found | None:
        """Rounds that are all the same, however many, and nothing else."""
        known = self._known({})
        rounds: dict[int, Rounds] = {}
        for place, chain in self._chains.items():
            coefficients = [self._coefficients(each, known) for each in chain]
            if len(chain) > 1 or coefficients[0] is None:
                return None
            rounds[place] = [(Value(self._loop.inputs[0]), coefficients[0])]
        return (rounds, {}) if len(rounds) == len(self._loop.inputs) - 1 else None

    def written_out(self, times: int) -> Found | None:
        """So many rounds, each with its own coefficients."""
        body = self._loop.regions[0]
        round, *arguments = body.arguments
        starts = enumerate(self._loop.inputs[1:])
        scalars = {place: self._outer(i) for place, i in starts if place not in self._chains}
        rounds: dict[int, list[Coefficients]] = {place: [] for place in self._chains}
        for number in range(times):
            given = {arguments[place]: x for place, x in scalars.items()}
            known = self._known({round: float(number), **given})
            for place, chain in self._chains.items():
                for each in chain:
                    coefficients = self._coefficients(each, known)
                    if coefficients is None:
                        return None
                    rounds[place].append(coefficients)
            after = {place: self._value(body.results[place], known) for place in scalars}
            scalars = {place: x for place, x in after.items() if x is not None}
            if len(scalars) < len(after):
                return None
        return {place: _grouped(each) for place, each in rounds.items()}, scalars

    def _known(self, given: Mapping[int, Number]) -> Mapping[int, Number]:
        """The scalars of the body as they are outside, where its arguments have these values."""
        known = dict(given)
        for node in self._body:
            inputs = [self._value(i, known) for i in node.inputs]
            found = [x for x in inputs if x is not None]
            if len(found) == len(inputs):
                value = self._numbers.copy(node, found)
                if value is not None:
                    known[node.id] = value
        return known

    def _value(self, id: int, known: Mapping[int, Number]) -> Number | None:
        return known.get(id) if id in self._inside else self._outer(id)

    def _outer(self, id: int) -> Number:
        known = literal(self._nodes[id])
        return Value(id) if known is None else known

    def _coefficients(self, made: Made, known: Mapping[int, Number]) -> Coefficients | None:
        ((_, coefficients),) = made.rounds
        found = [x if isinstance(x, float) else self._value(x.id, known) for x in coefficients]
        return tuple(x for x in found if x is not None) if None not in found else None


def _most(parameter: Hyperparameter) -> int | None:
    """The largest whole number that a parameter may be."""
    if parameter.kind != "int" or parameter.high is None or parameter.high == inf:
        return None
    return ceil(parameter.high) - 1 if parameter.high_open else floor(parameter.high)


def _goes_on(before: Made | None, each: Made) -> TypeGuard[Made]:
    """Whether rounds are of what other rounds made, and of nothing that is used elsewhere."""
    return before is not None and each.alone and (each.first, before.first) == (None, None)


def _followed(id: int, made: Mapping[int, Made]) -> list[Made]:
    """What is made one of the other, in order, until this value."""
    chain = [made[id]] if id in made else []
    while chain and _goes_on(before := made.get(chain[-1].start), chain[-1]):
        chain.append(before)
    return chain[::-1]


def _grouped(rounds: Sequence[Coefficients]) -> Rounds:
    return [(len(list(equal)), coefficients) for coefficients, equal in groupby(rounds)]
