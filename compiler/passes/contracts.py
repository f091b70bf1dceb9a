"""What each pass promises, read from its own docstring, and which of them a caller leaves out."""

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ...grammar.diagnostic import OptcError, did_you_mean
from . import PIPELINE, Pass

_ULPS: Mapping[str, int] = {
    "curvature": 16,
    "gram": 16,
    "diagonal": 16,
    "outside": 16,
    "factor": 16,
    "carry": 16,
}
"""How far a pass may round, where it rounds; see `Contract.ulps`."""


class UnknownPassError(OptcError, ValueError):
    """A name that no pass has; the message says which it might be."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A pass, and what holds of it.

    `ulps` is how far a value that it makes anew may be from what it was, in units of 2^-52 of the
    largest of the terms that it is a sum of: 0 where every bit stays.
    """

    name: str
    summary: str
    needs: str
    guarantees: str
    ulps: int

    @property
    def headline(self) -> str:
        """The first sentence of the summary, without its full stop."""
        return self.summary.partition(". ")[0].removesuffix(".")


def contracts() -> tuple[Contract, ...]:
    """One for each pass, in the order of their first turns."""
    return tuple(_contract(run) for run in dict.fromkeys(PIPELINE))


def known(names: Iterable[str]) -> frozenset[str]:
    """The names, all of which are passes'; a string is one name. Raises UnknownPassError."""
    passes = [run.__name__ for run in PIPELINE]
    names = frozenset([names] if isinstance(names, str) else names)
    for name in names:
        if name not in passes:
            help = did_you_mean(name, passes) or f"there are {', '.join(dict.fromkeys(passes))}"
            raise UnknownPassError(f"there is no pass `{name}`; {help}")
    return names


def remaining(without: Collection[str] = ()) -> tuple[Pass, ...]:
    """The pipeline but for the passes of these names. Raises UnknownPassError."""
    left_out = known(without)
    return tuple(run for run in PIPELINE if run.__name__ not in left_out)


def _contract(run: Pass) -> Contract:
    text = " ".join((sys.modules[run.__module__].__doc__ or "").split())
    about, _, promised = text.partition(" Needs: ")
    needs, _, guarantees = promised.partition(" Guarantees: ")
    return Contract(run.__name__, about, needs, guarantees, _ULPS.get(run.__name__, 0))
