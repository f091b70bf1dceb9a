"""Refined schedules and the bound of a schedule: closed forms of arXiv:2310.07831."""

import numpy as np
import pytest

from optc.api.refinement import best_multiple, bound, refine
from optc.api.tables import knots


@pytest.mark.parametrize(
    ("power", "expected"), [(2, [1 / 3, 1, 2 / 3, 1 / 3, 0]), (1, [2 / 3, 1, 2 / 3, 1 / 3, 0])]
)
def test_a_large_first_norm_makes_a_warm_up(power, expected):
    np.testing.assert_allclose(refine([2, 1, 1, 1, 1], power, 0.0), expected, rtol=1e-15)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_equal_norms_make_a_linear_decay(power, smoothing):
    total = 50
    expected = (total - np.arange(1, total + 1)) / (total - 1)
    # Fifty sums of rounded numbers: 50 ulps at most.
    np.testing.assert_allclose(refine(np.full(total, 3.7), power, smoothing), expected, rtol=1e-14)


@pytest.mark.parametrize("power", [1, 2])
def test_the_unit_of_the_norms_does_not_matter(power):
    norms = np.random.default_rng(0).uniform(0.5, 2, 200)
    for unit in (1e-8, 3.0, 1e200):
        np.testing.assert_allclose(refine(unit * norms, power), refine(norms, power), rtol=1e-12)


def test_the_last_norm_counts_for_the_steps_before_it_alone():
    first, second = refine([1, 1, 1, 1], smoothing=0.0), refine([1, 1, 1, 9], smoothing=0.0)
    assert first[-1] == second[-1] == 0
    assert not np.array_equal(first, second)


def test_falling_norms_warm_up_and_growing_ones_fall_faster_than_a_line():
    norms = np.geomspace(1, 8, 100)
    line = 1 - np.arange(100) / 99
    assert np.argmax(refine(norms[::-1], smoothing=0.0)) > 20
    assert (refine(norms, smoothing=0.0)[1:-1] < line[1:-1]).all()


def test_a_spike_vanishes_in_the_running_median():
    norms = np.ones(100)
    norms[40] = 1e6
    np.testing.assert_allclose(refine(norms), refine(np.ones(100)), rtol=1e-13)


def test_the_left_edge_goes_on_and_the_right_one_is_mirrored():
    norms = np.arange(1.0, 11.0)
    # Width 3: the medians of (1, 1, 2), (1, 2, 3), ..., (8, 9, 10), (9, 10, 9).
    smooth = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 9])
    np.testing.assert_array_equal(refine(norms, 1, 0.3), refine(smooth, 1, 0.0))


def test_zeros_count_as_the_smallest_other_norm():
    np.testing.assert_array_equal(refine([2, 0, 1, 1, 1], 2, 0.0), refine([2, 1, 1, 1, 1], 2, 0.0))


@pytest.mark.parametrize(
    "wrong",
    [([],), ([1.0],), ([0, 0],), ([1, -1],), ([1, np.nan],), ([1, 1], 3), ([1, 1], 2, -0.1)],
)
def test_what_cannot_be_refined_is_refused(wrong):
    with pytest.raises(ValueError, match="`"):
        refine(*wrong)


@pytest.mark.parametrize(
    ("total", "shape", "expected"),
    [
        (1000, lambda t, total: 1 - t / (total + 1), 2.006),
        (1000, lambda t, total: (1 + np.cos(np.pi * t / (total + 1))) / 2, 2.063),
        (1000, lambda t, total: t**-0.5, 2.570),
        (1000, lambda t, total: np.ones(total), 2.913),
        (100, lambda t, total: 1 - t / (total + 1), 2.036),
        (100, lambda t, total: t**-0.5, 2.253),
        (100, lambda t, total: np.ones(total), 2.485),
        (10000, lambda t, total: 1 - t / (total + 1), 2.001),
    ],
)
def test_the_bound_has_its_known_values(total, shape, expected):
    rates = shape(np.arange(1, total + 1), total)
    assert total**0.5 * bound(rates) == pytest.approx(expected, abs=5e-4)


def test_the_bound_holds_at_the_best_multiple():
    rates, norms = np.linspace(1, 0.1, 30), np.geomspace(3, 1, 30)
    best = best_multiple(rates, norms, 2.0)

    def at(factor):
        """The bound at a given multiple: the terms of the theorem, summed as it says them."""
        eta = factor * rates
        left = [eta[k:].sum() for k in range(30)]
        noise = [(eta[k:] ** 2 * norms[k:] ** 2).sum() for k in range(30)]
        later = sum(eta[k] / left[k + 1] * noise[k] / left[k] for k in range(29))
        return 2.0**2 / (2 * left[0]) + noise[0] / (2 * left[0]) + later / 2

    assert at(best) == pytest.approx(bound(rates, norms, 2.0), rel=1e-12)
    assert min(at(best * 1.01), at(best / 1.01)) > at(best)
    assert bound(5 * rates, norms, 2.0) == pytest.approx(bound(rates, norms, 2.0), rel=1e-12)
    assert bound([*rates, 0, 0], [*norms, 1, 1], 2.0) == bound(rates, norms, 2.0)


def test_a_refined_schedule_is_no_worse_by_its_own_bound():
    norms = np.geomspace(10, 1, 200)
    line = 1 - np.arange(1, 201) / 201
    assert bound(refine(norms), norms) < bound(line, norms)


def test_knots_are_few_and_close():
    x = np.arange(1.0, 1001.0)
    y = np.sin(x / 200) * np.exp(-x / 500)
    chosen = knots(x, y, 60, 1e-3)
    assert chosen[0] == 0
    assert chosen[-1] == 999
    assert chosen == sorted(set(chosen))
    assert np.abs(np.interp(x, x[chosen], y[chosen]) - y).max() <= 1e-3
    assert len(knots(x, y, 5)) == 5
    assert knots(x[:4], y[:4], 60) == [0, 1, 2, 3]
    assert knots(x, 2 * x, 60, 1e-9) == [0, 999]
