"""Reductions as formulas: what runs over the parts of tensors, or over tensors, and is linear."""

from collections.abc import Sequence

from .algebra import Algebra
from .values import NONNEGATIVE, Value


class Reductions:
    """Atoms for sums and their like, with scalar factors before them.

    `over` says what is run over, and `scalar` whether the result is one number.
    """

    def __init__(self, algebra: Algebra) -> None:
        self._algebra = algebra

    def of(self, op: str, over: Sequence[str], values: Sequence[Value], *, scalar: bool) -> Value:
        """A reduction of one field, or of two."""
        x = values[0]
        match op:
            case "norm":
                square = self.sum(over[0], self._algebra.mul(x, x), scalar=scalar)
                return self._algebra.root(square)
            case "dot" if over[0] == over[1]:
                return self.sum(over[0], self._algebra.mul(*values), scalar=scalar)
            case "dot":
                pairs = sorted(zip(over, values, strict=True), key=lambda p: (p[0], p[1].key))
                names, of = [name for name, _ in pairs], [x for _, x in pairs]
                return self._algebra.atom("dot", *names, of=of, scalar=scalar)
            case "sum":
                return self.sum(over[0], x, scalar=scalar)
            case "mean":
                return self.linear(f"mean {over[0]}", x, scalar=scalar)
            case "largest":
                return self._largest(over[0], x, scalar)
            case "smallest":
                return self._algebra.neg(self._largest(over[0], self._algebra.neg(x), scalar))
            case "all":
                negated = self._any(over[0], self._algebra.invert(x), scalar)
                return self._algebra.invert(negated)
            case _:
                return self._any(over[0], x, scalar)

    def sum(self, over: str, x: Value, *, scalar: bool) -> Value:
        """A sum."""
        return self.linear(f"sum {over}", x, scalar=scalar, keeps=NONNEGATIVE)

    def linear(self, name: str, x: Value, *at: Value, scalar: bool, keeps: int = 0) -> Value:
        """What scalar factors are taken out of: a sum, or a product with a matrix.

        What is known of the rest and is in `keeps`, is known of the result.
        """
        if x.number == 0:
            return x
        outside, inside = self._algebra.apart(x)
        facts = self._algebra.facts(inside) & keeps
        found = self._algebra.atom(name, of=[*at, inside], scalar=scalar, facts=facts)
        return self._algebra.knowing(
            self._algebra.mul(outside, found), self._algebra.facts(x) & keeps
        )

    def _largest(self, over: str, x: Value, scalar: bool) -> Value:
        outside, inside = self._algebra.apart(x, positive=True)
        found = self._algebra.atom("largest", over, of=[inside], scalar=scalar)
        return self._algebra.mul(outside, found)

    def _any(self, over: str, x: Value, scalar: bool) -> Value:
        if x.number == 0:
            return x
        return self._algebra.condition("any", over, of=[x], scalar=scalar)
