"""The verifier that stands at each border: what holds for every graph, or the compiler is wrong."""

from collections import Counter
from itertools import combinations

from .graph import Graph, Node, Region, index, walk
from .ops import OPS
from .types import ONE_FOR_ALL, WHOLE, Type, broadcast, shape

ARITY_FREE = {
    *("loop", "stagger", "normal", "rademacher", "uniform", "round_stochastic", "view", "unview"),
    *("filled", "eye", "arange", "inverse_root", "matrix_power", "orthonormal", "polar"),
    *("eigenbasis", "eigenvalues", "cholesky", "solve", "gram_loop"),
    *("extern", "extern_init", "hutchinson", "xtrace", "sampled_outputs_grad", "feature_alignment"),
    *("fisher_rows", "fisher_columns"),
}
"""Ops that take more inputs than their row says: carried values, rounds, sizes, arguments."""


class InvalidGraphError(AssertionError):
    """A graph breaks a rule of its own form. This is a fault of the compiler, never of a spec."""


def verify(graph: Graph, *, lean: bool = False) -> Graph:
    """The graph itself, when it is well formed; `lean` also asks that nothing in it is dead.

    Checks that ids are unique, that each value is defined before its use and visible there (so
    that there is no cycle), that ops have the inputs that their row says, that regions end in as
    many results as are read, that shapes are what ops make of shapes, and that each state has one
    writer.
    """
    ids = Counter(node.id for region in graph.regions() for node in walk(region))
    _require(not (twice := [i for i, n in ids.items() if n > 1]), f"ids are used twice: {twice}")
    for region in graph.regions():
        _verify_region(graph, region, {})
    _verify_outputs(graph)
    if lean:
        _verify_reach(graph)
    return graph


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidGraphError(message)


def _verify_region(graph: Graph, region: Region, outer: dict[int, Node]) -> None:
    visible = dict(outer)
    for node in region.nodes:
        for source in node.inputs:
            _require(source in visible, f"{node.op} {node.id} uses {source}, not defined before")
        _verify_node(graph, node, visible)
        for inner in node.regions:
            _verify_region(graph, inner, visible)
        visible[node.id] = node
    for result in region.results:
        _require(result in visible, f"a region results in {result}, which it does not see")


def _verify_node(graph: Graph, node: Node, visible: dict[int, Node]) -> None:
    op = OPS.get(node.op)
    if op is None:
        raise InvalidGraphError(f"there is no op {node.op}")
    arity = len(node.inputs)
    fits = arity == op.arity or (node.op in ARITY_FREE and arity >= op.arity)
    _require(fits, f"{node.op} {node.id} takes {op.arity} inputs and has {arity}")
    _require(not node.type.is_unknown, f"{node.op} {node.id} has no type")
    if node.op == "stagger":
        made = len(node.regions[0].results)
        _require(arity - op.arity == made > 0, f"stagger {node.id} keeps what it does not make")
    if node.op == "item":
        source = visible[node.inputs[0]]
        results = {len(r.results) for r in source.regions[:2] if source.op == "if"}
        once = source.op in ("loop", "stagger")
        results |= {len(source.regions[0].results)} if once else set()
        results |= {2} if source.op == "extern" else set()
        _require(int(node["index"]) < min(results), f"item {node.id} reads past the results")
    _verify_shapes(node, [visible[i].type for i in node.inputs])
    if op.op_class == "elementwise":
        for source in (visible[i] for i in node.inputs):
            if source.type.is_field:
                inside = graph.is_within(node.type.domain, source.type.domain)
                _require(inside, f"{node.op} {node.id} reads tensors that its input has not")


def _verify_shapes(node: Node, inputs: list[Type]) -> None:
    """What is said of a node's shape is what its op makes of those of its inputs."""
    dims = node.type.dims or WHOLE
    match node.op, [type.dims or WHOLE for type in inputs]:
        case "matmul" | "matvec", [one, other]:
            fits = one[-1] == other[0] and dims == (*one[:-1], *other[1:])
            _require(fits, f"{node.op} {node.id} of {one} and {other} is said to be {dims}")
        case "transpose", [one]:
            _require(dims == one[::-1], f"transpose {node.id} of {one} is said to be {dims}")
    if OPS[node.op].op_class in ("elementwise", "local"):
        parts = [t for t in inputs if t.is_field and t.per not in ONE_FOR_ALL]
        fit = all(broadcast(one, other) for one, other in combinations(parts, 2))
        same = node.type.per in ONE_FOR_ALL or not parts or node.type.dims == shape(parts)
        shapes = [t.dims for t in (*parts, node.type)]
        _require(fit and same, f"{node.op} {node.id} is of several shapes: {shapes}")


def _verify_outputs(graph: Graph) -> None:
    _require(len(graph.outputs) == len(graph.step.results), "outputs and results differ in number")
    _require(len(graph.slots) == len(graph.start.results), "slots and start values differ")
    writers = Counter(o.index for o in graph.outputs if o.role == "slot")
    for number, slot in enumerate(graph.slots):
        count = writers[number]
        _require(count == 1, f"the state {slot.stage}.{slot.name} has {count} writers")


def _verify_reach(graph: Graph) -> None:
    """What is alive is what a result asks for; regions ask for their results with their node."""
    nodes = index(graph)
    wanted = {i for region in graph.regions() for i in region.results}
    for node in nodes.values():
        if node.op == "argument":
            wanted.add(node.id)
    alive: set[int] = set()
    while wanted:
        alive.add(id := wanted.pop())
        node = nodes[id]
        inner = (source for r in node.regions for source in _asked(r))
        wanted |= {*node.inputs, *inner} - alive
    dead = sorted(set(nodes) - alive)
    _require(not dead, f"nodes without a use: {dead}")


def _asked(region: Region) -> set[int]:
    """The results of a region, and what all its nodes use."""
    return set(region.results).union(*(node.inputs for node in walk(region)))
