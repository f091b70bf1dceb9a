"""How results grow with inputs: the algebra of scalar factors, which rows of the op table state.

An op is homogeneous where inputs that are `s` times as large make a result that is a power of `s`
times as large. So a factor may be taken out of what it multiplies, or carried into it, across any
op whose row says so.
"""

from dataclasses import dataclass, replace
from typing import Literal

Power = float | Literal["n", "-1/n", "other", "shape"]
"""With which power an op grows in an input: a number, or one that the second input `n` says.

`other` is for what decides in another way, as a condition does, and `shape` for what is there for
its shape alone."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What becomes of an op's result where its inputs are `s` times as large, for any `s` above 0.

    In a product each input has a factor of its own, and the result has all of them, to these
    powers. Where inputs are `alike`, as those of a sum, all must have the same factor. `signed`
    says that it holds for `s` below 0 as well. Inputs behind the last power only give a shape.
    """

    powers: tuple[Power, ...] = ()
    alike: bool = False
    signed: bool = False

    def power(self, place: int) -> Power:
        """The power in the input at a place."""
        return self.powers[place] if place < len(self.powers) else "shape"

    def resolved(self, n: float | None) -> "Growth | None":
        """With numbers for all powers; None where `n`, the second input, is no number that fits."""
        match self.powers[:1]:
            case ("n",):
                power = n
            case ("-1/n",):
                power = -1 / n if n else None
            case _:
                return self
        return None if power is None else replace(self, powers=(power, *self.powers[1:]))


LINEAR = Growth((1,), signed=True)
PRODUCT = Growth((1, 1), signed=True)
QUOTIENT = Growth((1, -1), signed=True)
SQUARE = Growth((2,), signed=True)
SUM = Growth((1, 1), alike=True, signed=True)
CHOICE = Growth(("other", 1, 1), alike=True, signed=True)

SIZE = Growth((1,))
EXTREME = Growth((1, 1), alike=True)
ROOT = Growth((0.5,))

SIGN = Growth((0,), alike=True)
"""What a positive factor does not change."""

COMPARISON = Growth((0, 0), alike=True)
"""What a factor does not change that both sides have."""

POWER = Growth(("n", "other"))
INVERSE_ROOT = Growth(("-1/n", "other"))

FIXED = Growth()
"""What looks at no numbers."""
