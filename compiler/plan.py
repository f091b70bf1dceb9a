"""Deciding the phases of a program: what runs for each tensor, and in which order.

A phase is what lies between two whole-vector reductions or oracles. The work of one phase on
fields becomes one kernel, a function of one tensor, and that on model outputs another; scalars,
reductions, oracles and control flow stay in the main function between the kernels. The planner
handles any mix of them: reductions of derived fields and oracles at derived points only mean more
phases.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from .graph import Graph, Node, Region, index
from .ops import OPS

_PERSISTENT = ("input", "state", "parameter")
_PLAIN = ("point", "loss", "grad")
_MOVABLE = ("elementwise", "reduction", "control", "leaf", "fill", "random")


@dataclass(frozen=True)
class Kernel:
    """A function of one tensor: the fields, tensor sets and scalars it takes, what it gives.

    All are node ids (domains for `masks`), in the order of the signature.
    """

    nodes: tuple[int, ...]
    fields: tuple[int, ...]
    masks: tuple[int, ...]
    scalars: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A region in its phases: nodes of the main function and kernels, in order."""

    steps: tuple[int | Kernel, ...]
    arguments: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """How a graph runs. `inner` holds the blocks of each control-flow node."""

    graph: Graph
    nodes: Mapping[int, Node]
    start: Block
    step: Block
    evaluation: Block | None
    inner: Mapping[int, tuple[Block, ...]] = field(default_factory=dict)


def plan(graph: Graph) -> Plan:
    """The phases of every region of a graph, without those that give nothing."""
    nodes = index(graph)
    planner = _Planner(nodes, _lengths(graph, nodes))
    return Plan(
        graph=graph,
        nodes=nodes,
        start=planner.block(graph.start),
        step=planner.block(graph.step),
        evaluation=planner.block(graph.evaluation) if graph.evaluation else None,
        inner=planner.inner,
    )


def is_kernel_work(node: Node) -> bool:
    """Whether a node is computed tensor by tensor."""
    op_class = OPS[node.op].op_class
    if not node.type.has_tensors:
        return False
    return op_class in ("elementwise", "local", "reduction", "shape", "matrix")


def is_constant(node: Node, nodes: Mapping[int, Node]) -> bool:
    """Whether a scalar is a literal or arithmetic over literals; it is printed where it is used."""
    if node.op in ("const", "nan"):
        return True
    if OPS[node.op].op_class != "elementwise" or node.type.has_tensors:
        return False
    return all(is_constant(nodes[i], nodes) for i in node.inputs)


def free_values(region: Region) -> set[int]:
    """What a region uses from the regions around it."""
    own: set[int] = set(region.arguments)
    used: set[int] = set(region.results)
    for node in region.nodes:
        own.add(node.id)
        used |= set(node.inputs)
        for inner in node.regions:
            used |= free_values(inner)
    return used - own


def _lengths(graph: Graph, nodes: Mapping[int, Node]) -> set[int]:
    """Lengths of axes that kernels alone use, and arrangements of the weights that only these see.

    Each kernel asks for its own, since they cost nothing.
    """
    kept = {i for region in graph.regions() for i in region.results}
    for node in nodes.values():
        kept.update(*(region.results for region in node.regions))
        kept.update(() if is_kernel_work(node) else node.inputs)
    lengths = {id for id, node in nodes.items() if node.op == "extent"} - kept
    while True:
        read = {i for id, node in nodes.items() if id not in lengths for i in node.inputs}
        seen = {i for id in lengths for i in nodes[id].inputs if is_kernel_work(nodes[i])}
        if not (further := seen - read - kept - lengths):
            return lengths
        lengths |= further


class _Planner:
    def __init__(self, nodes: Mapping[int, Node], lengths: set[int]) -> None:
        self.nodes = nodes
        self.read = {id for node in nodes.values() for id in node.inputs}
        self.inner: dict[int, tuple[Block, ...]] = {}
        self.lengths = lengths

    def block(self, region: Region) -> Block:
        for node in region.nodes:
            if node.regions:
                self.inner[node.id] = tuple(self.block(r) for r in node.regions)
        apart = {*region.arguments, *self.lengths}
        work = [n for n in region.nodes if n.id not in apart]
        levels = self._levels(work, set(region.results))
        phases: dict[int, list[Node]] = defaultdict(list)
        mains: dict[int, list[Node]] = defaultdict(list)
        for node in work:
            if is_kernel_work(node):
                phases[levels[node.id]].append(node)
            elif not is_constant(node, self.nodes) and self._gives(node):
                mains[levels[node.id]].append(node)
        needed = self._needed_outside_kernels(work, set(region.results), levels)
        steps: list[int | Kernel] = []
        for level in range(max(levels.values(), default=0) + 1):
            steps += [node.id for node in mains[level]]
            for kind in ("outputs", "field"):
                together = [node for node in phases[level] if node.type.kind == kind]
                if any(node.id in needed for node in together):
                    steps.append(self._kernel(together, needed))
        return Block(tuple(steps), region.arguments, region.results)

    def _gives(self, node: Node) -> bool:
        """Whether anything is read of a node, if it is a choice, a loop or staggered work."""
        return OPS[node.op].op_class != "control" or node.id in self.read

    def _dependencies(self, node: Node) -> set[int]:
        inner = [free_values(region) for region in node.regions]
        return set(node.inputs).union(*inner) - self.lengths

    def _levels(self, work: list[Node], results: set[int]) -> dict[int, int]:
        """The phase of each node: kernel work of level n runs after the main nodes of level n."""
        levels: dict[int, int] = {}
        for node in work:
            is_work = is_kernel_work(node)
            level = 0
            for source in self._dependencies(node):
                if source in levels:
                    after = is_kernel_work(self.nodes[source]) and not is_work
                    level = max(level, levels[source] + after)
            levels[node.id] = level
        self._delay(work, results, levels)
        return levels

    def _delay(self, work: list[Node], results: set[int], levels: dict[int, int]) -> None:
        """Move what can wait to its first use.

        Kernel work on weights and states alone costs no storage before it is used, and a value
        that crosses phases does. A transpose may as well be taken where it is used. Scalars and
        probes are read best where they are used. Oracles stay where their inputs are ready.
        """
        last = max((levels[n.id] for n in work if is_kernel_work(n)), default=0)
        lasting = self._lasting(work)
        users: dict[int, list[Node]] = defaultdict(list)
        for node in work:
            for source in self._dependencies(node):
                users[source].append(node)
        for node in reversed(work):
            if node.id not in lasting:
                continue
            # A main node may share its level with its users; kernels run after main nodes.
            gap = 1 if is_kernel_work(node) else 0
            wanted = [levels[u.id] - (0 if is_kernel_work(u) else gap) for u in users[node.id]]
            if node.id in results and not wanted:
                wanted.append(last + 1 - gap)
            levels[node.id] = max(levels[node.id], min(wanted, default=levels[node.id]))

    def _lasting(self, work: list[Node]) -> set[int]:
        """The nodes that can wait for their first use."""
        lasting: set[int] = set()
        oracles = {n.op for n in work if OPS[n.op].op_class == "oracle" or n.regions}
        points = sum(n.op == "point" for n in work)
        # Where nothing else is asked, the gradient is there as a state is.
        there = (*_PERSISTENT, "grad") if points == 1 and oracles <= {*_PLAIN} else _PERSISTENT
        for node in work:
            fields = [i for i in node.inputs if self.nodes[i].type.has_tensors]
            kept = all(i in lasting or self.nodes[i].op in there for i in fields)
            kept = kept or node.op == "transpose"
            if kept if is_kernel_work(node) else OPS[node.op].op_class in _MOVABLE:
                lasting.add(node.id)
        return lasting

    def _needed_outside_kernels(
        self, work: list[Node], results: set[int], levels: dict[int, int]
    ) -> set[int]:
        """Kernel work that main nodes, later kernels or the block's results use."""
        needed = set(results)
        for node in work:
            for source in self._dependencies(node):
                same = is_kernel_work(node) and levels.get(source) == levels[node.id]
                if not same:
                    needed.add(source)
        return needed

    def _with_lengths(self, nodes: list[Node]) -> list[Node]:
        """The nodes of a kernel, and before its first use each length that it asks for."""
        own = {node.id for node in nodes}
        given = {i for node in nodes for i in node.inputs} - self.lengths
        made: dict[int, Node] = {}

        def make(id: int) -> None:
            for i in sorted(set(self.nodes[id].inputs) - own - given):
                if is_kernel_work(self.nodes[i]):
                    make(i)
            made.setdefault(id, self.nodes[id])

        for node in nodes:
            for id in sorted(self.lengths.intersection(node.inputs)):
                make(id)
            made[node.id] = node
        return list(made.values())

    def _kernel(self, nodes: list[Node], needed: set[int]) -> Kernel:
        nodes = self._with_lengths(nodes)
        inside = {node.id for node in nodes}
        fields: dict[int, None] = {}
        masks: dict[int, None] = {}
        scalars: dict[int, None] = {}
        for node in nodes:
            if node.type.domain:
                masks[node.type.domain] = None
            if node.op == "merge":
                masks[int(node["domain"])] = None
            for source in node.inputs:
                if source in inside:
                    continue
                value = self.nodes[source]
                if value.type.has_tensors:
                    fields[source] = None
                elif not is_constant(value, self.nodes):
                    scalars[source] = None
        results = tuple(node.id for node in nodes if node.id in needed)
        return Kernel(
            tuple(n.id for n in nodes), tuple(fields), tuple(masks), tuple(scalars), results
        )
