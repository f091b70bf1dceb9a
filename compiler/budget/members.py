"""Which tensor goes where: group, view, limited stages, and what was hardly meant.

The same questions as `runtime/groups.py` answers for a program, asked of the graph, so that no
program is made. A tensor's *membership* is one bool for each domain of the graph.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from .. import rearrange
from ..constants import value_of
from ..graph import Graph
from ..predicate import bound, decider
from ..records import Domain, Group, Scalar, Stage, Term
from .tensors import Tensor

Kind: TypeAlias = Literal["leftover", "misfit", "refused", "hidden", "empty"]

FATAL: tuple[Kind, ...] = ("leftover", "misfit", "refused")
"""What `init` refuses; of the others it warns."""

_LISTED = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the groups, as `optimizer.groups` says it, and the tensors concerned.

    What is `refused`, tensors or the values of hyperparameters, meets an `error` of a rule.
    """

    kind: Kind
    group: str | None
    tensors: tuple[str, ...]
    message: str

    @property
    def fatal(self) -> bool:
        """Whether no state can be made."""
        return self.kind in FATAL


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor: its group, its shape there if the group has a view, and its `where` stages.

    Tensors of one `sort` have equal shapes and dtypes and are in the same domains.
    """

    tensor: Tensor
    sort: int
    member: tuple[bool, ...]
    group: str | None
    view: tuple[int, ...] | None
    stages: tuple[str, ...]


class Members:
    """The tensors of a tree in the domains of a lowered graph, at some values of parameters.

    `counts` says how many there are of each sort, and `sorts` has a row of each.
    """

    def __init__(
        self, graph: Graph, tensors: Sequence[Tensor], values: Mapping[str, Scalar]
    ) -> None:
        self.graph = graph
        self.values = values
        self._known: dict[tuple[int, tuple[int, ...], str], bool] = {}
        self._asks_paths = [_asks_path(domain.predicate) for domain in graph.domains]
        self._deciders = [decider(bound(domain.predicate, values)) for domain in graph.domains]
        self._arranged = {
            n: d for n, d in enumerate(graph.domains) if d.view and d.view != _outer(graph, d).view
        }
        self._misfits: dict[str, list[tuple[Tensor, str]]] = {}
        self._sorts: dict[object, int] = {}
        self.rows = tuple(self._row(tensor) for tensor in tensors)
        self.counts = Counter(row.sort for row in self.rows)
        self.sorts = {row.sort: row for row in self.rows}

    def shape(self, domain: int, tensor: Tensor) -> tuple[int, ...]:
        """The shape that a tensor of a domain has there."""
        view = self.graph.domains[domain].view
        if view is None:
            return tensor.shape
        return rearrange.shape(view, tensor.shape, self.values)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the fatal first."""
        found = [self._misfit(name, pairs) for name, pairs in self._misfits.items()]
        found += self._leftovers() + self._refused()
        return (*found, *(f for g in self.graph.groups for f in self._unused(g)))

    @cached_property
    def limited(self) -> tuple[Stage, ...]:
        """The stages that `where` limits: their tensors are not simply those of their group."""
        whole = {0, *(group.domain for group in self.graph.groups), *self._arranged}
        return tuple(stage for stage in self.graph.stages if stage.domain not in whole)

    # ---- rows

    def _row(self, tensor: Tensor) -> Row:
        member: list[bool] = []
        known = facts(tensor, tensor.shape)
        for number in range(len(self.graph.domains)):
            parent = self.graph.domains[number].parent
            inside = number == 0 or member[parent]
            member.append(inside and self._holds(number, tensor, known))
        groups = [group for group in self.graph.groups if member[group.domain]]
        group = groups[0] if groups else None
        view = None
        if group is not None and group.view is not None:
            view = self._viewed(group, tensor)
        stages = tuple(stage.label for stage in self.limited if member[stage.domain])
        key = (tensor.shape, tensor.dtype, *member)
        sort = self._sorts.setdefault(key, len(self._sorts))
        return Row(tensor, sort, tuple(member), group.name if group else None, view, stages)

    def _holds(self, number: int, tensor: Tensor, known: Mapping[str, Scalar]) -> bool:
        if self._asks_paths[number]:
            return self._asked(number, tensor, known)
        key = (number, tensor.shape, tensor.dtype)
        if key not in self._known:
            self._known[key] = self._asked(number, tensor, known)
        return self._known[key]

    def _asked(self, number: int, tensor: Tensor, known: Mapping[str, Scalar]) -> bool:
        domain = self.graph.domains[number]
        if domain.view is not None:
            if rearrange.misfit(domain.view, tensor.shape, self.values):
                return False
            known = facts(tensor, rearrange.shape(domain.view, tensor.shape, self.values))
        return self._deciders[number](known)

    def _viewed(self, group: Group, tensor: Tensor) -> tuple[int, ...] | None:
        assert group.view is not None
        reason = rearrange.misfit(group.view, tensor.shape, self.values)
        if reason:
            self._misfits.setdefault(group.name, []).append((tensor, reason))
            return None
        return rearrange.shape(group.view, tensor.shape, self.values)

    # ---- findings

    def _misfit(self, name: str, pairs: list[tuple[Tensor, str]]) -> Finding:
        group = next(group for group in self.graph.groups if group.name == name)
        assert group.view is not None
        tensor, reason = pairs[0]
        message = (
            f"the view of the group `{name}` ({group.place}) does not fit `{tensor.path}` of shape "
            f"{tensor.shape}: {reason} in `{rearrange.words(group.view)}`"
        )
        more = f"; nor {len(pairs) - 1} others" if len(pairs) > 1 else ""
        return Finding("misfit", name, tuple(t.path for t, _ in pairs), message + more)

    def _leftovers(self) -> list[Finding]:
        left = tuple(r.tensor.path for r in self.rows if r.group is None and self.graph.groups)
        if not left:
            return []
        what = "a tensor is" if len(left) == 1 else f"{len(left)} tensors are"
        return [Finding("leftover", None, left, f"{what} in no group: {_listed(left)}")]

    def _refused(self) -> list[Finding]:
        found = []
        for refusal in self.graph.refusals:
            if not value_of(refusal.condition, self.values):
                continue
            stage, domain = self.graph.stages[refusal.stage], refusal.domain
            message = f"{refusal.message} ({stage.place})"
            if domain is None:
                found.append(Finding("refused", None, (), message))
            elif paths := tuple(row.tensor.path for row in self.rows if row.member[domain]):
                message += f": {_listed(paths)}"
                found.append(Finding("refused", stage.group or None, paths, message))
        return found

    def _unused(self, group: Group) -> list[Finding]:
        """That a group takes nothing; `rest` may be empty."""
        if group.predicate is None or any(row.group == group.name for row in self.rows):
            return []
        wants = decider(bound(group.predicate, self.values))
        wanted = [row for row in self.rows if wants(facts(row.tensor, row.tensor.shape))]
        name = f"the group `{group.name}` ({group.place})"
        if not wanted:
            paths = tuple(row.tensor.path for row in self.rows)
            message = f"{name} matches no tensor; there are {_listed(paths)}"
            return [Finding("empty", group.name, paths, message)]
        paths = tuple(row.tensor.path for row in wanted)
        takers = " and ".join(f"`{by}`" for by in dict.fromkeys(row.group for row in wanted))
        message = f"{name} is hidden: {takers} took {_listed(paths)}"
        return [Finding("hidden", group.name, paths, message)]


def facts(tensor: Tensor, shape: tuple[int, ...]) -> dict[str, Scalar]:
    """What predicates ask of a tensor that is seen in a shape."""
    rows, cols = (1, 1, *shape)[-2:]
    return {
        "ndim": len(shape),
        "size": tensor.size,
        "rows": rows,
        "cols": cols,
        "path": tensor.path,
        "dtype": tensor.dtype,
    }


def _outer(graph: Graph, domain: Domain) -> Domain:
    return graph.domains[domain.parent]


def _asks_path(term: Term) -> bool:
    return term.op == "path" or any(_asks_path(inner) for inner in term.terms)


def _listed(paths: Sequence[str]) -> str:
    shown = [path or "the only tensor" for path in paths[:_LISTED]]
    more = len(paths) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)
