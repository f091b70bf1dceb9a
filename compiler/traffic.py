"""Which tensors a step writes and reads where each kernel makes one result: as XLA does on a CPU.

XLA fuses what is elementwise into kernels, each of which makes one tensor or reduces to a number.
What several kernels want each of them makes again, unless it is dear, or one of them waits for
another: then it is stored, but if it is of one tensor only. A choice is not made in a kernel that
reduces, and scalars that meet fields there are read as tensors: the broadcast is shared with other
weights of that shape. A state that is read by others than the kernel that writes its successor is
copied first, unless they are sure to be done by then.

This is what decides how a formula is best spelt, so that passes can ask it. All tensors count as
one of the weights, and what is smaller as nothing.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .graph import Graph, Node, index, walk
from .ops import OPS

WEIGHTS = -1
"""Stands for the weights after the step among the kernels, where a step is taken from them."""

_FUSIBLE = ("elementwise", "local", "fill")
_CHEAP = 2
"""Ops of more flops than this are not done again for each use."""


@dataclass(frozen=True)
class Traffic:
    """The kernels of a step, by what they make, and what each of them reads."""

    reads: Mapping[int, frozenset[int]]
    stored: frozenset[int]
    """What kernels write: states, weights, and values that are kept for other kernels."""
    kept: frozenset[int]
    """Those that are no results."""
    copied: frozenset[int]
    """States that are copied, since their old numbers are wanted while the new ones are written."""

    @property
    def tensors(self) -> int:
        """How often a tensor of the weights' size is read or written."""
        read = sum(len(fields) for fields in self.reads.values())
        return read + len(self.stored) + 2 * len(self.copied)


def traffic(graph: Graph) -> Traffic:
    """What moves in a step of a graph."""
    return _Kernels(graph).traffic()


class _Kernels:
    """Where each value is made: itself where it is stored, and in the kernels of its users else."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = index(graph)
        self.order = graph.step.nodes
        self.results: dict[int, int] = {}
        self.step: set[int] = set()
        for output, id in zip(graph.outputs, graph.step.results, strict=True):
            if output.role == "step":
                self.step.add(id)
            elif self._is_large(id):
                self.results[id] = output.index
        self.made: dict[int, set[int]] = {}
        self.stored: set[int] = set()
        self.again: set[int] = set()
        self._place()

    def traffic(self) -> Traffic:
        reads: dict[int, set[int]] = defaultdict(set)
        for node in self.order:
            for kernel in self.made.get(node.id, ()):
                for source in self._sources(node):
                    if self._is_read(source, node, kernel):
                        reads[kernel].add(source)
        for id in self.step:
            if WEIGHTS not in self.made.get(id, ()):
                reads[WEIGHTS].add(id)
            reads[WEIGHTS].add(self.weights)
        written = self.stored | ({WEIGHTS} if self.step else set())
        copied = frozenset(s for s in self._overwritten if self._is_copied(s, reads))
        kept = frozenset(self.stored - self.results.keys())
        fields = {kernel: frozenset(found) for kernel, found in reads.items()}
        return Traffic(fields, frozenset(written), kept, copied)

    def _is_read(self, source: int, node: Node, kernel: int) -> bool:
        """Whether a kernel reads what a node in it takes; for reductions numbers are spread out."""
        if self._is_large(source):
            return kernel not in self.made.get(source, ())
        return self._is_reduction(kernel) and node.id != kernel and self._is_large(node.id)

    def _is_reduction(self, kernel: int) -> bool:
        return kernel in self.nodes and OPS[self.nodes[kernel].op].op_class == "reduction"

    def _place(self) -> None:
        users: dict[int, list[Node]] = defaultdict(list)
        for node in self.order:
            for source in {*self._sources(node)}:
                users[source].append(node)
        for node in reversed(self.order):
            if not self._is_work(node):
                continue
            wanted = {k for u in users[node.id] for k in self.made.get(u.id, {u.id})}
            if node.id in self.step:
                wanted.add(WEIGHTS)
            if not self._is_large(node.id):
                self.made[node.id] = {node.id} if OPS[node.op].op_class == "reduction" else wanted
                continue
            fusible = self._is_fusible(node)
            outside = any(not self._is_work(u) or u.op == "matmul" for u in users[node.id])
            again = fusible and self._is_made_again(node)
            apart = (
                len(wanted) > 1
                and not again
                and (self._is_dear(node) or self._is_behind_itself(node, users))
            )
            apart |= node.op == "where" and any(self._is_reduction(kernel) for kernel in wanted)
            if node.id in self.results or outside or not fusible or apart:
                self.stored.add(node.id)
                self.made[node.id] = {node.id} | (wanted if again else set())
            else:
                self.made[node.id] = wanted

    def _is_behind_itself(self, node: Node, users: Mapping[int, list[Node]]) -> bool:
        """Whether a user of a value also waits for a kernel that is made of it."""
        across: set[int] = set()
        todo = [(u, self._ends(u)) for u in users[node.id]]
        seen: set[tuple[int, bool]] = set()
        while todo:
            at, crossed = todo.pop()
            for user in users[at.id]:
                if crossed:
                    across.add(user.id)
                key = user.id, crossed or self._ends(user)
                if key not in seen:
                    seen.add(key)
                    todo.append((user, key[1]))
        behind = bool(self.step & across) and node.id in self.step
        return behind or any(u.id in across for u in users[node.id])

    def _ends(self, node: Node) -> bool:
        """Whether a value is the end of a kernel."""
        return (
            node.id in self.stored
            or (not self._is_work(node) and node.type.is_field)
            or (OPS[node.op].op_class == "reduction")
        )

    def _sources(self, node: Node) -> tuple[int, ...]:
        inner = {i for region in node.regions for n in walk(region) for i in n.inputs}
        results = {i for region in node.regions for i in region.results}
        own = {n.id for region in node.regions for n in walk(region)}
        return (*node.inputs, *sorted((inner | results) - own))

    def _is_large(self, id: int) -> bool:
        type = self.nodes[id].type
        return type.is_field and type.per == "element"

    def _is_work(self, node: Node) -> bool:
        op_class = OPS[node.op].op_class
        return (node.type.is_field and op_class in (*_FUSIBLE, "matrix", "shape")) or (
            op_class == "reduction"
        )

    def _is_fusible(self, node: Node) -> bool:
        return OPS[node.op].op_class in _FUSIBLE

    def _is_made_again(self, node: Node) -> bool:
        """Whether each kernel that wants it makes it anew: it is cheap, and of one tensor."""
        large = [i for i in node.inputs if self._is_large(i)]
        product = node.op in ("square", "pow")  # of a tensor with itself
        return len(large) <= 1 and not product and not self._is_dear(node)

    def _is_dear(self, node: Node) -> bool:
        """Whether no kernel does again what another has done."""
        if node.op == "pow":
            exponent = self.nodes[node.inputs[1]]
            return exponent.op != "const" or exponent["value"] not in (2, 3, 4)
        return OPS[node.op].flops > _CHEAP or node.op == "div"

    # ---- states that are overwritten

    @cached_property
    def weights(self) -> int:
        """The weights before the step."""
        found = (n.id for n in self.order if n.op == "input" and n["name"] == "w")
        return next(found, -2)

    @cached_property
    def _overwritten(self) -> Mapping[int, int]:
        """The kernel that writes over each state, and the weights."""
        states = {int(n["name"]): n.id for n in self.order if n.op == "state"}
        found = {
            states[number]: id
            for id, number in self.results.items()
            if number in states and states[number] != id
        }
        weights = [
            i
            for o, i in zip(self.graph.outputs, self.graph.step.results, strict=True)
            if o.role == "weights"
        ]
        for id in weights:
            found[self.weights] = id
        if self.step:
            found[self.weights] = WEIGHTS
        return found

    def _is_copied(self, state: int, reads: Mapping[int, set[int]]) -> bool:
        writer = self._overwritten[state]
        before = self._before(writer, reads)
        return any(
            state in fields and k != writer and k not in before for k, fields in reads.items()
        )

    def _before(self, kernel: int, reads: Mapping[int, set[int]]) -> set[int]:
        """The kernels that are surely done when one begins."""
        found: set[int] = set()
        todo = [kernel]
        while todo:
            at = todo.pop()
            for source in (*reads.get(at, ()), *self._numbers[at]):
                if source not in found:
                    found.add(source)
                    todo.append(source)
        return found

    @cached_property
    def _numbers(self) -> Mapping[int, set[int]]:
        """The reductions and stored values that the numbers in a kernel come from."""
        behind: dict[int, set[int]] = {}
        found: dict[int, set[int]] = defaultdict(set)
        for node in self.order:
            mine = set()
            for source in self._sources(node):
                if not self._is_large(source):
                    mine |= behind.get(source, set())
            for kernel in self.made.get(node.id, ()):
                found[kernel] |= mine
            behind[node.id] = {node.id} if OPS[node.op].op_class == "reduction" else mine
        return found
