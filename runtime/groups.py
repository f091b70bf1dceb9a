"""Which tensor goes where: the groups of a program, proved against a tree of weights.

Each tensor goes to the first group that takes it. `GroupTable` shows where, and finds what a
person did not mean: a tensor that no group takes, a group whose tensors earlier groups took, a
group that takes nothing. Only paths, shapes and dtypes are looked at, so structs will do.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from .arrange import View
from .tree import Leaf

Takes: TypeAlias = Callable[..., bool]
"""A predicate of the `.path .shape .ndim .size .rows .cols .dtype` of a tensor.

With `with_h` it is one of the hyperparameters too, as its second argument.
"""


class GroupWarning(UserWarning):
    """A group of an optimizer takes none of the tensors that it was given."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the spec declares it: what it takes, in Python and in the spec's words.

    Without `takes` it is `group rest`, which takes all that is left.
    """

    name: str
    takes: Takes | None = None
    where: str = ""
    line: str = ""
    view: View | None = None
    with_h: bool = False

    def __str__(self) -> str:
        return f"{self.name} where {self.where}" if self.takes else self.name


@dataclass(frozen=True, slots=True)
class Limited:
    """A stage that `where` limits to some tensors, in a group or (without one) outside."""

    stage: str
    takes: Takes
    group: str = ""
    with_h: bool = False


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One weight tensor: its group (None for a leftover) and the limited stages it passes.

    `view` is the shape that it has for its group's rules, where the group has a view.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    group: str | None
    stages: tuple[str, ...]
    view: tuple[int, ...] | None = None


Kind: TypeAlias = Literal["leftover", "misfit", "hidden", "empty"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was hardly meant, and the paths of the `tensors` that it is about.

    `leftover` tensors fall into no group, and `misfit` ones do not fit the view of theirs, which
    `reason` explains. A `hidden` group would take `tensors`, and the groups `by` took them all
    before; an `empty` one matches no tensor at all.
    """

    kind: Kind
    group: str | None
    tensors: tuple[str, ...]
    by: tuple[str, ...] = ()
    line: str = ""
    reason: str = ""

    def __str__(self) -> str:
        place = f" ({self.line})" if self.line else ""
        listed = ", ".join(path or "the only tensor" for path in self.tensors)
        match self.kind:
            case "leftover":
                return f"{_count(self.tensors)} in no group{place}: {listed}"
            case "misfit":
                return f"the view of the group `{self.group}`{place} does not fit {self.reason}"
            case "hidden":
                takers = " and ".join(f"`{name}`" for name in self.by)
                return f"the group `{self.group}`{place} is hidden: {takers} took {listed}"
            case "empty":
                return f"the group `{self.group}`{place} matches no tensor; there are {listed}"


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A row for each weight tensor, and what is wrong with the groups. Prints as a table."""

    groups: tuple[Group, ...]
    rows: tuple[TensorRow, ...]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data that JSON can hold: dicts and lists of texts and numbers."""
        groups = [{"name": g.name, "where": g.where, "line": g.line} for g in self.groups]
        return {
            "groups": groups,
            "rows": [_plain(row) for row in self.rows],
            "findings": [_plain(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        heads = ("tensor", "shape", "dtype", "group", "view", "stages with `where`")
        texts = [_texts(row) for row in self.rows]
        shown = [i for i in range(len(heads)) if i < 3 or any(row[i] for row in texts)]
        table = [[row[i] for i in shown] for row in (heads, *texts)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([*lines, *(f"! {finding}" for finding in self.findings)])


def group_table(
    groups: Sequence[Group],
    limited: Sequence[Limited],
    leaves: Sequence[Leaf],
    h: Mapping[str, Any],
) -> GroupTable:
    """The table of some weights; `h` has the hyperparameters that views and predicates speak of."""
    rows, misfits = [], []
    for leaf in leaves:
        group = next((group for group in groups if _takes(group, leaf, h)), None)
        seen: Leaf | None = leaf
        if group is not None and group.view is not None:
            try:
                seen = group.view.of(leaf, h)
            except ValueError as error:
                seen = None
                reason = f"`{leaf.path}` of shape {leaf.shape}: {error} in `{group.view}`"
                misfits.append(Finding("misfit", group.name, (leaf.path,), (), group.line, reason))
        rows.append(_row(leaf, seen, group, limited, h))
    taken = [row.group for row in rows]
    return GroupTable(tuple(groups), tuple(rows), (*misfits, *_findings(groups, leaves, taken, h)))


def _row(
    leaf: Leaf,
    seen: Leaf | None,
    group: Group | None,
    limited: Sequence[Limited],
    h: Mapping[str, Any],
) -> TensorRow:
    """The row of a tensor, which its group sees as `seen`."""
    name = group.name if group else None

    def reaches(stage: Limited) -> bool:
        if not stage.group:
            return _takes(stage, leaf, h)
        return stage.group == name and seen is not None and _takes(stage, seen, h)

    reached = tuple(stage.stage for stage in limited if reaches(stage))
    view = seen.shape if seen and group and group.view else None
    return TensorRow(leaf.path, leaf.shape, leaf.dtype, name, reached, view)


def prove(table: GroupTable) -> None:
    """Raise ValueError for leftovers and misfits; warn of groups that take nothing."""
    for finding in table.findings:
        if finding.kind == "misfit":
            raise ValueError(str(finding))
        if finding.kind == "leftover":
            known = "".join(f"\n  group {group}  ({group.line})" for group in table.groups)
            raise ValueError(f"{finding}; the groups are{known}\nadd `group rest {{ ... }}`")
    for finding in table.findings:
        warnings.warn(str(finding), GroupWarning, stacklevel=3)


def _takes(asked: Group | Limited, leaf: Leaf, h: Mapping[str, Any]) -> bool:
    if asked.takes is None:
        return True
    return bool(asked.takes(leaf, h) if asked.with_h else asked.takes(leaf))


def _findings(
    groups: Sequence[Group],
    leaves: Sequence[Leaf],
    taken: Sequence[str | None],
    h: Mapping[str, Any],
) -> list[Finding]:
    """What is wrong; `rest` may be empty, and without tensors there is nothing to say."""
    if not groups or not leaves:
        return []
    found = []
    left = tuple(leaf.path for leaf, group in zip(leaves, taken, strict=True) if group is None)
    if left:
        found.append(Finding("leftover", None, left))
    for group in groups:
        if group.takes is None or group.name in taken:
            continue
        wanted = [
            (leaf.path, by)
            for leaf, by in zip(leaves, taken, strict=True)
            if _takes(group, leaf, h)
        ]
        if wanted:
            by = dict.fromkeys(name for _, name in wanted if name is not None)
            paths = tuple(path for path, _ in wanted)
            found.append(Finding("hidden", group.name, paths, tuple(by), group.line))
        else:
            paths = tuple(leaf.path for leaf in leaves)
            found.append(Finding("empty", group.name, paths, line=group.line))
    return found


def _plain(record: TensorRow | Finding) -> dict[str, Any]:
    fields = asdict(record).items()
    return {name: list(x) if isinstance(x, tuple) else x for name, x in fields}


def _count(tensors: Sequence[str]) -> str:
    return "a tensor is" if len(tensors) == 1 else f"{len(tensors)} tensors are"


def _texts(row: TensorRow) -> tuple[str, ...]:
    path, group = row.path or "(the only tensor)", row.group or ""
    view = "" if row.view is None else str(row.view)
    return path, str(row.shape), row.dtype, group, view, ", ".join(row.stages)
