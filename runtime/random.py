"""Random fields, each tensor with a stream of its own, random numbers, and stochastic rounding.

`key` is the key of the step and `site` the number of the place in the program that draws, so
that no two draws of a program share a stream.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .field import Field, Tensor, compute_dtype
from .packing import pack, unpack
from .tree import Place

# What is folded into the key of a state beside counts of steps, which never get there.
_MODEL, _NEXT = 0xFFFFFFFF, 0xFFFFFFFE


def normal(key: jax.Array, site: int, w: Field) -> Field:
    """Independent standard normal numbers, shaped like the weights."""
    return _draw(jax.random.normal, key, site, w)


def rademacher(key: jax.Array, site: int, w: Field) -> Field:
    """Independent signs, -1 or 1 with equal probability, shaped like the weights."""
    return _draw(jax.random.rademacher, key, site, w)


def uniform(key: jax.Array, site: int, w: Field) -> Field:
    """Independent numbers uniform on [0, 1), shaped like the weights."""
    return _draw(jax.random.uniform, key, site, w)


def number(
    kind: Literal["normal", "rademacher", "uniform"], key: jax.Array, site: int
) -> jax.Array:
    """One number as the function of that name draws many."""
    return _NUMBERS[kind](jax.random.fold_in(key, site), (), jnp.result_type(float))


def round_stochastic(key: jax.Array, site: int, field: Field, dtype: str) -> Field:
    """Each element rounded to one of its two neighbours in bfloat16, the mean unchanged.

    The result keeps the dtype of `field`, with values that bfloat16 holds. Values that are not
    finite stay. `dtype` is "bfloat16": of the narrower dtypes only it is a float32 cut short.
    """
    if dtype != "bfloat16":
        raise ValueError(f"stochastic rounding is to bfloat16, not to {dtype}")
    rows = zip(field.tree.places, _keys(key, site, field), field.tensors, strict=True)
    return Field([_each(_round_bfloat16, *row) for row in rows], field.tree)


_NUMBERS: Mapping[str, Callable[..., jax.Array]] = {
    "normal": jax.random.normal,
    "rademacher": jax.random.rademacher,
    "uniform": jax.random.uniform,
}


def wrap_key(data: jax.Array) -> jax.Array:
    """The typed key of raw key data; its length tells the generator."""
    impl = "rbg" if data.shape[-1] == 4 else "threefry2x32"
    key: jax.Array = jax.random.wrap_key_data(data, impl=impl)
    return key


def key_data(key: jax.Array | None) -> jax.Array:
    """The raw data of a typed or a raw key, in a buffer of its own; of seed 0 for None."""
    if key is None:
        key = jax.random.key(0, impl="threefry2x32")
    raw = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return jnp.array(raw, jnp.uint32, copy=True)


def model_key(data: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """A key for the model, and the raw key of the state moved on. ValueError where it has none."""
    if data is None:
        raise ValueError(
            "the objective takes a key, and the state has none to make it of; "
            "make the state with one: init(params, key=jax.random.key(0)), "
            "or hand one over: step(..., key=...)"
        )
    key = wrap_key(data)
    return jax.random.fold_in(key, _MODEL), key_data(jax.random.fold_in(key, _NEXT))


def _keys(key: jax.Array, site: int, w: Field) -> list[Any]:
    """A key for each place; for a stack an array with one for each member, for a pack a list."""
    stream = jax.random.fold_in(key, site)
    own = [jax.random.fold_in(stream, index) for index in range(len(w.tree.leaves))]
    return [
        [own[i] for i in place.members] if place.is_pack else place.join(own)
        for place in w.tree.places
    ]


def _draw(draw: Callable[..., jax.Array], key: jax.Array, site: int, w: Field) -> Field:
    rows = zip(w.tree.places, _keys(key, site, w), w.like, strict=True)

    def one(key: jax.Array, x: jax.Array) -> jax.Array:
        return draw(key, x.shape, compute_dtype(x.dtype))

    return Field([_each(one, *row) for row in rows], w.tree)


def _each(
    function: Callable[[jax.Array, jax.Array], jax.Array], place: Place, key: Any, x: Tensor
) -> Tensor:
    """A function of the key and the tensor of a place, where several lie of those of each."""
    if x is not None and place.is_pack:
        return pack([function(*both) for both in zip(key, unpack(x, place.shapes), strict=True)])
    if x is None or not place.is_stack:
        return None if x is None else function(key, x)
    # Under vmap only threefry draws what it draws alone.
    if str(jax.random.key_impl(key)) == "threefry2x32":
        return jax.vmap(function)(key, x)
    drawn: jax.Array = jax.lax.map(lambda both: function(*both), (key, x))
    return drawn


@jax.jit
def _round_bfloat16(key: jax.Array, x: jax.Array) -> jax.Array:
    """Add random bits below the last bit that bfloat16 keeps, then cut them off."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    cut = (bits + noise) & jnp.uint32(0xFFFF0000)
    rounded = jax.lax.bitcast_convert_type(cut, jnp.float32).astype(x.dtype)
    return jnp.where(jnp.isfinite(x), rounded, x)
