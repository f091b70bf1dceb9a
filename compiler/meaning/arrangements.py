"""Views as formulas: opaque, but that scalars pass them by, and that one undoes its opposite."""

import re
from collections.abc import Sequence

from .algebra import Algebra
from .values import Value

_AXIS = re.compile(r"[A-Za-z_]\w*")


class Arrangements:
    """The views that were seen. A view is named by its pattern and sizes, whatever its axes are."""

    def __init__(self, algebra: Algebra) -> None:
        self._algebra = algebra
        self._inside: dict[str, tuple[str, Value]] = {}
        self._before: dict[str, tuple[str, str]] = {}

    def name(self, pattern: str, sizes: str, given: Sequence[Value]) -> str:
        """Which view it is."""
        return repr((_renamed(f"{pattern} | {sizes}"), [size.key for size in given]))

    def opposite(self, pattern: str, sizes: str) -> str:
        """The view that undoes one, if sizes do not matter; else no view's name."""
        before, after = pattern.split("->")
        return "" if sizes else self.name(f"{after.strip()} -> {before.strip()}", "", ())

    def cut(self, largest: Value) -> str:
        """Which cut into blocks it is."""
        return repr(("blocks", largest.key))

    def padded(self, x: Value, form: str, name: str) -> Value:
        """A value in blocks. There are zeros behind it, so that a number is none there."""
        if x.number == 0:
            return x
        made = self._algebra.atom("view", name, form, of=[x], scalar=False)
        self._inside[made.key] = (name, x)
        return made

    def seen(self, x: Value, form: str, name: str, opposite: str) -> Value:
        """A value in a view."""
        return self._through(x, form, "view", name, opposite)

    def undone(self, x: Value, form: str, name: str) -> Value:
        """A value in the view `name` as it was before."""
        return self._through(x, form, "unview", name, name)

    def arrangement(self, before: str, name: str, opposite: str) -> str:
        """How tensors are arranged that a view shows."""
        last, outer = self._before.get(before, ("", ""))
        if last and last == opposite:
            return outer
        after = repr((name, before))
        self._before[after] = (name, before)
        return after

    def _through(self, x: Value, form: str, op: str, name: str, opposite: str) -> Value:
        outside, inside = self._algebra.apart(x)
        last, outer = self._inside.get(inside.key, ("", inside))
        if inside.number is not None:
            made = inside
        elif last and last == opposite:
            made = outer
        else:
            made = self._algebra.atom(op, name, form, of=[inside], scalar=False)
            if op == "view":
                self._inside[made.key] = (name, inside)
        return self._algebra.mul(outside, made)


def _renamed(text: str) -> str:
    """A pattern with its axes numbered as they appear."""
    names = list(dict.fromkeys(_AXIS.findall(text)))
    return _AXIS.sub(lambda axis: f"a{names.index(axis[0])}", text)
