"""Which hyperparameters two sides share, and the values that both are followed with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..records import Hyperparameter, Scalar
from .compare import Setting
from .side import Side, Values, drawn, shared


@dataclass(frozen=True)
class Matched:
    """Hyperparameters that both have by the same name, and values of the others of each side."""

    both: tuple[Hyperparameter, ...]
    a: Mapping[str, Scalar] = field(default_factory=dict)
    b: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def defaults(self) -> Setting:
        """Both at the defaults of A."""
        return self._setting(known({h.name: h.default for h in self.both}), "at the defaults")

    def settings(self, seed: int, draws: int) -> Iterator[Setting]:
        """The defaults, and then values drawn inside the ranges of both."""
        yield self.defaults
        defaults = known({h.name: h.default for h in self.both})
        for number in range(draws if self.both else 0):
            values = {**defaults, **drawn(self.both, 100 * seed + number)}
            words = ", ".join(f"{name} = {_brief(value)}" for name, value in values.items())
            yield self._setting(values, f"at {words}")

    def _setting(self, values: Values, words: str) -> Setting:
        return Setting({**self.a, **values}, {**self.b, **values}, words)


def matched(a: Side, b: Side, set_a: Values, set_b: Values) -> Matched:
    """What both have is shared; what one has alone, or was given, keeps its value."""
    theirs = {h.name: h for h in b.hyperparameters}
    both = []
    for each in a.hyperparameters:
        other = theirs.get(each.name)
        if other is None or each.name in set_a or each.name in set_b:
            continue
        together = shared(each, other)
        if together is not None:
            default = each.default if each.default is not None else other.default
            both.append(replace(together, default=default))
    names = {h.name for h in both}
    ours, others = (
        {
            h.name: given.get(h.name, h.default)
            for h in side.hyperparameters
            if h.name not in names and (h.name in given or h.derived is None)
        }
        for side, given in ((a, set_a), (b, set_b))
    )
    return Matched(tuple(both), known(ours), known(others))


def known(values: Mapping[str, Scalar | None]) -> dict[str, Scalar]:
    """Those that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def missing(a: Side, b: Side, matched: Matched) -> str:
    """What has no value, in words; empty where everything has one."""
    valued = {h.name for h in matched.both if h.default is not None}
    for side, own in ((a, matched.a), (b, matched.b)):
        for h in side.hyperparameters:
            if h.default is None and h.name not in own and h.name not in valued:
                return f"`{h.name}` of {side.name} has no default; give it a value"
    return ""


def shown(value: Scalar | None) -> str:
    """A value as a spec would say it."""
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _brief(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)
