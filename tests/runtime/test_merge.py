"""Merging equal equations changes no value, and leaves one of each."""

import re
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun

from optc.runtime.curvature import curvature
from optc.runtime.merge import merge, merged

DEPTH, WIDTH, EXAMPLES = 2, 4, 5


def equations(jaxpr: Jaxpr | ClosedJaxpr) -> Iterator[JaxprEqn]:
    """All equations, those of bodies once."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from equations(value)


def _is_jaxpr(x):
    return isinstance(x, Jaxpr | ClosedJaxpr)


def products(jaxpr):
    return sum(e.primitive.name == "dot_general" for e in equations(jaxpr))


# ---- models that are written in the ways that people write them


def layer(h, kernel):
    """With softmax and relu, whose derivatives are custom, and an inner jitted gelu."""
    z = h @ kernel
    return jax.nn.softmax(z) + jax.nn.gelu(z) + jax.nn.relu(h)


def written_out(kernels, x, layer=layer):
    for kernel in kernels:
        x = layer(x, kernel)
    return jnp.mean(x**2)


def scanned(kernels, x, layer=layer):
    return jnp.mean(jax.lax.scan(lambda h, k: (layer(h, k), None), x, kernels)[0] ** 2)


def looped(kernels, x):
    return jnp.mean(jax.lax.fori_loop(0, DEPTH, lambda i, h: layer(h, kernels[i]), x) ** 2)


def awaited(kernels, x):
    def body(carry):
        i, h = carry
        return i + 1, layer(h, kernels[i])

    return jnp.mean(jax.lax.while_loop(lambda c: c[0] < DEPTH, body, (0, x))[1] ** 2)


def chosen(h, kernel):
    return jax.lax.cond(h[0, 0] > 0, layer, lambda h, k: jnp.tanh(h @ k), h, kernel)


def mapped(kernels, x):
    return jnp.mean(jax.lax.map(lambda x: written_out(kernels, x[None]), x))


MODELS = {
    # name: (model, products of a layer, how many layers the program has in its text)
    "written out": (written_out, 1, DEPTH),
    "jitted layers": (partial(written_out, layer=jax.jit(layer)), 1, DEPTH),
    "recomputed layers": (partial(written_out, layer=jax.checkpoint(layer)), 1, DEPTH),
    "branches": (partial(written_out, layer=chosen), 2, DEPTH),
    "scan": (scanned, 1, 1),
    "scan of recomputed layers": (partial(scanned, layer=jax.checkpoint(layer)), 1, 1),
    "fori_loop": (looped, 1, 1),
    "while_loop": (awaited, 1, 1),
    "map": (mapped, 1, DEPTH),
}


def inputs():
    keys = jax.random.split(jax.random.key(0), 3)
    kernels, u = (jax.random.normal(key, (DEPTH, WIDTH, WIDTH)) for key in keys[:2])
    return kernels, u, jax.random.normal(keys[2], (EXAMPLES, WIDTH))


def second(loss, w, u):
    """The second derivative along u, forward over forward."""
    return jax.jvp(lambda w: jax.jvp(loss, (w,), (u,))[1], (w,), (u,))[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_second_derivative_along_a_line_is_five_products_for_each_layer(name):
    """The layer's own, h' W and h W', and h'' W and h' W'; JAX writes eight."""
    model, in_layer, layers = MODELS[name]
    kernels, u, x = inputs()
    apart = jax.make_jaxpr(lambda w, u: second(lambda w: model(w, x), w, u))(kernels, u)
    found = products(merge(apart))
    # The input of a first layer that is written out has no derivative.
    bound = 5 * in_layer * layers
    assert found <= bound < products(apart)


def test_second_derivatives_through_bodies_stay_what_they_are(x64):
    kernels, u, x = inputs()
    names = ("branches", "scan of recomputed layers", "while_loop")
    losses = [partial(MODELS[name][0], x=x) for name in names]

    @jax.jit
    def both(w, u):
        ours = [merged(partial(second, loss))(w, u) for loss in losses]
        return ours, [second(loss, w, u) for loss in losses]

    # The same operations in the same order, but for what XLA fuses.
    for ours, theirs in zip(*both(kernels, u), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


# ---- what is equal


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "mul", "sub", "sin", "neg", "loop"]), *[st.integers(0, 9)] * 2
    )
)


def _text(closed):
    """The program, without what newer JAX notes of what loops had before."""
    return re.sub(r"ft_(in|out)=.*", "", str(closed))


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_merging_changes_no_bit_and_does_all_that_there_is_to_do(steps):
    def program(x, y):
        values = [x, y, jnp.float32(0.0), jnp.float32(-0.0)]
        for op, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if op == "loop":
                turn = lambda i, c, b=b: (c[1] + b, c[0] + b, c[2] * b)  # noqa: E731
                values.extend(jax.lax.fori_loop(0, 3, turn, (a, a, b)))
            elif op in ("sin", "neg"):
                values.append(getattr(jax.lax, op)(a))
            else:
                values.append(getattr(jax.lax, op)(a, b))
        return values

    x, y = jnp.float32(0.3), jnp.float32(-1.7)
    closed = jax.make_jaxpr(program)(x, y)
    once = merge(closed)
    assert len(list(equations(once))) <= len(list(equations(closed)))
    assert _text(merge(once)) == _text(once)
    with jax.disable_jit():
        before, after = (np.array(jaxpr_as_fun(p)(x, y)) for p in (closed, once))
    assert before.tobytes() == after.tobytes()


def test_what_a_loop_carries_is_merged_only_while_it_stays_equal():
    def program(x, y):
        body = lambda c, _: ((c[0] * y, c[1] * y, c[2] * y + c[0]), c[0] - c[1])  # noqa: E731
        return jax.lax.scan(body, (x, x, x), None, length=3)

    closed = merge(jax.make_jaxpr(program)(2.0, 3.0))
    assert [e.primitive.name for e in equations(closed)].count("mul") == 2
    (a, b, c), differences = merged(program)(2.0, 3.0)
    assert (a, b, c) == (54.0, 54.0, 108.0)
    assert not np.any(differences)


def test_equations_with_effects_stay():
    heard = []

    def program(x):
        for _ in range(2):
            jax.debug.callback(heard.append, x)
        return x

    merged(program)(1.0)
    jax.effects_barrier()
    assert len(heard) == 2


def test_equal_constants_are_one_and_placements_are_kept():
    table = jnp.arange(3.0)
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = jax.jit(jnp.sin, out_shardings=everywhere)

    def program(x):
        return placed(x * table) + placed(x * table) + jax.jit(lambda x: x * table)(x)

    closed = merge(jax.make_jaxpr(program)(2.0))
    names = [e.primitive.name for e in closed.jaxpr.eqns]
    assert (names.count("mul"), names.count("jit"), len(closed.consts)) == (1, 1, 1)


# ---- where a curvature is asked


def _loss(tensors):
    return jnp.sum(jnp.sin(tensors[0]) ** 3)


def _along(x, u):
    # A product that is nonsense shows when it was asked.
    return curvature(_loss, (x,), (u,), lambda: jnp.full((), jnp.nan))


X, U = jnp.linspace(-1.0, 1.0, 4), jnp.linspace(0.5, 2.0, 4)
EXACT = float(jnp.sum(U**2 * (6 * jnp.sin(X) * jnp.cos(X) ** 2 - 3 * jnp.sin(X) ** 3)))
# Some twenty float32 roundings of terms that partly cancel.
RTOL = 1e-5


def test_a_curvature_is_found_under_every_transformation():
    axis = jax.make_mesh((1,), ("data",))
    nothing = jax.sharding.PartitionSpec()
    sharded = jax.shard_map(
        lambda x, u: jax.lax.pmean(_along(x, u), "data"),
        mesh=axis,
        in_specs=nothing,
        out_specs=nothing,
    )
    ways = {
        "eager": _along(X, U),
        "jit": jax.jit(_along)(X, U),
        "vmap": jax.vmap(_along)(X[None], U[None])[0],
        "scan": jax.lax.scan(lambda c, xu: (c, _along(*xu)), 0, (X[None], U[None]))[1][0],
        "shard_map": jax.jit(sharded)(X, U),
        # Homogeneous of degree two in u, so u' times its derivative is twice the curvature.
        "grad": jnp.vdot(jax.grad(_along, argnums=1)(X, U), U) / 2,
        "twice": jax.jit(merged(_along))(X, U),
    }
    for way, found in ways.items():
        np.testing.assert_allclose(found, EXACT, rtol=RTOL, err_msg=way)


def test_a_loss_that_looks_at_its_numbers_has_a_curvature_outside_of_jit():
    def loss(tensors):
        return _loss(tensors) if tensors[0][0] < 0 else 0.0 * _loss(tensors)

    found = curvature(loss, (X,), (U,), lambda: jnp.nan)
    np.testing.assert_allclose(found, EXACT, rtol=RTOL)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(lambda x, u: curvature(loss, (x,), (u,), lambda: jnp.nan))(X, U)
