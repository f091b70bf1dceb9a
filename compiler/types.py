"""Types of graph values: scalars, fields, and what only oracles or externs make and take.

A field has one tensor for every weight tensor of its domain, and a history the last few fields.
`per` says what one number of a field stands for: an element, or (broadcast over the rest) a whole
tensor, an output unit, ... Model outputs have tensors of their own, whatever the model gives.
"""

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

PERS = ("tensor", "unit", "row", "column", "matrix")
"""What `per =` accepts beside an axis; a reduction without it runs over all the weights."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of one value.

    `static` scalars are known when a program is bound: literals, and what is computed from
    `int`, `bool` and `str` parameters. `domain` indexes the graph's domains: 0 is all tensors.
    `unknown` is the type of a value whose mistake was already reported; it fits everywhere.
    """

    kind: Kind
    dtype: DType = "float"
    per: Per = "element"
    domain: int = 0
    static: bool = False

    @property
    def is_field(self) -> bool:
        """Whether there is one tensor for every weight tensor."""
        return self.kind == "field"

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
            case "field" if self.per == "tensor":
                return "one scalar per tensor"
            case "field" if isinstance(self.per, int):
                return f"one scalar for each place of axis {self.per}"
            case "field" if self.per != "element":
                return f"one scalar per {self.per}"
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

    A field result lives on `domain`, where the operation runs.
    """
    if any(t.kind == "outputs" for t in types):
        return Type("outputs", dtype)
    fields = [t for t in types if t.is_field]
    if not fields:
        return Type("scalar", dtype)
    pers = {t.per for t in fields} - {"tensor"}
    match len(pers):
        case 0:
            per: Per = "tensor"
        case 1:
            (per,) = pers
        case _:
            per = "element"
    return Type("field", dtype, per, domain)


def dynamic(type: Type) -> Type:
    """The same type for a value that is only known while running."""
    return replace(type, static=False) if type.static else type
