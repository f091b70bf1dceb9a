"""Kernels: functions of one tensor, lifted to fields."""

import dis
import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper, wraps
from itertools import pairwise, repeat
from typing import Any

import jax
import jax.numpy as jnp

from .copies import in_copies
from .devices import Split, freely
from .field import Field, Mask
from .multi_output import copies_by
from .numbers import LARGE, Numbers


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
        casts = _Casts(args)
        given = [casts.row(row) for row in zip(*map(_column, args), strict=False)]
        count = None if _is_eager(args) else copies_by()
        own = {} if count is None else self._own_numbers(count, args, casts, given)
        shared = () if count is None or self._results is None else (count,)
        rows: list[Any] = []
        for i, (place, row) in enumerate(zip(tree.places, given, strict=True)):
            if row is None:
                rows.append(None)
                continue
            numbers, before = own.get(i, (None, shared))
            split = tree.open_split if place.is_stack else None
            fn = self._jitted_for(args, place.is_stack, split, before, numbers)
            rows.append(fn(*before, *(numbers.without(row) if numbers else row)))
        results = next((_count(row) for row in rows if row is not None), self._results)
        if results is None:
            return Field(rows, tree)
        empty = (None,) * results
        transposed = zip(*(empty if row is None else row for row in rows), strict=True)
        return tuple(Field(x, tree) for x in transposed) if rows else (Field((), tree),) * results

    def _own_numbers(
        self, count: jax.Array, args: tuple[Any, ...], casts: "_Casts", given: Sequence[Any]
    ) -> dict[int, tuple[Numbers, tuple[jax.Array, ...]]]:
        """By place, the numbers of large tensors in vectors that no other kernel reads."""
        numbers = Numbers.among(args)
        if self._results is None and not numbers:
            return {}
        places: dict[Any, list[int]] = {}
        for i, row in enumerate(given):
            if row is None or casts.size(row) < LARGE:
                continue
            if numbers.are_better_apart(casts.tensors(row) + (self._results or 1)):
                places.setdefault(casts.dtype(row), []).append(i)
        found: dict[int, tuple[Numbers, tuple[jax.Array, ...]]] = {}
        for dtype, here in places.items():
            copies = numbers.copies(count, casts.cast(args, dtype), len(here))
            found |= {i: (numbers, vectors) for i, vectors in zip(here, copies, strict=True)}
        return found

    def _jitted_for(
        self,
        args: tuple[Any, ...],
        is_stack: bool,
        split: Split | None,
        before: tuple[jax.Array, ...],
        numbers: Numbers | None,
    ) -> Callable[..., Any]:
        """The jitted form for arguments in these positions, behind a count or own numbers."""
        given = (*before, *args)
        static, eager = _static(given), _is_eager(given)
        stacks = frozenset(i for i, x in enumerate(given) if isinstance(x, Field))
        key = (static, eager, is_stack and (stacks, split), len(before), numbers)
        if key not in self._jitted:
            counted = self._results is not None and len(before) > 0
            vectors = None if numbers is None else len(before)
            made = in_copies(self._fn, numbers=vectors) if counted else self._fn
            if numbers is not None:
                made = numbers.given_to(made, counted=counted)
            made = _exact(made)
            made = partial(_over_stack, made, static, stacks, split) if is_stack else freely(made)
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

    def row(self, row: Sequence[Any]) -> Sequence[Any] | None:
        """The arguments for one place, numbers in its dtype; None where there is no tensor."""
        dtype = self.dtype(row)
        return None if dtype is None else self.cast(row, dtype)

    def tensors(self, row: Sequence[Any]) -> int:
        """How many of the fields have a tensor here."""
        return len([i for i in self._fields if row[i] is not None])

    def size(self, row: Sequence[Any]) -> int:
        """How many elements the largest of the tensors here has."""
        return max(int(row[i].size) for i in self._fields if row[i] is not None)

    def dtype(self, row: Sequence[Any]) -> Any:
        """The widest float dtype of the tensors here; None where there is no tensor at all."""
        found = None
        for i in self._fields:
            x = row[i]
            if x is not None and (found is None or x.dtype != found):
                found = x.dtype if found is None else jnp.promote_types(found, x.dtype)
        return found

    def cast(self, row: Sequence[Any], dtype: Any) -> Sequence[Any]:
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
