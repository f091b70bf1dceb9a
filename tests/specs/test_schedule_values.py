"""The schedules of the library, through the interpreter in float64: claims, corners, closed forms.

A claim `schedule s(...) equals optax.f(...)` is about a program: optax asks for the rate of a step
with the count of the steps before it, so f(count) is s at t = count + 1.
"""

from functools import cache

import jax
import numpy as np
import optax
import pytest
from claims import value
from interpreted import observed

from optc.compiler import library
from optc.grammar import syntax

STEPS = 60
ROUNDING = 1e-13
"""Some ten operations of 2^-53 each, on numbers up to the largest rate."""


def claims():
    """Every schedule of the library that says what it equals."""
    items = (
        item for name in library.names("schedule") for item in library.file("schedule", name).items
    )
    return {item.name.id: item for item in items if item.equals is not None}


GIVEN = {
    "constant": [{"rate": 0.3}],
    "cosine_decay": [
        {"start": 2, "steps": 40},
        {"start": 2, "steps": 7, "alpha": 0.1, "exponent": 3},
    ],
    "cosine_onecycle": [
        {"steps": 50, "peak": 2},
        {"steps": 20, "peak": 3, "pct_start": 0.5, "div_factor": 4, "final_div_factor": 10},
    ],
    "exponential_decay": [
        {"start": 2, "steps": 10, "rate": 0.5},
        {"start": 2, "steps": 10, "rate": 0.5, "begin": 13, "staircase": True, "end": 0.3},
    ],
    "linear": [
        {"start": 2, "end": 0.5, "steps": 40},
        {"start": 0, "end": 0.5, "steps": 9, "begin": 20},
    ],
    "linear_onecycle": [
        {"steps": 50, "peak": 2},
        {"steps": 20, "peak": 3, "pct_start": 0.1, "pct_final": 0.5, "final_div_factor": 10},
    ],
    "polynomial": [
        {"start": 2, "end": 0.5, "power": 3, "steps": 40},
        {"start": 2, "end": 0, "power": 0.5, "steps": 9, "begin": 20},
    ],
    "warmup_constant": [{"start": 0.1, "peak": 2, "warmup": 10}],
    "warmup_cosine_decay": [
        {"start": 0, "peak": 2, "warmup": 10, "total": 40},
        {"start": 1, "peak": 2, "warmup": 0, "total": 40, "end": 0.5, "exponent": 2},
    ],
    "warmup_exponential_decay": [
        {"start": 0, "peak": 2, "warmup": 10, "steps": 7, "rate": 0.6},
        {
            **{"start": 1, "peak": 2, "warmup": 4, "steps": 7, "rate": 0.6, "begin": 5},
            **{"staircase": True, "end": 0.4},
        },
    ],
}


def call(name, settings):
    """A schedule's call as a spec has it."""
    said = (str(x).lower() if isinstance(x, bool) else repr(x) for x in settings.values())
    return f"{name}({', '.join(f'{key} = {x}' for key, x in zip(settings, said, strict=True))})"


@cache
def rates():
    """All schedules that claim something, at steps 1 to STEPS."""
    calls = [call(name, settings) for name, cases in GIVEN.items() for settings in cases]
    return observed(calls, range(1, STEPS + 1))


@pytest.mark.parametrize("name", claims())
def test_a_schedule_is_what_it_claims(name):
    item = claims()[name]
    defaults = {p.name.id: value(p.default, {}) for p in item.params if p.default is not None}
    for settings in GIVEN[name]:
        with jax.enable_x64(True):
            theirs = value(item.equals, {"optax": optax, **defaults, **settings})
            expected = [float(theirs(np.float64(count))) for count in range(STEPS)]
        found = rates()[call(name, settings)]
        np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_every_claim_of_a_schedule_is_held():
    assert set(claims()) == set(GIVEN)
    assert all(isinstance(item, syntax.ScheduleDecl) for item in claims().values())


# ---- without a claim


def at(schedule, times):
    """A schedule at some steps."""
    return observed([schedule], times)[schedule]


def test_multi_step_is_that_of_optax():
    expected = optax.piecewise_constant_schedule(2.0, {5: 0.1, 9: 0.1, 30: 0.1})
    with jax.enable_x64(True):
        theirs = [float(expected(count)) for count in range(40)]
    found = at("multi_step(2, 0.1, 5, 9, 30)", range(1, 41))
    np.testing.assert_allclose(found, theirs, rtol=ROUNDING)


PIECES = {
    # A scale of its own at each boundary, straight lines, half cosines. Scales are multiplied.
    "2 * 0.1^after(5) * 0.5^after(9)": optax.piecewise_constant_schedule(2.0, {5: 0.1, 9: 0.5}),
    "2 * interpolate(t - 1, 0, 1.0, 5, 0.1, 9, 0.05)": optax.piecewise_interpolate_schedule(
        "linear", 2.0, {5: 0.1, 9: 0.5}
    ),
    "where(t <= 5, between(0.2, 2, half_cosine(part(0, 5))), "
    "between(0.1, 0.2, half_cosine(part(5, 9))))": optax.piecewise_interpolate_schedule(
        "cosine", 2.0, {5: 0.1, 9: 0.5}
    ),
}


@pytest.mark.parametrize("written", PIECES)
def test_the_pieces_of_optax_are_written_out(written):
    with jax.enable_x64(True):
        theirs = [float(PIECES[written](np.float64(count))) for count in range(15)]
    np.testing.assert_allclose(at(written, range(1, 16)), theirs, rtol=ROUNDING)


@pytest.mark.parametrize(("period", "grow"), [(1, 2), (7, 2), (10, 3), (6, 1.5), (5, 1)])
def test_restarts_are_those_of_optax(period, grow):
    """SGDR: periods of `period`, `period * grow`, ... steps, each from the peak to the floor."""
    lengths = [period * grow**k for k in range(4 if grow > 1 else 20)]
    parts = [{"init_value": 2.0, "peak_value": 2.0, "end_value": 0.25} for _ in lengths]
    for part, steps in zip(parts, lengths, strict=True):
        part |= {"warmup_steps": 0, "decay_steps": steps}
    if grow == 1.5:  # periods of a whole number of steps only: 6, 9
        parts, lengths = parts[:2], lengths[:2]
    theirs = optax.sgdr_schedule(parts)
    total = int(sum(lengths))
    spec = f"sgdr(2, {period}, {grow}, 0.25)" if grow > 1 else f"cosine_restarts(2, {period}, 0.25)"
    with jax.enable_x64(True):
        expected = [float(theirs(np.float64(count))) for count in range(total)]
    np.testing.assert_allclose(at(spec, range(1, total + 1)), expected, rtol=ROUNDING)


def test_sgdr_restarts_at_the_right_step_far_out():
    """After 1000 (2^k - 1) steps the rate is the peak again, one step earlier it is nearly 0."""
    starts = [1000 * (2**k - 1) + 1 for k in range(1, 15)]
    np.testing.assert_array_equal(at("sgdr(1, 1000)", starts), 1)
    assert max(at("sgdr(1, 1000)", [t - 1 for t in starts])) < 1e-5


def test_triangular_goes_up_and_down():
    found = at("triangular(1, 3, 4)", range(1, 18))
    up = [1, 1.5, 2, 2.5, 3, 2.5, 2, 1.5]
    np.testing.assert_allclose(found, [*up, *up, 1], rtol=ROUNDING)


CURVES = ("linear", "sqrt", "square", "cosine", "mirror_cosine", "exponential")


def wsd(curve, times, end=0.0, total=1000, share=0.2):
    return at(f'wsd(1, 0, {total}, share = {share}, curve = "{curve}", end = {end})', times)


@pytest.mark.parametrize("curve", CURVES)
def test_a_cooldown_starts_at_the_peak_and_ends_at_its_end(curve):
    found = wsd(curve, [1, 800, 801, 999, 1000, 1200], end=0.25)
    np.testing.assert_allclose(found[[0, 1, 4, 5]], [1, 1, 0.25, 0.25], rtol=ROUNDING)
    # Each curve is monotone: within the first and last of 200 steps it leaves its ends little.
    assert 1 > found[2] > 0.9
    assert 0.25 < found[3] < 0.3


@pytest.mark.parametrize(
    ("curve", "area"), [("linear", 1 / 2), ("sqrt", 2 / 3), ("square", 1 / 3), ("cosine", 1 / 2)]
)
def test_a_cooldown_costs_its_share_of_the_area(curve, area):
    """1 - area * f of the area of a constant rate, for a cooldown over the part f of the run."""
    found = wsd(curve, range(1, 2001), total=2000, share=0.4).mean()
    # The sum over a fall from 1 to 0 is its integral within half a step, or its first value.
    np.testing.assert_allclose(found, 1 - area * 0.4, atol=1 / 2000)


def test_the_mirror_cosine_is_the_cosine_turned_about_the_line():
    times = range(795, 1005)
    both = wsd("mirror_cosine", times) + wsd("cosine", times)
    np.testing.assert_allclose(both, 2 * wsd("linear", times), atol=ROUNDING)


def test_an_exponential_cooldown_is_geometric():
    found = wsd("exponential", range(800, 1001), end=0.01)
    np.testing.assert_allclose(found[1:] / found[:-1], 0.01 ** (1 / 200), rtol=1e-12)


def test_the_transformer_s_rate_has_its_published_values():
    """d = 512, 4000 steps of warm-up: d^-1/2 min(t^-1/2, t W^-3/2)."""
    found = at("inverse_sqrt(peak = 512^(-0.5) * 4000^(-0.5), warmup = 4000)", [1, 4000, 16000])
    np.testing.assert_allclose(found, [1.74693e-7, 6.98771e-4, 3.49386e-4], rtol=1e-5)


# ---- cosine power annealing


def power(order, times, total=100, more=""):
    return at(f"cosine_power(1, {total}, order = {order}{more})", times)


def test_cosine_power_has_its_golden_values():
    golden = {
        1: [0.853553, 0.500000, 0.146447],
        2: [0.806946, 0.414214, 0.106840],
        10: [0.681958, 0.240253, 0.044559],
    }
    for order, values in golden.items():
        np.testing.assert_allclose(power(order, [25, 50, 75]), values, atol=5e-7)


def test_rescaled_it_is_the_released_code():
    found = power(10, [1, 25, 50, 75], more=", rescale = true")
    np.testing.assert_allclose(found, [1, 0.682388, 0.240405, 0.044587], atol=5e-7)


def test_cosine_power_is_monotone_and_ends_at_its_ends():
    curves = np.array([power(order, range(1, 101)) for order in (1, 2, 10, 100)])
    assert (np.diff(curves, axis=1) < 0).all()
    assert (np.diff(curves, axis=0)[:, :-1] < 0).all(), "a larger order is lower"
    np.testing.assert_allclose(curves[:, -1], 0, atol=ROUNDING)


def test_order_one_is_the_cosine_and_its_neighbours_are_close():
    cosine = at("warmup_cosine(1, 10, 100)", range(1, 101))
    np.testing.assert_array_equal(power(1, range(1, 101), more=", warmup = 10"), cosine)
    # The derivative in the order is at most 1/8, and without expm1 the difference is noise.
    near = power("1.000000000001", range(1, 101), more=", warmup = 10")
    np.testing.assert_allclose(near, cosine, atol=2e-13)


@pytest.mark.parametrize(("order", "mean"), [(1, 0.5), (2, 0.4570), (10, 0.36669)])
def test_the_mean_of_cosine_power_is_a_bessel_function(order, mean):
    """(sqrt(p) I0(log(p) / 2) - 1) / (p - 1), and a half for the cosine."""
    found = power(order, range(1, 4001), total=4000).mean() + 0.5 / 4000
    exact = mean if order == 1 else (order**0.5 * np.i0(np.log(order) / 2) - 1) / (order - 1)
    np.testing.assert_allclose(found, exact, atol=1e-7)
    np.testing.assert_allclose(exact, mean, atol=5e-5)


def test_schedules_have_their_corner_values():
    """At t = 1, at the end of the warm-up, on the plateau, at the end and after it."""
    corners = {
        "warmup_cosine(peak = 2, warmup = 4, total = 20, floor = 0.5)": {
            1: 2 / 4, 4: 2, 12: 1.25, 20: 0.5, 30: 0.5,
        },
        "warmup_cosine(peak = 2, warmup = 0, total = 20)": {20: 0, 10: 1},
        "linear_decay(peak = 2, total = 20, warmup = 4, floor = 0.5)": {
            1: 2 / 4, 4: 2, 12: 1.25, 20: 0.5, 30: 0.5,
        },
        "wsd(peak = 2, warmup = 4, total = 20, share = 0.25)": {
            1: 2 / 4, 4: 2, 10: 2, 15: 2, 16: 2 * 4 / 5, 19: 2 / 5, 20: 0, 30: 0,
        },
        "inverse_sqrt(peak = 2, warmup = 4)": {1: 2 / 4, 4: 2, 16: 1, 64: 0.5},
        "inverse_sqrt(peak = 2, warmup = 0)": {1: 2, 4: 1},
        "exponential_decay(start = 2, steps = 10, rate = 0.5)": {1: 2, 11: 1, 21: 0.5, 6: 2**0.5},
        "constant(0.3)": {1: 0.3, 1000: 0.3},
    }  # fmt: skip
    times = sorted({t for values in corners.values() for t in values})
    found = observed(list(corners), times)
    for call, values in corners.items():
        now = found[call][[times.index(t) for t in values]]
        np.testing.assert_allclose(now, list(values.values()), rtol=1e-14, atol=1e-15, err_msg=call)


# ---- what theory says of them


def bound(rates):
    """sqrt(T) times the last-iterate bound at its best base rate, with D = G = 1.

    Theorem 10 of arXiv:2310.07831: 2 sqrt(T1 (T2 + T3)).
    """
    tail = np.cumsum(rates[::-1])[::-1]
    squares = np.cumsum((rates**2)[::-1])[::-1]
    first, second = 1 / (2 * tail[0]), squares[0] / (2 * tail[0])
    third = np.sum(rates[:-1] / tail[1:] * squares[:-1] / tail[:-1]) / 2
    return np.sqrt(len(rates)) * 2 * np.sqrt(first * (second + third))


def test_the_bound_ranks_schedules_as_its_paper_does():
    """Linear, cosine, WSD, inverse root, constant; all still move in their last step."""
    expected = {
        "linear_decay(1, 1001)": 2.006,
        "cosine_decay(1, 1000)": 2.063,
        "wsd(1, 0, 1001, 200 / 1001)": 2.172,
        "inverse_sqrt(1, 0)": 2.570,
        "constant(1)": 2.913,
    }
    found = observed(list(expected), range(1, 1001))
    scores = {call: bound(values) for call, values in found.items()}
    np.testing.assert_allclose(list(scores.values()), list(expected.values()), atol=2e-3)
