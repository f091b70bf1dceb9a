"""One row of the op table: all that the compiler knows about an op.

A row has the op's class, how many inputs it takes, its result's dtype, its meaning (in NumPy, and
on plain numbers for folding), how Python code says it, its cost, its notation, and how it grows.
`numpy` names a function of NumPy or of the interpreter, so that a row imports neither. `notation`
is how papers write the op: a layout and its sign, which `compiler.notation` sets in text, LaTeX
and MathML.

`python` is a template over the printed inputs. A template without braces is a function name.
`binding` is the precedence of the printed expression (Python's, higher binds tighter).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .growth import Growth
from .types import DType

OpClass = Literal[
    "elementwise",
    "local",
    "reduction",
    "shape",
    "matrix",
    "fill",
    "random",
    "history",
    "oracle",
    "spectral",
    "control",
    "leaf",
    "opaque",
]

Layout = Literal[
    "infix",
    "prefix",
    "fraction",
    "power",
    "root",
    "fence",
    "call",
    "product",
    "quadratic",
    "cases",
    "same",
    "second",
    "sample",
    "sign",
    "transpose",
    "inverse",
    "inverse root",
]
"""How a formula shows an op. `product` is a call of the first input times the second, `quadratic`
the same between the second and itself; `same` and `second` show that input alone, `sample` and
`sign` show their sign alone. `inverse` is the inverse of the first input times the second."""

Notation = tuple[Layout, str]

AS_CALL: Notation = ("call", "")

CALL = 16
"""The binding strength of a call, a name or a literal: it never needs parentheses."""


Dtype = DType | Literal["join"]


class Attributed(Protocol):
    """A node of a draft or a graph."""

    @property
    def attributes(self) -> tuple[tuple[str, Any], ...]:
        """What its op needs to know beside its inputs."""


Takes = tuple[Literal["number", "bool", "any"], ...]
Meaning = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Op:
    """See the module's docstring.

    `takes` are the dtypes of the inputs (`number` is float or int) and `gives` that of the
    result: a dtype, or `join` for float unless all inputs are ints. `flops` counts operations
    for each element. `static` is the template for values known when a program is bound, and
    `scalar` the op on plain numbers; both are None where folding is not wanted. `growth` says what
    becomes of a factor, and is None where nothing is known of it.
    """

    name: str
    op_class: OpClass
    takes: Takes
    gives: Dtype = "join"
    numpy: str = ""
    python: str = ""
    notation: Notation = AS_CALL
    binding: int = CALL
    flops: int = 0
    static: str | None = None
    scalar: Meaning | None = None
    growth: Growth | None = None

    @property
    def commutes(self) -> bool:
        """Whether its two inputs may change places."""
        return self.name in ("add", "mul", "min", "max", "and", "or", "eq", "ne", "dot")

    @property
    def arity(self) -> int:
        """How many inputs the op takes."""
        return len(self.takes)
