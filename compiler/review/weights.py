"""Real weights under two optimizers: which tensors go elsewhere, or get another rate or decay."""

import re
from collections.abc import Iterator, Sequence

from ..budget.budget import Budget, Line
from ..budget.rates import Said
from .records import Change, Fact
from .stages import Alignment

_LISTED = 4


def tensors(old: Budget, new: Budget, found: Alignment) -> tuple[Change, ...]:
    """The tensors of which something else is true now, those of one change together."""
    labels = found.labels()
    before = {line.tensor.path: line for line in old.table}
    alike: dict[tuple[Fact, ...], list[Line]] = {}
    for line in new.table:
        facts = tuple(_facts(before[line.tensor.path], line, found.groups, labels))
        if facts:
            alike.setdefault(facts, []).append(line)
    moved = (Change("changed", "", _named(ls), facts=facts) for facts, ls in alike.items())
    return (*moved, *_findings(old, new))


def _findings(old: Budget, new: Budget) -> Iterator[Change]:
    """What is wrong with the groups of only one of both, for these weights."""
    before = {(f.kind, f.group, f.tensors): f.message for f in old.findings}
    after = {(f.kind, f.group, f.tensors): f.message for f in new.findings}
    yield from (Change("removed", "", text) for key, text in before.items() if key not in after)
    yield from (Change("added", "", text) for key, text in after.items() if key not in before)


def _facts(was: Line, now: Line, groups: dict[str, str], labels: dict[str, str]) -> Iterator[Fact]:
    before, after = was.row.group or "", now.row.group or ""
    if groups.get(before, before) != after:
        yield Fact("group", before, after)
    kept = {labels.get(s) for s in was.row.stages}
    lost = [s for s in _limited(was) if labels.get(s) not in now.row.stages]
    gained = [s for s in _limited(now) if s not in kept]
    if lost or gained:
        yield Fact("limited stages", ", ".join(lost), ", ".join(gained))
    if _rate(was.rate) != _rate(now.rate):
        yield Fact("rate", _rate(was.rate), _rate(now.rate))
    if _decays(was) != _decays(now):
        yield Fact("decay", _decays(was), _decays(now))


def _limited(line: Line) -> list[str]:
    """The stages with a `where` that take the tensor; decays are told by their numbers."""
    return [s for s in line.row.stages if not s.rpartition(".")[2].startswith("decay")]


def _rate(said: Said | None) -> str:
    """A rate or decay at the first step."""
    if said is None:
        return ""
    return "by data" if said.value is None else f"{said.value:.6g}"


def _decays(line: Line) -> str:
    """The decays; the rate multiplies those that stand before it too."""
    place = -1 if line.rate is None else line.rate.place
    said = (f"{_rate(d)}{' before the rate' * (d.place < place)}" for d in line.decays)
    return " and ".join(said)


def _named(lines: Sequence[Line]) -> str:
    """Some tensors: `h/*/attn/kernel x 12, wte (13 tensors, 66,929,664 weights)`."""
    patterns: dict[str, list[str]] = {}
    for line in lines:
        path = line.tensor.path
        patterns.setdefault(re.sub(r"[0-9]+", "*", path), []).append(path)
    names = [
        f"{pattern} x {len(paths)}" if len(paths) > 1 else paths[0] or "the only tensor"
        for pattern, paths in patterns.items()
    ]
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    weights = sum(line.tensor.size for line in lines)
    count = f"{len(lines)} tensor{'s' * (len(lines) != 1)}, {weights:,} weights"
    return f"{', '.join([*names[:_LISTED], *more])} ({count})"
