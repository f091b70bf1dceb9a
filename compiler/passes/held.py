"""Have what counts only where a condition holds read what is kept there.

A guard keeps `where(ok, mu, old)`, and the step, which counts only where `ok` holds as well, is
made of `mu`. So XLA makes `mu` twice, once while its old value is overwritten, which it copies
first. Where `ok` holds both are equal, so the step may be made of what is kept. Then each new state
is made once, where it lies.

Needs: equal values merged and none dead. Guarantees: the same values to the last bit wherever they
count. It rewrites only work on single tensors that the condition does not need, and that nothing
reads but through a choice by it. The other side of such a choice is known before the step, so that
no value comes to need itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from ..graph import Graph, Node, Region, index, walk
from ..plan import free_values, is_kernel_work
from .rewrite import over_regions, renamed, with_regions

_KNOWN = ("state", "input", "const")


def held(graph: Graph) -> Graph:
    """See the module's docstring."""
    choices = Counter(node.inputs[0] for node in index(graph).values() if _chooses(node))
    for condition, count in choices.items():
        if count > 1:
            graph = _Holding(graph, condition).held()
    return graph


def _chooses(node: Node) -> bool:
    return node.op == "where" and node.type.is_field


class _Holding:
    """The rewriting of what counts only where one condition holds."""

    def __init__(self, graph: Graph, condition: int) -> None:
        self._graph = graph
        self._condition = condition
        self._nodes = index(graph)
        self._users: dict[int, list[Node]] = defaultdict(list)
        self._results: set[int] = set()
        for region in graph.regions():
            self._results |= set(region.results)
            for node in walk(region):
                self._results |= {id for inner in node.regions for id in inner.results}
                for id in node.inputs:
                    self._users[id].append(node)
        choices = [n for n in self._nodes.values() if _chooses(n) and self._is_choice(n)]
        self._choices = {choice.id: choice.inputs[1] for choice in choices}
        self._kept = {made: id for id, made in self._choices.items()}

    def held(self) -> Graph:
        """The graph with that rewritten."""
        scalar = self._nodes[self._condition].type
        return over_regions(self._graph, self._region) if scalar.is_scalar else self._graph

    def _is_choice(self, node: Node) -> bool:
        condition, made, other = node.inputs
        known = self._nodes[other].op in _KNOWN and other != made
        return condition == self._condition and known and node.type == self._nodes[made].type

    def _region(self, region: Region) -> Region:
        asked = self._asked()
        inside: set[int] = set()
        nodes: list[Node] = []
        for node in reversed(region.nodes):
            if self._counts_within(node.id, inside):
                inside.add(node.id)
                rewritten = is_kernel_work(node) and node.id not in asked
                if rewritten and node.id not in self._choices:
                    node = renamed(node, self._kept)
            nodes.append(with_regions(node, [self._region(inner) for inner in node.regions]))
        return region.model_copy(update={"nodes": _ordered(nodes[::-1])})

    def _counts_within(self, id: int, inside: set[int]) -> bool:
        """Whether a value is read, and only where the condition holds."""
        users = self._users[id]
        if not users or id in self._results:
            return False
        return all(
            self._choices[user.id] == id if user.id in self._choices else user.id in inside
            for user in users
        )

    def _asked(self) -> set[int]:
        """What the condition needs."""
        found: set[int] = set()
        todo = [self._condition]
        while todo:
            id = todo.pop()
            if id not in found:
                found.add(id)
                todo += _needs(self._nodes[id])
        return found


def _ordered(nodes: list[Node]) -> tuple[Node, ...]:
    """Nodes of a region, each behind what it needs, and else in the order that they had."""
    waiting = {node.id: node for node in nodes}
    done: list[Node] = []
    for first in nodes:
        todo = [first.id]
        while todo:
            node = waiting.get(todo[-1])
            before = [id for id in _needs(node) if id in waiting] if node else []
            todo += before
            if node and not before:
                done.append(waiting.pop(node.id))
            if not before:
                todo.pop()
    return tuple(done)


def _needs(node: Node) -> Iterator[int]:
    yield from node.inputs
    for region in node.regions:
        yield from free_values(region)
