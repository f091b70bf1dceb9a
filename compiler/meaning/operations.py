"""What the op table's elementwise ops are in the algebra of formulas."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, isinf, isnan

from ..records import Scalar
from .algebra import Algebra
from .values import AT_MOST_ONE, NONNEGATIVE, POSITIVE, Value

_CONDITIONS = ("isfinite",)
_FACTS = {"exp": POSITIVE, "cosh": POSITIVE, "sin": AT_MOST_ONE, "cos": AT_MOST_ONE}
_FACTS["tanh"] = AT_MOST_ONE
_EXACT: dict[str, Callable[[Fraction], int]] = {"floor": floor, "ceil": ceil, "round": round}


class Operations:
    """Applies ops to formulas. Ops without laws here make atoms of their inputs."""

    def __init__(self, algebra: Algebra) -> None:
        a = self.algebra = algebra
        self._texts: dict[str, str] = {}
        self._known: dict[str, Callable[..., Value]] = {
            "add": a.add,
            "sub": a.sub,
            "mul": a.mul,
            "div": a.div,
            "pow": a.pow,
            "neg": a.neg,
            "float": lambda x: x,
            "min": a.least,
            "max": a.most,
            "clamp": lambda x, low, high: a.least(a.most(x, low), high),
            "abs": a.absolute,
            "sign": a.sign,
            "square": lambda x: a.mul(x, x),
            "sqrt": a.root,
            "expm1": lambda x: a.sub(self.apply("exp", x), a.one),
            "log1p": lambda x: self.apply("log", a.add(a.one, x)),
            "lt": a.less,
            "gt": lambda x, y: a.less(y, x),
            "le": lambda x, y: a.invert(a.less(y, x)),
            "ge": lambda x, y: a.invert(a.less(x, y)),
            "eq": self._equal,
            "ne": lambda x, y: a.invert(self._equal(x, y)),
            "and": a.mul,
            "or": a.either,
            "not": a.invert,
            "where": a.choose,
        }

    def literal(self, value: Scalar) -> Value:
        """A literal of a spec: a number means its decimal digits, not the float next to them."""
        if isinstance(value, str):
            text = self.algebra.atom("text", value)
            self._texts[text.key] = value
            return text
        if isinstance(value, float) and isinf(value):
            return self.algebra.infinity if value > 0 else self.algebra.neg(self.algebra.infinity)
        if isinstance(value, float) and isnan(value):
            return self.algebra.atom("number", "nan", wild=True)
        return self.algebra.number(Fraction(repr(value)) if type(value) is float else int(value))

    def apply(self, op: str, *inputs: Value) -> Value:
        """An elementwise op on formulas."""
        if (meaning := self._known.get(op)) is not None:
            return meaning(*inputs)
        scalar = all(x.scalar for x in inputs)
        if op in _CONDITIONS:
            return self.algebra.condition(op, of=inputs, scalar=scalar)
        if op in _EXACT and inputs[0].number is not None:
            return self.algebra.number(_EXACT[op](inputs[0].number))
        if op == "mod" and inputs[0].number is not None and inputs[1].number:
            return self.algebra.number(inputs[0].number % inputs[1].number)
        if op in ("exp", "sin", "tan", "sinh", "tanh", "arcsin", "arctan") and (
            inputs[0].number == 0
        ):
            return self.algebra.number(int(op == "exp"))
        if op == "log" and inputs[0].number == 1:
            return self.algebra.zero
        known = _FACTS.get(op, 0)
        if op == "exp" and self.algebra.is_(self.algebra.neg(inputs[0]), NONNEGATIVE):
            known |= AT_MOST_ONE
        return self.algebra.atom(op, of=inputs, scalar=scalar, facts=known)

    def _equal(self, x: Value, y: Value) -> Value:
        if x.key in self._texts and y.key in self._texts:
            return self.algebra.number(int(x.key == y.key))
        return self.algebra.equal(x, y)
