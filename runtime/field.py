"""Fields: one array for every place of the weights, and functions of one tensor lifted."""

import dis
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper, wraps
from itertools import pairwise, repeat
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp

from .arrange import View
from .devices import Split, freely, placed_like
from .tree import Leaf, Place, Tree

Tensor: TypeAlias = jax.Array | None
"""One tensor of a field; None where the field has none."""


WIDENED = "widened"
"""Declared of a state that is kept in the dtype that is computed in, at least float32."""


@jax.tree_util.register_pytree_node_class
class Field:
    """One tensor for each place of the weights, None where the field leaves a weight out.

    `tree` describes the weights, not the tensors: those of a state may have other shapes. A place
    is a weight tensor or a stack of several, whose tensor then has one more axis, the first.
    `declared` is the dtype that a state is kept in between steps, None for the weight's own, and
    `WIDENED` for that which is computed in.
    """

    __slots__ = ("_members", "declared", "tensors", "tree")

    tensors: tuple[Tensor, ...]
    tree: Tree
    declared: str | None

    def __init__(self, tensors: Sequence[Tensor], tree: Tree, declared: str | None = None) -> None:
        self.tensors = tuple(tensors)
        self.tree = tree
        self.declared = declared
        self._members: tuple[Tensor, ...] | None = None

    @classmethod
    def of(cls, members: Sequence[Tensor], tree: Tree) -> "Field":
        """The field of one tensor for each weight tensor, stacked where the places are stacks."""
        made = Field(tree.stack(members), tree)
        made._members = tuple(members)
        return made

    @property
    def members(self) -> tuple[Tensor, ...]:
        """One tensor for each weight tensor, whatever the places are."""
        return self.tree.unstack(self.tensors) if self._members is None else self._members

    @property
    def like(self) -> tuple[Tensor, ...]:
        """Tensors of which only shape and placement are used."""
        return self.tensors

    @property
    def domain(self) -> "Mask":
        """Where the field has a tensor."""
        return Mask(tuple(tensor is not None for tensor in self.tensors))

    def tree_flatten(self) -> tuple[tuple[Tensor, ...], tuple[Tree, str | None]]:
        """The tensors, and what JAX keeps beside them."""
        return self.tensors, (self.tree, self.declared)

    @classmethod
    def tree_unflatten(cls, beside: tuple[Tree, str | None], tensors: Sequence[Tensor]) -> "Field":
        """The field of these tensors."""
        return Field(tensors, *beside)

    def __repr__(self) -> str:
        return f"Field({', '.join(leaf.path for leaf in self.tree.leaves)})"


class UnknownWeights(Field):
    """The weights of a caller who gave none: their shapes are known, their values are not."""

    __slots__ = ("_like",)

    message: ClassVar[str] = (
        "`params` is missing: this optimizer reads the weights, "
        "so call update(grads, state, params)"
    )

    def __init__(self, like: Field) -> None:
        self.tree = like.tree
        self.declared = None
        self._like = like.tensors
        self._members = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:  # type: ignore[override]  # reading it is the error
        """Not there: raises ValueError naming the missing argument."""
        raise ValueError(self.message)

    @property
    def like(self) -> tuple[Tensor, ...]:
        """Tensors of the same shapes."""
        return self._like


@dataclass(frozen=True, slots=True)
class Mask:
    """A choice of weight tensors, made before the program runs; a flag for each place."""

    flags: tuple[bool, ...]

    def members(self, tree: Tree) -> tuple[bool, ...]:
        """A flag for each weight tensor, whatever the places are."""
        chosen = zip(tree.places, self.flags, strict=True)
        here = {i for place, flag in chosen if flag for i in place.members}
        return tuple(i in here for i in range(len(tree.leaves)))

    def __and__(self, other: "Mask") -> "Mask":
        return Mask(tuple(a and b for a, b in zip(self.flags, other.flags, strict=True)))

    def __or__(self, other: "Mask") -> "Mask":
        return Mask(tuple(a or b for a, b in zip(self.flags, other.flags, strict=True)))

    def __invert__(self) -> "Mask":
        return Mask(tuple(not flag for flag in self.flags))


def mask(
    w: Field,
    predicate: Callable[..., bool],
    within: Mask | None = None,
    view: View | None = None,
    h: Mapping[str, Any] | None = None,
) -> Mask:
    """The weight tensors for which a predicate holds; it sees a `Leaf`, its path and shape.

    With `view` the predicate sees the tensors of `within` in that arrangement; with `h` it also
    sees the hyperparameters.
    """
    beside = () if h is None else (h,)
    leaves = w.tree.leaves

    def chooses(leaf: Leaf) -> bool:
        return bool(predicate(leaf if view is None else view.of(leaf, {}), *beside))

    def flag(place: Place) -> bool:
        found = [chooses(leaves[i]) for i in place.members]
        if any(found) != all(found):
            paths = ", ".join(leaves[i].path for i in place.members)
            raise ValueError(f"a stack holds tensors that a set tells apart: {paths}")
        return found[0]

    flags = within.flags if within else (True,) * len(w.tree.places)
    pairs = zip(w.tree.places, flags, strict=True)
    return Mask(tuple(inside and flag(place) for place, inside in pairs))


def restrict(field: Field, where: Mask) -> Field:
    """The field on the tensors of a mask; None elsewhere."""
    kept = zip(field.tensors, where.flags, strict=True)
    return Field([x if keep else None for x, keep in kept], field.tree)


def refuse(w: Field, where: Mask, message: str, line: str) -> None:
    """Raise ValueError when any tensor lies in `where`, naming the tensors and the spec line."""
    chosen = [place for place, here in zip(w.tree.places, where.flags, strict=True) if here]
    paths = [w.tree.leaves[i].path for place in chosen for i in place.members]
    if paths:
        raise ValueError(f"{message} ({line}): {', '.join(paths)}")


def zeros(w: Field, where: Mask | None = None) -> Field:
    """Zeros shaped like the weights, on the tensors of a mask."""
    return full(w, 0.0, where)


def ones(w: Field, where: Mask | None = None) -> Field:
    """Ones shaped like the weights, on the tensors of a mask."""
    return full(w, 1.0, where)


def full(w: Field, value: jax.Array | float, where: Mask | None = None) -> Field:
    """One number everywhere, shaped and placed like the weights, on the tensors of a mask."""
    flags = where.flags if where else (True,) * len(w.like)
    made = (
        placed_like(x, jnp.full_like(x, value, dtype=compute_dtype(x.dtype)))
        if keep and x is not None
        else None
        for x, keep in zip(w.like, flags, strict=True)
    )
    return Field(tuple(made), w.tree)


def nans(w: Field, where: Mask | None = None) -> Field:
    """One NaN for each tensor of a mask, in a shape that broadcasts against it."""
    flags = where.flags if where else (True,) * len(w.like)

    def made(place: Place, x: jax.Array) -> jax.Array:
        stack = (len(place.rows),) if place.is_stack else ()
        shape = stack + (1,) * (x.ndim - len(stack))
        return jnp.full(shape, jnp.nan, compute_dtype(x.dtype))

    rows = zip(w.tree.places, w.like, flags, strict=True)
    return Field([made(place, x) if k and x is not None else None for place, x, k in rows], w.tree)


def copy(w: Field) -> Field:
    """The same values in buffers of their own.

    A state that starts as the weights needs them: one buffer cannot be donated twice.
    """
    return Field([None if x is None else jnp.copy(x) for x in w.tensors], w.tree, w.declared)


def compute_dtype(dtype: Any) -> Any:
    """The dtype to compute in: floats of less than 32 bits become float32, all else stays."""
    narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4
    return jnp.dtype(jnp.float32) if narrow else jnp.dtype(dtype)


def widen(x: Any) -> Any:
    """An array as a step computes with it: floats at least float32; None stays None."""
    return None if x is None else cast(x, compute_dtype(x.dtype))


def cast(x: Any, dtype: Any) -> Any:
    """The array in another dtype; itself where it has that one."""
    return x if x.dtype == dtype else x.astype(dtype)


def scalar_dtype() -> Any:
    """The dtype of every float scalar: float64 under x64, else float32."""
    return jnp.result_type(float)


def per_tensor(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Lift a function of one tensor to fields.

    The lifted function takes fields, masks and scalars in any mix and calls `fn` once for each
    weight tensor for which at least one of the fields has a tensor: with the tensor (or None)
    of each field, the bool of each mask, and the scalars. Float scalars take the dtype of the
    tensor, so that float32 weights stay float32 when scalars are float64. Bools, ints, and
    strings of Python are static in `fn`, as are masks. The result is one field, or a tuple of
    fields where `fn` returns a tuple. Without any field among the arguments, `fn` is just called.
    A stack is one call, in which `fn` sees each of its tensors alone, under `vmap`.

    >>> @per_tensor
    ... def shrink(x, rate, chosen):
    ...     return (1 - rate) * x if chosen else x
    """
    return _Lifted(fn)


class _Lifted:
    """A function of one tensor, and its jitted forms by the positions of its arguments.

    Each place is one call of one jitted function, so that places of equal shape are traced
    and lowered once: at 1000 tensors this takes tracing to a fifth.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        update_wrapper(self, fn)
        self._fn = fn
        self._jitted: dict[Any, Callable[..., Any]] = {}
        self._results = _results(fn)

    def __call__(self, *args: Any) -> Any:
        fields = [arg for arg in args if isinstance(arg, Field)]
        if not fields:
            return self._fn(*args)
        tree = fields[0].tree
        columns = [_column(arg) for arg in args]
        casts = _Casts(args)
        rows = []
        for place, row in zip(tree.places, zip(*columns, strict=False), strict=True):
            dtype = casts.dtype(row)
            fn = self._stacked(args, tree.open_split) if place.is_stack else self._plain(args)
            rows.append(None if dtype is None else fn(*casts.cast(row, dtype)))
        results = next((_count(row) for row in rows if row is not None), self._results)
        if results is None:
            return Field(rows, tree)
        empty = (None,) * results
        transposed = zip(*(empty if row is None else row for row in rows), strict=True)
        return tuple(Field(x, tree) for x in transposed) if rows else (Field((), tree),) * results

    def _plain(self, args: tuple[Any, ...]) -> Callable[..., Any]:
        static, eager = _static(args), _is_eager(args)
        if (static, eager) not in self._jitted:
            made = freely(_exact(self._fn))
            self._jitted[static, eager] = jax.jit(made, static_argnums=static, keep_unused=eager)
        return self._jitted[static, eager]

    def _stacked(self, args: tuple[Any, ...], split: Split | None) -> Callable[..., Any]:
        static = _static(args)
        stacks = frozenset(i for i, x in enumerate(args) if isinstance(x, Field))
        key = (static, stacks, split, eager := _is_eager(args))
        if key not in self._jitted:
            made = partial(_over_stack, _exact(self._fn), static, stacks, split)
            self._jitted[key] = jax.jit(made, static_argnums=static, keep_unused=eager)
        return self._jitted[key]


def _static(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(i for i, x in enumerate(args) if isinstance(x, Mask | bool | int | str))


def _is_eager(args: tuple[Any, ...]) -> bool:
    """Whether nothing is traced: a call then runs on the devices of its arguments, used or not."""
    return not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args))


def _over_stack(
    fn: Callable[..., Any],
    static: tuple[int, ...],
    stacks: frozenset[int],
    split: Split | None,
    *args: Any,
) -> Any:
    """What `fn` gives of each tensor of a stack; each device does its part where it is split."""
    given = [i for i in range(len(args)) if i not in static]

    def one(*values: Any) -> Any:
        row = dict(zip(given, values, strict=True))
        return fn(*(row.get(i, x) for i, x in enumerate(args)))

    run = freely(jax.vmap(one, in_axes=tuple(0 if i in stacks else None for i in given)))
    if split is not None:
        run = split.over(run, tuple(i in stacks for i in given))
    return run(*(args[i] for i in given))


def _exact(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function with products of matrices that are not rounded to less than their dtype."""

    @wraps(fn)
    def traced(*args: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return fn(*args)

    return traced


class _Casts:
    """The scalars of one lifted call in the dtype of each tensor, cast once for each dtype."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self._fields = [i for i, arg in enumerate(args) if isinstance(arg, Field)]
        self._scalars = [i for i, arg in enumerate(args) if _is_float_array(arg)]
        self._args = args
        self._made: dict[Any, dict[int, Any]] = {}

    def dtype(self, row: tuple[Any, ...]) -> Any:
        """The widest float dtype of the tensors here; None where there is no tensor at all."""
        found = None
        for i in self._fields:
            x = row[i]
            if x is not None and (found is None or x.dtype != found):
                found = x.dtype if found is None else jnp.promote_types(found, x.dtype)
        return found

    def cast(self, row: tuple[Any, ...], dtype: Any) -> Sequence[Any]:
        """The arguments for this tensor, with the scalars in its dtype."""
        if not self._scalars or not jnp.issubdtype(dtype, jnp.floating):
            return row
        if dtype not in self._made:
            scalars = ((i, self._args[i]) for i in self._scalars)
            self._made[dtype] = {i: x.astype(dtype) for i, x in scalars if x.dtype != dtype}
        changed = self._made[dtype]
        return [changed.get(i, x) for i, x in enumerate(row)] if changed else row


def _is_float_array(arg: Any) -> bool:
    dtype = None if isinstance(arg, Field) else getattr(arg, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def _column(arg: Any) -> Any:
    match arg:
        case Field():
            return arg.tensors
        case Mask():
            return arg.flags
        case _:
            return repeat(arg)


def _count(row: Any) -> int | None:
    return len(row) if isinstance(row, tuple) else None


def _results(fn: Callable[..., Any]) -> int | None:
    """How many results the tuple has that `fn` returns, None for a single result.

    Read from its code, for the trees in which there is no tensor to call `fn` with.
    """
    code = getattr(inspect.unwrap(fn), "__code__", None)
    for before, last in pairwise(dis.get_instructions(code) if code else ()):
        if last.opname == "RETURN_VALUE" and before.opname == "BUILD_TUPLE":
            return int(before.argval)
    return None
