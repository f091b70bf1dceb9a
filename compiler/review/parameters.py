"""Hyperparameters: which came and went, and what their defaults, ranges and types are now."""

from collections.abc import Iterator, Mapping, Sequence

from ..printing.declared import declaration, default, limits
from ..records import Hyperparameter
from .records import Change, Fact, How


def parameters(
    old: Sequence[Hyperparameter], new: Sequence[Hyperparameter], renamed: Mapping[str, str]
) -> tuple[Change, ...]:
    """What changed; `renamed` are the new names of parameters that have others now."""
    return tuple(_parameters(old, new, renamed))


def parameters_of(how: How, all: Sequence[Hyperparameter]) -> tuple[Change, ...]:
    """The hyperparameters of an optimizer that is new or gone as a whole."""
    return tuple(Change(how, each.name, declaration(each)) for each in all)


def _parameters(
    old: Sequence[Hyperparameter], new: Sequence[Hyperparameter], renamed: Mapping[str, str]
) -> Iterator[Change]:
    before = {renamed.get(each.name, each.name): each for each in old}
    for after in new:
        was = before.pop(after.name, None)
        if was is None:
            yield Change("added", after.name, declaration(after))
        elif facts := tuple(_facts(was, after)):
            yield Change("changed", after.name, facts=facts)
    for was in before.values():
        yield Change("removed", was.name, declaration(was))


def _facts(was: Hyperparameter, now: Hyperparameter) -> Iterator[Fact]:
    pairs = (
        ("name", was.name, now.name),
        ("type", was.kind, now.kind),
        ("default", default(was), default(now)),
        ("range", limits(was), limits(now)),
    )
    for what, before, after in pairs:
        if before != after:
            yield Fact(what, before, after)
