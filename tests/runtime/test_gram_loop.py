"""Iterations by polynomials of a Gram matrix: the same in every way of doing them, to rounding."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.benchmarks.spectra import iterated, normed, of_spectrum
from optc.runtime import gram
from optc.runtime.gram import gram_loop

QUINTIC = (3.4445, -4.7750, 2.0315)
CUBIC = (1.5, -0.5)
EXPRESS = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
]
SHAPES = {"square": (96, 96), "wide": (96, 288), "tall": (288, 96)}
SPECTRA = {
    "of three decades": np.logspace(0, -3, 96),
    "of seven decades": np.logspace(0, -7, 96),
    "of rank 8": np.repeat((1.0, 0.0), (8, 88)),
    "flat": np.ones(96),
}


def built(shape, spectrum):
    """A matrix whose norm is 1, with singular values in these proportions."""
    return of_spectrum(normed(spectrum), shape, np.random.default_rng(0))[0]


@pytest.fixture
def worth(monkeypatch):
    """Bursts for small matrices too, that tests are quick."""
    monkeypatch.setattr(gram, "WORTH", 0)


@cache
def five(precision=None):
    """Five rounds, as one program for all matrices of a shape."""
    return jax.jit(lambda x: gram_loop(x, [QUINTIC] * 5, precision=precision))


def error(x, precision=None):
    """The largest singular value of what five rounds are wrong by."""
    found = five(precision)(jnp.asarray(x, jnp.float32))
    return np.linalg.norm(np.asarray(found, np.float64) - iterated(x, [QUINTIC] * 5), 2)


@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 5), (1, 4), (4, 1)])
def test_every_form_is_the_polynomial_of_the_singular_values(shape, worth):
    polynomials = [QUINTIC, CUBIC, (2.0, -1.0, 0.25, 0.125), (1.0, 0.5)]
    x = np.random.default_rng(1).normal(size=shape)
    x /= np.linalg.norm(x, axis=(-2, -1), keepdims=True)
    with jax.enable_x64(True):
        found = jax.jit(lambda x: gram_loop(x, polynomials[:1], polynomials[1:]))(x)
    expected = np.reshape(
        [iterated(each, polynomials) for each in x.reshape(-1, *shape[-2:])], shape
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_a_transpose_gives_the_transpose(worth):
    x = jnp.asarray(built(SHAPES["wide"], SPECTRA["flat"]), jnp.float32)
    np.testing.assert_allclose(five()(x.T).T, five()(x), atol=1e-6)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("form", ["plain", "burst"])
def test_the_error_in_float32_stays_below_one_rounding_to_bfloat16(form, spectrum, worth):
    """For a burst by `GROWTH`; plainly it is that of float32 as often as y may grow."""
    x = built(SHAPES["wide" if form == "burst" else "square"], SPECTRA[spectrum])
    bound = 2.0**-9 if form == "burst" else 2 * 3.4445**5 * 2.0**-24
    assert error(x) < bound


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_error_of_bfloat16_stays_below_its_own_growth(spectrum):
    """Entries are rounded by 2^-9 of their size, and what is left of it may grow 484-fold."""
    x = built(SHAPES["square"], SPECTRA[spectrum])
    assert error(x, "bfloat16") < 3.4445**5 * 2.0**-9 / np.sqrt(96)


def test_bursts_end_before_rounding_has_grown_too_much(worth):
    def lengths(polynomials, *how):
        return [len(burst) for burst in gram.bursts(*SHAPES["wide"], polynomials, *how)]

    assert lengths([QUINTIC] * 5) == [5]
    assert lengths([QUINTIC] * 9) == [5, 4]
    assert lengths(EXPRESS) == [4, 1]
    assert lengths([CUBIC] * 20) == [13, 7]
    assert lengths([QUINTIC] * 5, "bfloat16") == [1] * 5
    assert lengths([(jnp.ones(()), 1.0)] * 3) == [1] * 3


def test_bursts_are_for_oblong_matrices_where_they_are_worth_it():
    def count(rows, columns):
        return len(gram.bursts(rows, columns, [QUINTIC] * 5))

    assert [count(256, n) for n in (256, 384, 512, 1024)] == [5, 5, 1, 1]
    assert [count(1024, 256), count(16, 64)] == [1, 5]


def test_a_burst_multiplies_less(monkeypatch):
    monkeypatch.setattr(gram, "WRITTEN_OUT", 5)  # XLA counts the body of a loop once

    def flops(rounds):
        x = jax.ShapeDtypeStruct((256, 1024), jnp.float32)
        lowered = jax.jit(lambda x: gram_loop(x, *rounds)).lower(x)
        return lowered.cost_analysis()["flops"] / (2 * 256**3)

    # A plain round is 4 + 1 + 4 products of small matrices here, a burst of five 4 + 17 + 4.
    assert flops([[QUINTIC]] * 1) == pytest.approx(9, rel=0.02)
    assert flops([[QUINTIC] * 5]) == pytest.approx(25, rel=0.02)


def test_the_size_of_a_program_does_not_grow_with_the_rounds():
    def size(rounds):
        made = jax.make_jaxpr(lambda x: gram_loop(x, [CUBIC] * rounds))(jnp.ones((3, 3)))
        return str(made).count("dot_general")

    assert [size(1), size(2)] == [2, 4]
    assert size(3) == size(900) == 2


def test_narrow_floats_are_computed_in_float32_and_what_is_not_finite_stays_in_its_matrix():
    x = jnp.ones((2, 3, 2), jnp.bfloat16).at[0, 0, 0].set(jnp.nan)
    found = gram_loop(x, [CUBIC])
    assert found.dtype == jnp.float32
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_no_rounds_change_nothing():
    x = jnp.ones((2, 3))
    assert (gram_loop(x, [], [CUBIC] * 0) == x).all()
