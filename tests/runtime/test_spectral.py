"""Spectra and traces by matfree, against the interpreter's algorithms and dense matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc import runtime as rt
from optc.compiler import spectral
from optc.runtime.tree import Tree

SIZE = 10

FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Unoptimised, which takes a third of the time."""


def field(vector):
    tree, tensors = Tree.of({"a": vector[:6].reshape(2, 3), "b": vector[6:]})
    return rt.Field(tensors, tree)


def flat(x):
    return jnp.concatenate([jnp.ravel(t) for t in x.tensors])


def applied(matrix):
    return lambda v: field(jnp.asarray(matrix, flat(v).dtype) @ flat(v))


def symmetric(eigenvalues):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, SIZE)))
    return q @ np.diag(eigenvalues) @ q.T


START = np.random.default_rng(1).normal(size=SIZE)


@partial(jax.jit, static_argnums=2, compiler_options=FAST)
def lanczos(matrix, start, steps):
    return rt.lanczos(applied(matrix), field(start), steps)


CASES = {
    "distinct": (symmetric(np.arange(-3.0, 7.0)), START, 6),
    "all of them": (symmetric(np.arange(-3.0, 7.0)), START, SIZE),
    "more than there are": (symmetric(np.arange(-3.0, 7.0)), START, 13),
    "three eigenvalues": (symmetric([1.0] * 4 + [2.0] * 3 + [5.0] * 3), START, 6),
    "one eigenvalue": (2 * np.eye(SIZE), START, 6),
    "rank one": (np.outer(START, START), START, 6),
    "a start of zeros": (np.eye(SIZE), 0 * START, 6),
    "an operator of zeros": (np.zeros((SIZE, SIZE)), START, 6),
    "one step": (symmetric(np.arange(-3.0, 7.0)), START, 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lanczos_finds_the_quadrature_of_the_reference(case):
    matrix, start, steps = case
    with jax.enable_x64(True):
        found = np.asarray(lanczos(matrix, start, steps))
    expected = spectral.lanczos(lambda v: [matrix @ v[0]], [start], steps)
    assert found.shape == expected.shape == (2, steps)
    for power in range(2 * steps):
        one, other = (np.sum(s[1] * s[0] ** power) for s in (found, expected))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    ends = [(s[0].min(), s[0].max()) for s in (found, expected)]
    np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-9)


def shrunk(x):
    return 1 / (abs(x) + 0.5)


@partial(jax.jit, static_argnums=2, compiler_options=FAST)
def function(matrix, start, steps):
    return flat(rt.matrix_function(applied(matrix), shrunk, field(start), steps))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_matrix_function_is_that_of_the_reference(case):
    matrix, start, steps = case
    with jax.enable_x64(True):
        found = np.asarray(function(matrix, start, steps))
    (expected,) = spectral.matrix_function(lambda v: [matrix @ v[0]], shrunk, [start], steps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    nodes, vectors = np.linalg.eigh(matrix)
    if steps >= len(set(nodes.round(6))):
        dense = (vectors * shrunk(nodes)) @ vectors.T @ start
        np.testing.assert_allclose(found, dense, rtol=0, atol=1e-9)


def test_what_is_not_a_number_is_reported():
    matrix = np.full((SIZE, SIZE), np.nan)
    assert np.isnan(lanczos(matrix, START, 6)[0]).all()
    assert np.isnan(function(matrix, START, 6)).all()


def test_float32_loses_no_more_than_its_digits():
    matrix = symmetric(2.0 ** np.arange(10))
    found = lanczos(matrix, START, SIZE)
    # Each of ten products rounds 2^9 in its 24th bit.
    np.testing.assert_allclose(np.sort(found[0]), 2.0 ** np.arange(10), atol=2.0**9 * 2.0**-19)


def test_a_node_without_weight_counts_for_nothing():
    spectrum = jnp.array([[0.0, 2.0], [0.0, 1.0]])
    assert rt.quadrature(spectrum, lambda x: 1 / x) == 0.5
    assert rt.quadrature(spectrum, lambda x: 3) == 3.0
    assert (rt.highest(spectrum), rt.lowest(spectrum)) == (2.0, 0.0)
    assert rt.no_spectrum(4).shape == (2, 4)


_LAWS = (rt.rademacher, rt.normal)


@partial(jax.jit, static_argnums=2, compiler_options=FAST)
def traces(matrix, start, samples):
    """What Hutchinson's and the XTrace estimate find, and what each draws."""
    key, w = jax.random.key(0), field(start)
    found = [f(applied(matrix), key, 7, w, samples) for f in (rt.hutchinson, rt.xtrace)]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(samples))
    drawn = [jax.vmap(lambda k, law=law: flat(law(k, 7, w)))(keys) for law in _LAWS]
    return found, drawn


@pytest.mark.parametrize("samples", [3, 12])
def test_traces_are_those_of_the_reference_on_the_same_draws(samples):
    matrix = symmetric(np.arange(-3.0, 7.0))
    with jax.enable_x64(True):
        found, drawn = traces(matrix, START, samples)
    for one, rows, reference in zip(
        found, drawn, (spectral.hutchinson, spectral.xtrace), strict=True
    ):
        fields = [[np.asarray(row, float)] for row in rows]
        expected = reference(lambda v: [matrix @ v[0]], fields)
        np.testing.assert_allclose(one, expected, rtol=1e-9)
    if samples >= SIZE / 2:
        np.testing.assert_allclose(found[1], np.trace(matrix), rtol=1e-9)


def test_xtrace_of_a_low_rank_is_exact():
    with jax.enable_x64(True):
        (_, found), _ = traces(np.outer(START, START), START, 3)
    np.testing.assert_allclose(found, START @ START, rtol=1e-9)
