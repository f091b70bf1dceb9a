"""A program while it is being built: plain nodes, cheap to make, which `freeze` turns into a graph.

Checking a spec ends here. Only a spec that is compiled pays for the graph's validation.
"""

from dataclasses import dataclass

from ..records import Assertion, Domain, Group, Hyperparameter, Output, Refusal, Scalar, Slot, Stage
from ..types import Type


@dataclass(frozen=True, slots=True)
class DraftNode:
    """One value; the fields are those of `graph.Node`."""

    id: int
    op: str
    inputs: tuple[int, ...]
    type: Type
    attributes: tuple[tuple[str, Scalar], ...] = ()
    stage: int = -1
    name: str | None = None
    regions: "tuple[DraftRegion, ...]" = ()

    def __getitem__(self, key: str) -> Scalar:
        """The attribute `key`."""
        return dict(self.attributes)[key]


@dataclass(frozen=True, slots=True)
class DraftRegion:
    """Nodes in order; the fields are those of `graph.Region`."""

    nodes: tuple[DraftNode, ...]
    results: tuple[int, ...]
    arguments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """The signal as a stage found it, and as it left it.

    After `tune step` the signal is the step; for `constrain` and `average` it is the weights.
    """

    stage: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A lowered program; the fields are those of `graph.Graph`, and what only lints ask."""

    name: str
    doc: str
    file: str
    hyperparameters: tuple[Hyperparameter, ...]
    domains: tuple[Domain, ...]
    stages: tuple[Stage, ...]
    slots: tuple[Slot, ...]
    start: DraftRegion
    step: DraftRegion
    outputs: tuple[Output, ...]
    refusals: tuple[Refusal, ...] = ()
    groups: tuple[Group, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    lifting: str = "auto"
    evaluation: DraftRegion | None = None
    passages: tuple[Passage, ...] = ()
