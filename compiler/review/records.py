"""A review as a value: sections of changes, which `text` and `tables` write."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

How = Literal["kept", "added", "removed", "changed", "moved"]


@dataclass(frozen=True)
class Fact:
    """One respect in which a thing is another; empty where there was or is nothing."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What became of one thing.

    `head` is its kind or name and `what` what it says now (for what is gone: said). `was` is what
    it said, where all of it is replaced. `inside` are the parts of it, unchanged ones too.
    """

    how: How
    head: str
    what: str = ""
    was: str = ""
    facts: tuple[Fact, ...] = ()
    inside: "tuple[Change, ...]" = ()

    @property
    def counts(self) -> bool:
        """Whether anything changed here or inside."""
        return self.how != "kept" or any(each.counts for each in self.inside)


@dataclass(frozen=True)
class Section:
    """Changes of one subject; those that are kept show where the others stand."""

    title: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Review:
    """What changed between two optimizers.

    `before` or `after` is empty where there is none. `sections` are those in which something
    changed. `same` is whether both are the same map for all values of their hyperparameters: False
    says that this is not shown, not that they differ, and None that there are no two.
    """

    before: str
    after: str
    sections: tuple[Section, ...]
    same: bool | None

    def __bool__(self) -> bool:
        return bool(self.sections)


def shown(changes: tuple[Change, ...], context: int = 2) -> Iterator[Change | None]:
    """The changes with some of what is kept around them; None stands for what is left out."""
    near = {
        place + offset
        for place, change in enumerate(changes)
        if change.counts
        for offset in range(-context, context + 1)
    }
    gap = False
    for place, change in enumerate(changes):
        if place in near:
            gap = False
            yield change
        elif not gap:
            gap = True
            yield None
