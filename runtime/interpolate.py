"""Straight lines between tabulated points."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def interpolate(x: ArrayLike, knots: Sequence[tuple[float, float]]) -> Array:
    """The value at `x` of the lines between `knots`, points `(x, y)` in ascending order.

    Outside it is the `y` of the nearest point. The result has the shape of `x`, and its dtype
    where that is a float.

    >>> interpolate(1.5, ((1, 0.0), (2, 10.0)))
    Array(5., dtype=float32, weak_type=True)
    """
    dtype = jnp.result_type(x, float)
    points = np.asarray(knots, np.float64).T.astype(dtype)
    result: Array = jnp.interp(jnp.asarray(x, dtype), points[0], points[1])
    return result
