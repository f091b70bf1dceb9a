"""Arrays laid out by rows, as arguments and results of a program are.

What LAPACK takes and gives lies by columns. XLA for CPU would have all by columns in a loop around
it, and give it copies in each step. A program that is exported leaves layouts open: what JAX says
of them to XLA may not be stored.
"""

from typing import Any

import jax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


def by_rows(arrays: Any) -> Any:
    """The same arrays, by rows in a program for CPU that is compiled where it is traced."""
    return jax.tree.map(_by_rows.bind, arrays)


# JAX has no types for primitives and their rules.
_by_rows: Any = Primitive("by_rows")


def _constrained(x: jax.Array) -> jax.Array:
    layout = Layout(tuple(range(x.ndim)))
    laid: jax.Array = with_layout_constraint(x, layout)  # type: ignore[no-untyped-call]
    return laid


_constraint = mlir.lower_fun(_constrained, multiple_results=False)


def _lowered(ctx: mlir.LoweringRuleContext, x: Any) -> Any:
    return [x] if ctx.module_context.lowering_parameters.for_export else _constraint(ctx, x)


_by_rows.def_impl(lambda x: x)
_by_rows.def_abstract_eval(lambda x: x)
batching.primitive_batchers[_by_rows] = lambda xs, axes: (_by_rows.bind(xs[0]), axes[0])
mlir.register_lowering(_by_rows, lambda ctx, x: [x])
mlir.register_lowering(_by_rows, _lowered, platform="cpu")
