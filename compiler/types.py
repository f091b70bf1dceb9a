"""Types of graph values: scalars, fields, and what only oracles or externs make and take.

A field has one tensor for every weight tensor of its domain, and a history the last few fields.
`per` says what one number of a field stands for: an element, or (broadcast over the rest) a whole
tensor, an output unit, ... Model outputs have tensors of their own, whatever the model gives.

A tensor of a field has the shape of its weight, or with `dims` a shape of its own: the weight's
axes before the last two, and then these. So `dims` of (-2, -2) are a matrix of rows by rows for
each matrix of the weight, and (-1,) a vector of as many numbers as it has columns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "scalar",
    "field",
    "history",
    "outputs",
    "examples",
    "spectrum",
    "text",
    "point",
    "tuple",
    "opaque",
    "unknown",
]
DType = Literal["float", "int", "bool"]
Per = Literal["element", "tensor", "unit", "row", "column", "matrix"] | int
"""What one number stands for; an axis, counted from 0, is for one number at each of its places."""

Dim = int | str
"""A length: an axis of the weight counted from its end, a number, or a hyperparameter's name."""

Dims = tuple[Dim, ...]

WHOLE: Dims = (-2, -1)
"""The matrix of the weight itself."""

PERS = ("tensor", "unit", "row", "column", "matrix")
"""What `per =` accepts beside an axis; a reduction without it runs over all the weights."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of one value.

    `static` scalars are known when a program is bound: literals, and what is computed from
    `int`, `bool` and `str` parameters. `domain` indexes the graph's domains: 0 is all tensors.
    `unknown` is the type of a value whose mistake was already reported; it fits everywhere. `dims`
    are None where the tensors are shaped like the weights, and compared as they are written: two
    lengths are the same if they are of one axis, or of one name.
    """

    kind: Kind
    dtype: DType = "float"
    per: Per = "element"
    domain: int = 0
    static: bool = False
    dims: Dims | None = None

    @property
    def is_field(self) -> bool:
        """Whether there is one tensor for every weight tensor."""
        return self.kind == "field"

    @property
    def is_like_weights(self) -> bool:
        """Whether this is a field with a number for each of the weights."""
        return self.is_field and self.per == "element" and self.dims is None

    @property
    def is_indices(self) -> bool:
        """Whether the numbers are places in a vector, with which nothing is computed."""
        return self.is_field and self.dtype == "int"

    @property
    def is_vector(self) -> bool:
        """Whether there is a vector for each matrix of the weights."""
        return self.dims is not None and len(self.dims) == 1

    @property
    def has_own_shape(self) -> bool:
        """Whether its tensors have another shape than the weights, and not that of a transpose."""
        return self.dims is not None and set(self.dims) != set(WHOLE)

    @property
    def has_tensors(self) -> bool:
        """Whether it is computed tensor by tensor: a field, or model outputs."""
        return self.kind in ("field", "outputs")

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number."""
        return self.kind == "scalar"

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known, because a mistake was reported before."""
        return self.kind == "unknown"

    def __str__(self) -> str:
        match self.kind:
            case "scalar":
                return {"float": "a scalar", "int": "an integer", "bool": "a condition"}[self.dtype]
            case "field" if self.dtype == "bool":
                return "a field of conditions"
            case "field" if self.is_indices:
                return "a vector of indices"
            case "field" if self.per == "tensor":
                return "one scalar per tensor"
            case "field" if isinstance(self.per, int):
                return f"one scalar for each place of axis {self.per}"
            case "field" if self.per != "element":
                return f"one scalar per {self.per}"
            case "field" if self.dims is not None:
                return "a vector" if self.is_vector else "a matrix"
            case "field":
                return "a field"
            case "text":
                return "a text"
            case "history":
                return "a history"
            case "outputs" if self.dtype == "bool":
                return "conditions on model outputs"
            case "outputs":
                return "model outputs"
            case "examples":
                return "one gradient per example"
            case "spectrum":
                return "a spectrum"
            case "opaque":
                return "the state of a transformation"
            case "point" | "tuple" | "unknown":
                return f"a {self.kind}"


SCALAR = Type("scalar")
INT = Type("scalar", "int")
BOOL = Type("scalar", "bool")
FIELD = Type("field")
TEXT = Type("text", static=True)
POINT = Type("point")
OUTPUTS = Type("outputs")
SPECTRUM = Type("spectrum")
EXAMPLES = Type("examples")
TUPLE = Type("tuple")
OPAQUE = Type("opaque")
UNKNOWN = Type("unknown")


def join(types: tuple[Type, ...], dtype: DType, domain: int) -> Type:
    """The type of an elementwise operation: scalars broadcast over fields, `per` widens.

    A field result lives on `domain`, where the operation runs. The shapes of fields agree.
    """
    if any(t.kind == "outputs" for t in types):
        return Type("outputs", dtype)
    fields = [t for t in types if t.is_field]
    if not fields:
        return Type("scalar", dtype)
    pers = {t.per for t in fields} - {"tensor"}
    if len(pers) == 2 and pers < {"matrix", "row", "column"}:
        pers -= {"matrix"}  # one number for all rows of a matrix is one for each of them
    match len(pers):
        case 0:
            per: Per = "tensor"
        case 1:
            (per,) = pers
        case _:
            per = "element"
    dims = None if per in ONE_FOR_ALL else shape(fields)
    return Type("field", dtype, per, domain, dims=dims)


ONE_FOR_ALL = ("tensor", "matrix")
"""Numbers that broadcast against whatever there is for each tensor or matrix, of any shape."""


KNOWN: Mapping[Per, tuple[bool, bool]] = {
    "element": (True, True),
    "row": (True, False),
    "column": (False, True),
}
"""Whether the numbers for parts of a matrix have its rows, and its columns, in their shape."""


def broadcast(one: Type, other: Type) -> bool:
    """Whether two fields that have more than a number for each matrix fit elementwise."""
    if one.dims == other.dims:
        return True
    if one.is_vector or other.is_vector or not {one.per, other.per} <= KNOWN.keys():
        return False
    pairs = zip(one.dims or WHOLE, other.dims or WHOLE, strict=True)
    known = zip(KNOWN[one.per], KNOWN[other.per], strict=True)
    return all(a == b for (a, b), both in zip(pairs, known, strict=True) if all(both))


def shape(fields: Iterable[Type]) -> Dims | None:
    """The shape that fields broadcast to, those with a number for each matrix left aside."""
    parts = [t for t in fields if t.per not in ONE_FOR_ALL]
    first = next((t.dims for t in parts), None)
    if all(t.dims == first for t in parts) or any(t.is_vector for t in parts):
        return first
    sides = (
        next((t for t in parts if t.per in KNOWN and KNOWN[t.per][n]), parts[0]) for n in (0, 1)
    )
    return matrix_of(tuple((t.dims or WHOLE)[n] for n, t in enumerate(sides)))


def matrix_of(dims: Dims) -> Dims | None:
    """The `dims` of a type whose last axes are these: None for the weight's own."""
    return None if dims == WHOLE else dims


def lengths(dims: Dims) -> tuple[str, ...]:
    """The lengths of a shape in words: `rows` and `cols` are those of the weight's matrix."""
    return tuple({-2: "rows", -1: "cols"}.get(d, str(d)) if isinstance(d, int) else d for d in dims)


def dynamic(type: Type) -> Type:
    """The same type for a value that is only known while running."""
    return replace(type, static=False) if type.static else type
