"""The typed graph of a whole update: frozen nodes, JSON out and in without loss.

A graph has three regions: `start` makes the slots of a fresh state, `step` is one update,
`evaluation` (where an `average` rule asks for it) makes the weights to evaluate with. A region
is a list of nodes in an order in which each node follows its inputs. Control flow is a node
with regions of its own, whose nodes may use every value defined before in the regions around
them. Ids are unique in the whole graph.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from pydantic import BaseModel, ConfigDict, Field

from .records import (
    Assertion,
    Domain,
    Group,
    Hyperparameter,
    Output,
    Refusal,
    Scalar,
    Slot,
    Stage,
    is_within,
)
from .types import Type


class Frozen(BaseModel):
    """A pydantic model that cannot change and takes nothing that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants"
    )


class Node(Frozen):
    """One value: an op, its ordered inputs, its attributes and its type.

    `stage` indexes the graph's stages and says which line of the spec caused the node. `name`
    is what the spec calls the value, if anything.
    """

    id: int
    op: str
    inputs: tuple[int, ...]
    type: Type
    attributes: tuple[tuple[str, Scalar], ...] = ()
    stage: int = -1
    name: str | None = None
    regions: "tuple[Region, ...]" = ()

    def __getitem__(self, key: str) -> Scalar:
        """The attribute `key`."""
        for name, value in self.attributes:
            if name == key:
                return value
        raise KeyError(key)

    def get(self, key: str) -> Scalar | None:
        """The attribute `key`, or None."""
        return next((value for name, value in self.attributes if name == key), None)


class Region(Frozen):
    """Nodes in evaluation order, the arguments that they may use, and what they result in."""

    arguments: tuple[int, ...] = ()
    nodes: tuple[Node, ...]
    results: tuple[int, ...]


Node.model_rebuild()


class Graph(Frozen):
    """A whole program."""

    name: str
    doc: str
    file: str
    hyperparameters: tuple[Hyperparameter, ...]
    domains: tuple[Domain, ...]
    stages: tuple[Stage, ...]
    slots: tuple[Slot, ...]
    start: Region
    step: Region
    refusals: tuple[Refusal, ...] = ()
    groups: tuple[Group, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    lifting: str = "auto"
    outputs: tuple[Output, ...] = Field(description="one for each result of `step`, in order")
    evaluation: Region | None = None

    def regions(self) -> tuple[Region, ...]:
        """The top regions that exist."""
        return (self.start, self.step, *([self.evaluation] if self.evaluation else []))

    def is_within(self, inner: int, outer: int) -> bool:
        """Whether domain `inner` is `outer` or a part of it."""
        return is_within(self.domains, inner, outer)


def is_plain_mean(node: Node) -> bool:
    """Whether a node is the mean of the gradients of examples, and of no function of them."""
    region = node.regions[0] if node.op == "per_example_mean" else None
    return region is not None and region.results == region.arguments


def rounds(node: Node) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The rounds of a `gram_loop`: for each sort their number, and its coefficients."""
    given = iter(node.inputs[1:])
    for size in str(node["sizes"]).split():
        yield next(given), tuple(islice(given, int(size)))


def walk(region: Region) -> Iterator[Node]:
    """Every node of a region and of the regions inside it, in order, outer before inner."""
    for node in region.nodes:
        yield node
        for inner in node.regions:
            yield from walk(inner)


def reads(regions: Iterable[Region]) -> "Counter[int]":
    """How often each value is read in some regions and inside them, as a result too."""
    found: Counter[int] = Counter()
    for region in regions:
        found.update(region.results)
        for node in walk(region):
            found.update(node.inputs)
            found.update(i for inner in node.regions for i in inner.results)
    return found


def index(graph: Graph) -> Mapping[int, Node]:
    """Every node of the graph by its id."""
    return {node.id: node for region in graph.regions() for node in walk(region)}
