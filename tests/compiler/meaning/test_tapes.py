"""Tapes against the definitions of what they answer: difference quotients, and fixed numbers."""

import random
from dataclasses import replace

import numpy as np
import pytest

from optc.compiler.meaning.tapes import EXAMPLES, TREES, tape

STEP = 2.0**-20
"""A quotient over two steps is off by STEP^2 times a third derivative, some 1e-11."""


@pytest.fixture(params=TREES)
def taped(request):
    return tape(3, request.param, steps=3)


def moved(at, direction, by):
    return [x + by * v for x, v in zip(at, direction, strict=True)]


def inner(one, other):
    return sum(float(np.sum(x * y)) for x, y in zip(one, other, strict=True))


def quotient(f, at, direction):
    return (f(moved(at, direction, STEP)) - f(moved(at, direction, -STEP))) / (2 * STEP)


def test_the_gradient_is_the_slope_of_the_loss(taped):
    batch, at = taped.batches[1], list(taped.weights)
    for direction in (list(tape(4, taped.tree).weights), batch.grad(at)):
        found = inner(batch.grad(at), direction)
        assert found == pytest.approx(quotient(batch.loss, at, direction), rel=1e-8, abs=1e-9)


def test_the_hessian_product_is_the_slope_of_the_gradient(taped):
    batch, at = taped.batches[1], list(taped.weights)
    direction, other = (list(tape(seed, taped.tree).weights) for seed in (4, 5))
    found = inner(batch.hvp(at, direction), other)
    expected = quotient(lambda x: inner(batch.grad(x), other), at, direction)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_gauss_newton_product_is_what_the_slope_of_the_outputs_makes_of_a_direction(taped):
    batch, at = taped.batches[1], list(taped.weights)
    direction, other = (list(tape(seed, taped.tree).weights) for seed in (4, 5))
    pushed = quotient(batch.outputs, at, direction)

    def outputs_grad(by):
        # The loss sees the outputs less the targets.
        return replace(batch, targets=batch.targets - by * pushed).outputs_grad(at)

    curved = (outputs_grad(STEP) - outputs_grad(-STEP)) / (2 * STEP)
    expected = inner(batch.pullback(at, curved), other)
    assert inner(batch.ggn(at, direction), other) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_gauss_newton_matrix_is_symmetric_and_never_negative(taped):
    batch, at = taped.batches[1], list(taped.weights)
    u, v = (list(tape(seed, taped.tree).weights) for seed in (4, 5))
    assert inner(u, batch.ggn(at, v)) == pytest.approx(inner(batch.ggn(at, u), v), rel=1e-12)
    assert inner(u, batch.ggn(at, u)) >= 0


def test_the_pullback_is_the_transposed_slope_of_the_outputs(taped):
    batch, at = taped.batches[1], list(taped.weights)
    direction = list(tape(4, taped.tree).weights)
    cotangent = np.array(batch.targets)
    found = inner(batch.pullback(at, cotangent), direction)
    expected = quotient(lambda x: float(np.sum(cotangent * batch.outputs(x))), at, direction)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_gradients_of_the_examples_have_the_gradient_as_their_mean(taped):
    batch, at = taped.batches[1], list(taped.weights)
    examples = batch.per_example_grad(at)
    assert len(examples) == EXAMPLES
    for place, whole in enumerate(batch.grad(at)):
        mean = np.mean([example[place] for example in examples], axis=0)
        np.testing.assert_allclose(mean, whole, rtol=1e-12, atol=1e-14)


def test_a_tape_has_the_same_numbers_under_every_version():
    """The numbers are dyadic fractions of draws whose algorithm Python documents."""
    source = random.Random("optc tape layers 0")
    first = sum(source.random() for _ in range(3)) * 2 - 3
    assert tape(0).weights[0][0, 0] == first
    assert first.hex() == "-0x1.9efa67243a0b7p+0"


def test_a_longer_tape_begins_like_a_shorter_one():
    short, long = tape(1, "ranks", 3), tape(1, "ranks", 8)
    for one, other in zip(short.batches, long.batches, strict=False):
        np.testing.assert_array_equal(one.inputs, other.inputs)


def test_draws_belong_to_a_step_an_op_and_a_site():
    like = [np.zeros((2, 2)), None]
    draws = [
        tape(seed).draw(step)(op, site, rounds, like)[0]
        for seed, step, op, site, rounds in (
            (0, 0, "normal", 0, ()),
            (1, 0, "normal", 0, ()),
            (0, 1, "normal", 0, ()),
            (0, 0, "uniform", 0, ()),
            (0, 0, "normal", 1, ()),
            (0, 0, "normal", 0, (1,)),
        )
    ]
    again, nothing = tape(0).draw(0)("normal", 0, (), like)
    np.testing.assert_array_equal(again, draws[0])
    assert nothing is None
    assert len({x.tobytes() for x in draws}) == len(draws)


def test_a_nudge_moves_numbers_by_one_unit_in_the_last_place():
    one = tape(0, steps=2)
    other = one.nudged(7)
    pairs = [
        *zip(one.weights, other.weights, strict=True),
        *((a.inputs, b.inputs) for a, b in zip(one.batches, other.batches, strict=True)),
    ]
    for x, y in pairs:
        assert np.all(np.abs(x - y) <= 2.0**-51 * np.abs(x))
    assert any(np.any(x != y) for x, y in pairs)
