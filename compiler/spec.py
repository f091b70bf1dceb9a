"""A resolved optimizer: stages in order with their tensors, parameters with their ranges.

Every stage stands where it may, every group and name is known, every predicate is decided on
tensors. What the rules compute is typed when they are lowered, where their arguments are known.
"""

from dataclasses import dataclass, field

from ..grammar import syntax
from ..grammar.source import Span
from .declarations import Declarations
from .records import Assertion, Domain, Group, Hyperparameter, Stage


@dataclass
class Labels:
    """What stages are called, in order: `clip`, `clip_2`, `hidden.clip`."""

    counts: dict[str, int] = field(default_factory=dict)

    def next(self, kind: str, group: str = "") -> str:
        """The label of the next stage of a kind."""
        label = f"{group}.{kind}" if group else kind
        count = self.counts[label] = self.counts.get(label, 0) + 1
        return label if count == 1 else f"{label}_{count}"


@dataclass(frozen=True)
class SpecStage:
    """One stage: `kind`, the syntax that says it, its tensors, and its number in `Spec.stages`.

    `declarations` are the names that hold where its rule is written.
    """

    kind: str
    label: str
    syntax: syntax.Stage
    domain: int
    index: int
    declarations: Declarations


@dataclass(frozen=True)
class SpecObserve:
    """One observation; `group` is the domain of the group it stands in, or 0."""

    name: str
    syntax: syntax.Observe
    group: str
    index: int
    declarations: Declarations


@dataclass(frozen=True)
class SpecGroup:
    """The stages of one group, and its tensors."""

    name: str
    domain: int
    declared: Group
    stages: tuple[SpecStage, ...]


@dataclass(frozen=True)
class Spec:
    """One optimizer, ready to be lowered.

    `before` are the stages that all tensors pass, then come the `groups` (if any), then
    `after`. `equals` is what the optimizer claims to be, `assertions` what it claims to cost, and
    `lifting` how its work is lifted.
    """

    name: str
    doc: str
    equals: syntax.Call | None
    file: str
    span: Span
    hyperparameters: tuple[Hyperparameter, ...]
    domains: tuple[Domain, ...]
    stages: tuple[Stage, ...]
    before: tuple[SpecStage, ...]
    groups: tuple[SpecGroup, ...]
    after: tuple[SpecStage, ...]
    observes: tuple[SpecObserve, ...]
    assertions: tuple[Assertion, ...] = ()
    lifting: str = "auto"
