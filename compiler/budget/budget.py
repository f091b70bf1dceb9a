"""What an optimizer costs for a tree of weights: the whole answer, as one value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...grammar.diagnostic import OptcError
from .. import rearrange
from ..constants import known_value
from ..graph import Graph
from ..passes.contracts import remaining
from ..passes.settle import settle
from ..records import Hyperparameter, Scalar
from .claims import Verdict, judge
from .compiled import CompiledStep
from .extents import extents
from .least import Moved, least
from .members import Finding, Members, Row
from .memory import StateBytes, state_bytes
from .rates import Rates, Said
from .schema import plain
from .staggered import Staggered, staggered
from .tensors import Tensor, Tree
from .text import text
from .work import Work, work


class BudgetError(OptcError):
    """A plan cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor of the table: where it goes, its rate and its decays."""

    row: Row
    rate: Said | None
    decays: tuple[Said, ...]

    @property
    def tensor(self) -> Tensor:
        """The tensor itself."""
        return self.row.tensor


@dataclass(frozen=True)
class Share:
    """A group, or all tensors where there are none: what it takes and what it keeps."""

    name: str | None
    where: str
    place: str
    view: str | None
    tensors: int
    weights: int
    state_bytes: int


@dataclass(frozen=True)
class Budget:
    """What an optimizer costs for some weights."""

    optimizer: str
    hyperparameters: tuple[Hyperparameter, ...]
    values: Mapping[str, Scalar]
    tree: Tree
    table: tuple[Line, ...]
    groups: tuple[Share, ...]
    findings: tuple[Finding, ...]
    state: StateBytes
    work: Work
    verdicts: tuple[Verdict, ...]
    staggered: tuple[Staggered, ...] = ()
    least: tuple[Moved, ...] = ()
    compiled: CompiledStep | None = None

    @cached_property
    def weights(self) -> int:
        """The number of weights."""
        return sum(line.tensor.size for line in self.table)

    @cached_property
    def weight_bytes(self) -> int:
        """What they take."""
        return sum(line.tensor.bytes for line in self.table)

    @property
    def state_bytes(self) -> int:
        """What the state takes, all of it."""
        return self.state.total

    @property
    def flops_per_weight(self) -> float:
        """The operations of a step for each weight."""
        return self.work.total / max(self.weights, 1)

    @property
    def oracles(self) -> Mapping[str, float]:
        """How often a step asks each oracle, on average."""
        return self.work.oracles

    @property
    def ok(self) -> bool:
        """Whether a state can be made for these weights, and all assertions hold."""
        refused = any(finding.fatal for finding in self.findings)
        return not refused and all(verdict.holds for verdict in self.verdicts)

    def to_dict(self) -> dict[str, object]:
        """The same as plain data that JSON can hold, with the number of its schema."""
        return plain(self)

    def __str__(self) -> str:
        return text(self)


def budget(
    graph: Graph,
    tree: Tree,
    opaque: Mapping[int, int] | None = None,
    scalar: int | None = None,
    without: Collection[str] = (),
) -> Budget:
    """The budget of a lowered graph, at the defaults of its hyperparameters.

    `opaque` and `scalar` are those of `memory.state_bytes`; `scalar` is 8 for weights of float64,
    which JAX has only where it computes in 64 bits, and else 4. `without` names passes that are
    left out. Raises BudgetError where a hyperparameter without a default decides.
    """
    values = _values(graph)
    members = Members(graph, tree.tensors, values)
    rates = Rates(graph, members, values)
    table = tuple(Line(row, *rates.of(row)) for row in members.rows)
    executed = _simplified(graph, without)
    scalar = scalar or (8 if has_doubles(tree) else 4)
    sizes = extents(executed, members)
    state = state_bytes(executed, members, sizes, opaque or {}, scalar)
    worked = work(executed, sizes, sum(tensor.size for tensor in tree.tensors), values)
    groups = _shares(graph, table, state)
    found = Budget(
        optimizer=graph.name,
        hyperparameters=graph.hyperparameters,
        values=values,
        tree=tree,
        table=table,
        groups=groups,
        findings=members.findings,
        state=state,
        work=worked,
        verdicts=(),
        staggered=staggered(executed, members, sizes),
        least=least(executed, sum(tensor.bytes for tensor in tree.tensors), state),
    )
    quantities = {
        "state_bytes": found.state_bytes,
        "weight_bytes": found.weight_bytes,
        "tensors": len(table),
        "groups": len(graph.groups),
        "oracles": sum(worked.oracles.values()),
        "flops_per_weight": found.flops_per_weight,
    }
    verdicts = tuple(judge(assertion, quantities) for assertion in graph.assertions)
    return replace(found, verdicts=verdicts)


def has_doubles(tree: Tree) -> bool:
    """Whether there are weights of float64."""
    return any(tensor.dtype == "float64" for tensor in tree.tensors)


def opaque_slots(graph: Graph) -> tuple[int, ...]:
    """The numbers of the slots that only optax knows the size of."""
    return tuple(n for n, slot in enumerate(graph.slots) if slot.type.kind == "opaque")


def _simplified(graph: Graph, without: Collection[str]) -> Graph:
    """What is executed, before the last pass: it forgets the shapes that groups see."""
    for run in remaining(without):
        graph = graph if run is settle else run(graph)
    return graph


def _values(graph: Graph) -> dict[str, Scalar]:
    """The values of hyperparameters: defaults, and what follows from them."""
    values: dict[str, Scalar] = {}
    for parameter in graph.hyperparameters:
        value = parameter.default
        if parameter.derived is not None:
            value = known_value(parameter.derived, values)
        if value is not None:
            values[parameter.name] = float(value) if parameter.kind == "float" else value
        elif parameter.static:
            message = f"`{parameter.name}` has no default, and what is kept may depend on it"
            raise BudgetError(f"{message}; give it a value")
    return values


def _shares(graph: Graph, table: Sequence[Line], state: StateBytes) -> tuple[Share, ...]:
    """What each group takes; without groups, one share of all tensors."""
    shares = []
    for group in graph.groups:
        view = rearrange.words(group.view) if group.view else None
        shares.append(_share(group.name, group.where, group.place, view, table, state))
    left = any(line.row.group is None for line in table)
    return (*shares, *([_share(None, "", "", None, table, state)] if left else []))


def _share(
    name: str | None,
    where: str,
    place: str,
    view: str | None,
    table: Sequence[Line],
    state: StateBytes,
) -> Share:
    own = [line.tensor for line in table if line.row.group == name]
    kept = sum(slot.groups.get(name, 0) for slot in state.slots)
    return Share(name, where, place, view, len(own), sum(t.size for t in own), kept)
