"""Weight tensors by path, shape and dtype: all that a plan knows of a model."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Self

from ...grammar.diagnostic import OptcError, did_you_mean

WIDTHS = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}
"""The dtypes of trained tensors, and the bytes of one number."""

_SHORT = {
    "f64": "float64",
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "f8_e4m3": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2",
}
_WHOLE = {f"{kind}{bits}" for kind in ("int", "uint", "i", "u") for bits in (8, 16, 32, 64)}
UNTRAINED = frozenset({"bool", "complex64", "complex128", "object", *_WHOLE})
"""Other dtypes that a checkpoint may have. Optimizers do not see such tensors.

`object` is what is no number: texts, dates and records in files of NumPy.
"""

_MOST = 2**63
"""No tensor has this many elements."""


class TreeError(OptcError):
    """What was given is no tree of weight tensors; the message says why."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight tensor. The path is slash-separated, `layers/0/kernel`."""

    path: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.size * WIDTHS[self.dtype]


@dataclass(frozen=True)
class Tree:
    """The weights of a model. `left_out` are the paths of tensors that are no floats."""

    name: str
    tensors: tuple[Tensor, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, tensors: Iterable[Tensor]) -> Self:
        """The tree of some tensors, those that are not trained left out.

        Raises TreeError for none at all, and for two of one path.
        """
        known: dict[str, Tensor] = {}
        left_out = []
        for tensor in tensors:
            if not tensor.path.isprintable():
                raise TreeError(f"{name} has a path that cannot be printed: {tensor.path!a}")
            if tensor.path in known:
                raise TreeError(f"{name} has two tensors `{tensor.path}`")
            if tensor.size >= _MOST:
                raise TreeError(f"{name}: `{tensor.path}` has {_MOST:.1e} elements or more")
            if tensor.dtype not in WIDTHS and tensor.dtype not in UNTRAINED:
                raise TreeError(f"{name}: `{tensor.path}` has an unknown dtype {tensor.dtype}")
            if tensor.dtype in UNTRAINED:
                left_out.append(tensor.path)
            else:
                known[tensor.path] = tensor
        if not known:
            raise TreeError(f"{name} holds no tensor of floats")
        return cls(name, tuple(known.values()), tuple(left_out))

    def cast(self, dtype: str) -> "Tree":
        """The same tensors, all in one dtype. Raises TreeError for an unknown one."""
        full = trained_dtype(dtype)
        if full not in WIDTHS:
            raise TreeError(f"`{dtype}` is no dtype of weights; there are {', '.join(WIDTHS)}")
        return replace(self, tensors=tuple(replace(t, dtype=full) for t in self.tensors))


def trained_dtype(name: str) -> str:
    """The full name of a dtype, which may be short: `bf16`. Raises TreeError for another word."""
    full = _SHORT.get(name.lower(), name.lower())
    if full not in WIDTHS and full not in UNTRAINED:
        help = did_you_mean(name, [*WIDTHS, *_SHORT])
        raise TreeError(f"`{name}` is no dtype" + (f"; {help}" if help else ""))
    return full
