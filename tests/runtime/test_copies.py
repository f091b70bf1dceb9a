"""Results computed in copies: the same numbers, and nothing in between that two of them use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.runtime.copies import ELEMENTWISE, REDUCING, in_copies

SPECIAL = jnp.array([[0.0, -0.0, jnp.inf, -jnp.inf], [jnp.nan, 1e-3, -2.5, 3e38]])
PLAIN = jnp.array([[1.5, -0.0, 2.0, -1.0], [0.25, 4.0, -3.0, 1.0]])
NEVER = jnp.int32(0)


def adamw(p, g, m, v, lr):
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g * g
    return m, v, p - lr * (m / (jnp.sqrt(v) + 1e-8) + 0.1 * p)


def trusted(p, g, m, v, lr):
    """Two passes: norms, and what is made of them."""
    m = 0.9 * m + 0.1 * g
    u = m / (jnp.sqrt(v) + 1e-8)
    return m, g, p - lr * jnp.sqrt(jnp.sum(p * p)) / jnp.sqrt(jnp.sum(u * u)) * u


def whitened(p, g, m, v, lr):
    """A product and a loop between work on elements."""
    m = 0.9 * m + g
    square = jax.lax.fori_loop(0, 3, lambda i, x: x @ (m.T @ m), m + v)
    return m, 0.5 * square + m.T.reshape(m.shape), p - lr * square * m


def masked(p, g, m, v, lr):
    """Whole numbers and bools among values and results."""
    big = jnp.abs(g) > 1
    steps = jnp.where(big, 2, 1) * jnp.int32(3)
    return big, steps, jnp.where(big, g, m) * steps + p, 1.0, lr * 2


def apart(p, g, m, v, lr):
    """Nothing is shared."""
    return m + g, v * 2.0


PROGRAMS = [adamw, trusted, whitened, masked, apart]


@pytest.mark.parametrize("fn", PROGRAMS, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("g", [SPECIAL, PLAIN], ids=["special", "plain"])
def test_results_are_the_same_to_the_bit(fn, g):
    """Op by op, so that nothing is fused: copies are the inputs, also -0, inf and NaN."""
    args = (PLAIN, g, 2 * PLAIN, PLAIN**2, jnp.float32(0.1))
    with jax.disable_jit():
        plain, copies = fn(*args), in_copies(fn)(NEVER, *args)
    for x, y in zip(plain, copies, strict=True):
        assert jnp.asarray(x).dtype == jnp.asarray(y).dtype
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(jnp.signbit(x), jnp.signbit(y))


def traced(fn, *args):
    shapes = [jax.ShapeDtypeStruct((4, 4), jnp.float32)] * 4
    return jax.make_jaxpr(fn)(*args, *shapes, jax.ShapeDtypeStruct((), jnp.float32)).jaxpr


def shared(jaxpr):
    """How many values on elements two results have between them and what is computed once."""
    makers = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    wide = set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if any(not isinstance(x, jax.extend.core.Literal) and x in wide for x in eqn.invars):
            wide.update(eqn.outvars)

    def behind(x, is_result):
        eqn = makers.get(x) if not isinstance(x, jax.extend.core.Literal) else None
        if eqn is None or x not in wide or (eqn.primitive.name not in ELEMENTWISE):
            return set()
        if not is_result and any(x is y for y in stored):
            return set()
        return {x}.union(*(behind(y, False) for y in eqn.invars))

    heavy = [eqn for eqn in jaxpr.eqns if eqn.primitive.name not in ELEMENTWISE | REDUCING]
    stored = [x for eqn in heavy for x in eqn.invars]
    found = [behind(x, True) for x in jaxpr.outvars]
    return sum(map(len, found)) - len(set().union(*found))


def test_no_value_is_used_by_two_results():
    assert shared(traced(adamw)) > 0
    assert shared(traced(in_copies(adamw), NEVER)) == 0


def test_products_and_loops_are_done_once():
    counts = [
        [eqn.primitive.name for eqn in traced(fn, *before).eqns].count("while")
        for fn, before in ((whitened, ()), (in_copies(whitened), (NEVER,)))
    ]
    counts += [str(traced(in_copies(whitened), NEVER)).count("dot_general")]
    assert counts[2] == str(traced(whitened)).count("dot_general")
    assert counts[0] == counts[1]


def test_what_shares_nothing_is_left_alone():
    plain, copies = traced(apart), traced(in_copies(apart), NEVER)
    assert [eqn.primitive.name for eqn in plain.eqns] == ["add", "mul"]
    assert [eqn.primitive.name for eqn in copies.eqns] == ["add", "mul"]


def test_what_xla_would_not_make_one_kernel_of_is_left_alone():
    def many(*args):
        m = sum(args[:3], args[3])
        return m, sum(args[4:], m)

    args = [*(jax.ShapeDtypeStruct((4, 4), jnp.float32),) * 4, *(0.5,) * 15]
    assert len(jax.make_jaxpr(many)(*args).eqns) == len(
        jax.make_jaxpr(in_copies(many))(NEVER, *args).eqns
    )


def test_the_count_is_told_apart_by_nothing_that_is_reached():
    """Each copy would be another at one count alone, and these are the last that are reached."""
    args = (PLAIN, PLAIN, PLAIN, PLAIN**2, jnp.float32(0.1))
    least = jnp.iinfo(jnp.int32).min
    last = in_copies(adamw)(jnp.int32(least + 2), *args)[2]
    assert (last == 0).all()
    for count in (least + 3, -1, 0, jnp.iinfo(jnp.int32).max):
        found = in_copies(adamw)(jnp.int32(count), *args)[2]
        np.testing.assert_allclose(found, adamw(*args)[2], rtol=1e-6)


def test_derivatives_go_through_copies():
    args = (PLAIN, PLAIN, PLAIN, PLAIN**2 + 1)

    def total(fn, lr):
        return jnp.sum(fn(*args, lr)[2])

    plain = jax.grad(lambda lr: total(adamw, lr))(0.1)
    copies = jax.grad(lambda lr: total(lambda *a: in_copies(adamw)(NEVER, *a), lr))(0.1)
    assert plain == copies
