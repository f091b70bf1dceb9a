"""Spectra and traces by matfree, against the interpreter's algorithms and dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc import runtime as rt
from optc.compiler import spectral
from optc.runtime.tree import Tree

SHAPES = {"a": (2, 3), "b": (4,)}
SIZE = 10


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

CASES = {
    "distinct": (symmetric(np.arange(-3.0, 7.0)), START, 5),
    "all of them": (symmetric(np.arange(-3.0, 7.0)), START, SIZE),
    "more than there are": (symmetric(np.arange(-3.0, 7.0)), START, 13),
    "three eigenvalues": (symmetric([1.0] * 4 + [2.0] * 3 + [5.0] * 3), START, 6),
    "one eigenvalue": (2 * np.eye(SIZE), START, 4),
    "rank one": (np.outer(START, START), START, 3),
    "a start of zeros": (np.eye(SIZE), 0 * START, 3),
    "an operator of zeros": (np.zeros((SIZE, SIZE)), START, 3),
    "one step": (symmetric(np.arange(-3.0, 7.0)), START, 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lanczos_finds_the_quadrature_of_the_reference(case):
    matrix, start, steps = case
    with jax.enable_x64(True):
        found = np.asarray(rt.lanczos(applied(matrix), field(jnp.asarray(start)), steps))
    expected = spectral.lanczos(lambda v: [matrix @ v[0]], [start], steps)
    assert found.shape == expected.shape == (2, steps)
    for power in range(2 * steps):
        one, other = (np.sum(s[1] * s[0] ** power) for s in (found, expected))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    ends = [(s[0].min(), s[0].max()) for s in (found, expected)]
    np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-9)


def test_what_is_not_a_number_is_reported():
    found = rt.lanczos(lambda v: field(flat(v) * jnp.nan), field(jnp.asarray(START)), 3)
    assert np.isnan(found[0]).all()


def test_float32_loses_no_more_than_its_digits():
    matrix = symmetric(2.0 ** np.arange(10))
    start = field(jnp.asarray(START, jnp.float32))
    found = rt.lanczos(applied(matrix), start, SIZE)
    # Each of ten products rounds 2^9 in its 24th bit.
    np.testing.assert_allclose(np.sort(found[0]), 2.0 ** np.arange(10), atol=2.0**9 * 2.0**-19)


def test_a_node_without_weight_counts_for_nothing():
    spectrum = jnp.array([[0.0, 2.0], [0.0, 1.0]])
    assert rt.quadrature(spectrum, lambda x: 1 / x) == 0.5
    assert rt.quadrature(spectrum, lambda x: 3) == 3.0
    assert (rt.highest(spectrum), rt.lowest(spectrum)) == (2.0, 0.0)
    assert rt.no_spectrum(4).shape == (2, 4)


@pytest.mark.parametrize("samples", [1, 3, 5, 12])
def test_traces_are_those_of_the_reference_on_the_same_draws(samples):
    matrix = symmetric(np.arange(-3.0, 7.0))
    with jax.enable_x64(True):
        key, w = jax.random.key(0), field(jnp.asarray(START))
        keys = [jax.random.fold_in(key, i) for i in range(samples)]
        for ours, reference, law in (
            (rt.hutchinson, spectral.hutchinson, rt.rademacher),
            (rt.xtrace, spectral.xtrace, rt.normal),
        ):
            found = ours(applied(matrix), key, 7, w, samples)
            drawn = [[np.asarray(flat(law(k, 7, w)), float)] for k in keys]
            expected = reference(lambda v: [matrix @ v[0]], drawn)
            np.testing.assert_allclose(found, expected, rtol=1e-9)
    if samples >= SIZE / 2:
        np.testing.assert_allclose(found, np.trace(matrix), rtol=1e-9)


def test_xtrace_of_a_low_rank_is_exact():
    with jax.enable_x64(True):
        w = field(jnp.asarray(START))
        found = rt.xtrace(applied(np.outer(START, START)), jax.random.key(3), 1, w, 3)
    np.testing.assert_allclose(found, START @ START, rtol=1e-9)
