"""What a step writes and reads where each kernel makes one tensor: a model of XLA on a CPU.

XLA fuses what is elementwise into kernels, each of which makes one tensor or reduces some to a
number. What several kernels want, each of them makes again, but for what is dear, and for what one
of them waits for while another makes it: those are stored, unless the second is cheap and of one
tensor. A kernel that reduces makes nothing that another wants too, and no choice; a scalar that
meets a field there is read as a tensor, since weights of one shape share its broadcast. A state
that is read by others than the kernel that writes over it is copied first, unless they are done by
then.

So the spelling of a formula decides what is stored, and passes ask here which one moves less. Each
tensor counts as one of the weights, and what is smaller counts nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from .graph import Graph, Node, index
from .ops import OPS
from .plan import free_values

WEIGHTS = -1
"""Stands for the weights after a step that is taken from them."""

_FUSIBLE = ("elementwise", "fill", "shape")

_SAME = ("merge", "restrict")
"""What gives a tensor as it is, one of its inputs."""

_CHEAP = 2
"""What takes more operations than this is not done twice."""

_PRODUCTS = (2, 3, 4)
"""Powers that are products of a tensor with itself."""


@dataclass(frozen=True)
class Moved:
    """What each kernel reads, by what it makes; values by their ids, or `WEIGHTS`."""

    reads: Mapping[int, frozenset[int]]
    written: frozenset[int]
    kept: frozenset[int]
    """What is stored for other kernels and is no result, broadcast scalars among it."""
    copied: frozenset[int]
    """States and weights that are copied, so that their old numbers outlive the new ones."""

    @property
    def tensors(self) -> int:
        """How often a tensor is read or written."""
        read = sum(len(fields) for fields in self.reads.values())
        return read + len(self.written) + 2 * len(self.copied)


def moved(graph: Graph, inside: bool = True) -> Moved:
    """What moves in a step for a tensor that is in each set that the spec speaks of, or in none."""
    return _Kernels(graph, inside).moved()


class _Kernels:
    """The kernels that make each value: its own where it is stored, else those of its users."""

    def __init__(self, graph: Graph, inside: bool) -> None:
        self.nodes = index(graph)
        same: dict[int, int] = {}
        for node in graph.step.nodes:
            if node.op in _SAME:
                chosen = node.inputs[0 if inside else -1]
                same[node.id] = same.get(chosen, chosen)
        self.order = [node for node in graph.step.nodes if node.id not in same]
        self.sources = {
            n.id: tuple(dict.fromkeys(same.get(i, i) for i in _sources(n))) for n in self.order
        }
        self.users: dict[int, list[Node]] = defaultdict(list)
        for node in self.order:
            for source in self.sources[node.id]:
                self.users[source].append(node)
        results = [same.get(id, id) for id in graph.step.results]
        outputs = list(zip(graph.outputs, results, strict=True))
        self.steps = {id for output, id in outputs if output.role == "step"}
        self.results = {id for o, id in outputs if o.role != "step" and self._is_large(id)}
        self.stored: set[int] = set()
        self.makers: dict[int, set[int]] = {}
        # Sets of values as bits, since there are two for each value.
        self.places = {node.id: 1 << place for place, node in enumerate(self.order)}
        self.after: dict[int, int] = {}
        self.behind: dict[int, int] = {}
        for node in reversed(self.order):
            self._look_ahead(node)
            if self._is_work(node):
                self.makers[node.id] = self._makers(node)
        inputs = (n.id for n in self.order if n.op == "input" and n["name"] == "w")
        self.weights = next(inputs, WEIGHTS)
        states = {int(str(n["name"])): n.id for n in self.order if n.op == "state"}
        self.writers = {self.weights: WEIGHTS} if self.steps else {}
        for output, id in outputs:
            old = self.weights if output.role in ("weights", "moved") else states.get(output.index)
            if (
                output.role in ("slot", "weights", "moved")
                and old not in (None, id)
                and self._is_large(id)
            ):
                self.writers[old] = id

    def moved(self) -> Moved:
        reads: dict[int, set[int]] = defaultdict(set)
        for node in self.order:
            for kernel in self.makers.get(node.id, ()):
                reads[kernel].update(
                    i for i in self.sources[node.id] if self._reads(i, node, kernel)
                )
        for id in self.steps:
            reads[WEIGHTS].add(self.weights)
            if WEIGHTS not in self.makers.get(id, ()):
                reads[WEIGHTS].add(id)
        written = self.stored | ({WEIGHTS} if self.steps else set())
        return Moved(
            {kernel: frozenset(found) for kernel, found in reads.items()},
            frozenset(written),
            frozenset(self.stored - self.results) | self._spread(reads),
            frozenset(self._copied(reads)),
        )

    def _makers(self, node: Node) -> set[int]:
        """The kernels in which a node is worked out."""
        users = self.users[node.id]
        wanted = {kernel for u in users for kernel in self.makers.get(u.id, {u.id})}
        if node.id in self.steps:
            wanted.add(WEIGHTS)
        if self._is_reduction(node.id):
            return {node.id}
        if not self._is_large(node.id):
            return wanted
        again = self._is_made_again(node)
        apart = not self._is_fusible(node) or not all(map(self._fuses, users))
        if len(wanted) > 1 and not again:
            apart |= self._is_dear(node) or self._is_behind_itself(node)
        if any(map(self._is_reduction, wanted)) and (len(wanted) > 1 or node.op == "where"):
            apart, again = True, False
        if node.id not in self.results and not apart:
            return wanted
        self.stored.add(node.id)
        return {node.id} | (wanted if again else set())

    def _is_behind_itself(self, node: Node) -> bool:
        """Whether a user of a value also waits for another kernel that is made of it."""
        users = reduce(or_, (self.places[user.id] for user in self.users[node.id]), 0)
        return bool(users & self.behind[node.id])

    def _look_ahead(self, node: Node) -> None:
        """What is made of a value, `after` it, and what of that waits for an end, `behind` it."""
        after = behind = 0
        for user in self.users[node.id]:
            beyond = self.after[user.id]
            after |= self.places[user.id] | beyond
            behind |= beyond if self._is_end(user) else self.behind[user.id]
        self.after[node.id], self.behind[node.id] = after, behind

    def _is_end(self, node: Node) -> bool:
        """Whether a kernel ends with a value, or something else than a kernel makes it."""
        made = self._is_work(node) and not self._is_reduction(node.id)
        return node.id in self.stored or (node.type.is_field and not made)

    def _spread(self, reads: Mapping[int, set[int]]) -> frozenset[int]:
        """The scalars that are read as tensors."""
        return frozenset(i for read in reads.values() for i in read if not self._is_large(i))

    # ---- copies

    def _copied(self, reads: Mapping[int, set[int]]) -> Iterable[int]:
        numbers = self._numbers()
        for old, writer in self.writers.items():
            before = _before(writer, reads, numbers)
            if any(old in reads[k] and k != writer and k not in before for k in reads):
                yield old

    def _numbers(self) -> Mapping[int, set[int]]:
        """The reductions that the numbers in each kernel are made of."""
        behind: dict[int, set[int]] = {}
        found: dict[int, set[int]] = defaultdict(set)
        for node in self.order:
            small = [i for i in self.sources[node.id] if not self._is_large(i)]
            mine = set().union(*(behind[i] for i in small if i in behind))
            for kernel in self.makers.get(node.id, ()):
                found[kernel] |= mine
            behind[node.id] = {node.id} if self._is_reduction(node.id) else mine
        return found

    # ---- sorts of values

    def _reads(self, source: int, node: Node, kernel: int) -> bool:
        """Whether a kernel reads a source of a node as a tensor."""
        if self._is_large(source):
            return kernel not in self.makers.get(source, ())
        return self._is_reduction(kernel) and node.id != kernel and self._is_large(node.id)

    def _is_large(self, id: int) -> bool:
        type = self.nodes[id].type
        return type.is_field and type.per == "element"

    def _is_reduction(self, id: int) -> bool:
        return id in self.nodes and OPS[self.nodes[id].op].op_class == "reduction"

    def _is_work(self, node: Node) -> bool:
        """Whether kernels make a value."""
        fields = node.type.is_field and OPS[node.op].op_class in (*_FUSIBLE, "matrix")
        return fields or self._is_reduction(node.id)

    def _is_fusible(self, node: Node) -> bool:
        return OPS[node.op].op_class in _FUSIBLE

    def _fuses(self, user: Node) -> bool:
        """Whether a user may take in what it is made of."""
        return self._is_work(user) and OPS[user.op].op_class != "matrix"

    def _is_made_again(self, node: Node) -> bool:
        """Whether each kernel that wants a value makes it: it is cheap, and of one tensor."""
        large = sum(self._is_large(i) for i in node.inputs)
        product = node.op in ("square", "pow")
        return self._is_fusible(node) and large < 2 and not product and not self._is_dear(node)

    def _is_dear(self, node: Node) -> bool:
        """Whether what one kernel has made no other makes again.

        A quotient by a scalar that is worked out becomes a product with its reciprocal.
        """
        if node.op == "pow":
            exponent = self.nodes[node.inputs[1]]
            return exponent.op != "const" or exponent["value"] not in _PRODUCTS
        if node.op == "div":
            divisor = self.nodes[node.inputs[1]]
            return self._is_large(divisor.id) or OPS[divisor.op].op_class == "leaf"
        return OPS[node.op].flops > _CHEAP


def _sources(node: Node) -> tuple[int, ...]:
    """What a node is made of, also in its regions."""
    inner = (i for region in node.regions for i in sorted(free_values(region)))
    return tuple(dict.fromkeys((*node.inputs, *inner)))


def _before(
    kernel: int, reads: Mapping[int, set[int]], numbers: Mapping[int, set[int]]
) -> set[int]:
    """The kernels that are done when one begins."""
    found: set[int] = set()
    todo = [kernel]
    while todo:
        at = todo.pop()
        new = {*reads.get(at, ()), *numbers.get(at, ())} - found
        found |= new
        todo += new
    return found
