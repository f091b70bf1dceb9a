"""PSGD Kron: the trajectory of psgd_jax, and what its factors are fitted to."""

import numpy as np
import pytest
from interpreted import Run, observed, stages
from references import deviation, recorded

ROUNDING = 1e-12
"""Some steps of order 1e-2 that solve triangular systems of a condition below 100."""


def capped(rule, decay=0.0):
    """An optimizer as `kron` of the library, with another rule."""
    return (
        f"optimizer capped(lr = 0.02, decay = {decay}) {{\n  precondition {rule}\n"
        "  clip block_rms(1.1)\n  decay weights(decay)\n  tune step lr\n}\n"
    )


REFERENCES = {
    "defaults": ("kron", {}),
    "raw": (capped("kron(b1 = 0.8, rate = 0.05, scale = 0.5, raw = true)", decay=0.1), {}),
    "seldom": (capped("kron(chance = 0.3)"), {}),
    "one_diagonal": (capped("kron(limit = 3)"), {}),
    "diagonal": (capped("kron(limit = 0)"), {}),
    "balanced": ("kron", {"lr": 0.02, "scale": 4.0}),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_a_trajectory_is_that_of_psgd_jax(case):
    """It balances in float32, which leaves 2^-24 of the factors in each step."""
    spec, values = REFERENCES[case]
    balances = case == "balanced"
    drawn = [(fields, 0.0 if balances else 1.0) for fields in recorded("kron")["normals"]]
    tolerance = 12 * 2**-24 * 0.1 if balances else ROUNDING
    assert deviation("kron", case, spec, drawn, **values) < tolerance


def test_every_recorded_trajectory_is_held():
    cases = {case for case, found in recorded("kron").items() if "after" in found}
    assert cases == set(REFERENCES)


def walk(rule, given, seed=0, uniform=1.0):
    """The directions along gradients of one tensor."""
    rng = np.random.default_rng(seed)

    def draw(op, site, rounds, like):
        return uniform if like is None else [rng.normal(size=np.shape(x)) for x in like]

    start = [np.zeros(np.shape(given[0]))]
    run = Run(stages(f"precondition {rule}", "tune step 1.0"), start, draw=draw)
    found = []
    for g in given:
        before = run.weights[0]
        run.step([g])
        found.append(before - run.weights[0])
    return np.array(found)


def test_gradients_of_a_kronecker_covariance_are_whitened():
    """P E[gg'] P = I at the fixed point; steps relative to the size leave some per cent."""
    rng = np.random.default_rng(1)
    left, right = np.array([[2.0, 0.5], [0.0, 0.7]]), np.array([[1.0, -0.4], [0.2, 0.5]])
    given = [left @ rng.normal(size=(2, 2)) @ right for _ in range(800)]
    found = walk("kron(b1 = 0, rate = 0.05)", given)
    late = found[400:].reshape(400, 4)
    np.testing.assert_allclose(late.T @ late / 400, np.eye(4), atol=0.35)


def test_a_number_is_divided_by_its_size():
    """For g ~ N(0, 4) the factor's square goes to 1 / 2.

    It moves about that by a tenth and forgets within 25 steps: the mean of 800 is off by 0.01.
    """
    given = 2 * np.random.default_rng(2).normal(size=1000)
    found = walk("kron(b1 = 0, rate = 0.02)", list(given))
    assert np.mean((found / given)[200:]) == pytest.approx(0.5, abs=0.04)


def test_balancing_changes_no_direction():
    given = list(np.random.default_rng(3).normal(size=(6, 3, 2)))
    for limit in (8, 2, 0):
        rule = f"kron(rate = 1e-15, scale = 4, limit = {limit})"
        kept = walk(rule, given)
        balanced = walk(rule, given, uniform=0.0)
        np.testing.assert_allclose(kept, balanced, atol=ROUNDING)


def test_a_bound_of_the_largest_eigenvalue_is_below_it_by_a_root_of_two_at_most():
    rule = """
rule precondition bounded() {
  when g is [rows, cols] {
    return spectral_bound(g @ g.T) * ones(g)
  } else {
    return g
  }
}
"""
    for seed in range(5):
        g = np.random.default_rng(seed).normal(size=(5, 3))
        run = Run(rule + stages("precondition bounded()", "tune step 1.0"), [np.zeros((5, 3))])
        run.step([g])
        ratio = -run.weights[0][0, 0] / np.linalg.norm(g @ g.T, 2)
        assert 1 / np.sqrt(2) <= ratio <= 1 + ROUNDING


def test_factors_are_fitted_less_often_in_time():
    chances = observed(["kron_chance()"], [1, 500, 1500, 10_000])["kron_chance()"]
    np.testing.assert_allclose(chances, [1, 1, np.exp(-1), 0.03], rtol=1e-15)
