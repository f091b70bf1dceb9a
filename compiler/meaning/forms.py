"""Forms: how many numbers a field has for each tensor, and how its tensors are arranged."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from ..types import Dims
from .values import Value


@dataclass(frozen=True, slots=True)
class Form:
    """What one number of a field stands for, and how its tensors are arranged.

    Several `per` together are those of a product: with `row` and `column` it has one number for
    each element, but with `row` and `matrix` only for each row.
    """

    pers: tuple[str, ...]
    arrangement: str = ""
    dims: Dims | None = None

    def __or__(self, other: "Form") -> "Form":
        pers = {*self.pers, *other.pers}
        if "element" in pers:
            pers = {"element"}
        elif len(pers) > 1:
            pers -= {"tensor"}
        arrangements = {self.arrangement, other.arrangement} - {""}
        dims = self.dims if self.dims is not None else other.dims
        return Form(tuple(sorted(pers)), " and ".join(sorted(arrangements)), dims)

    def __str__(self) -> str:
        # Locks of programs without matrices know nothing of dimensions.
        dims = "" if self.dims is None else f", dims={self.dims!r}"
        return f"Form(pers={self.pers!r}, arrangement={self.arrangement!r}{dims})"


ELEMENTS = Form(("element",))
"""That of the weights, and of what is like them."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A value, and its form where it is a field."""

    value: Value
    form: Form | None = None


def joined(formulas: Sequence[Formula]) -> Form | None:
    """The form of what several formulas broadcast to."""
    forms = [x.form for x in formulas if x.form is not None]
    return reduce(Form.__or__, forms) if forms else None
