"""The tests that choose a batch size, against their definitions and what is known of them.

Gradients of examples are given; the batch size that is asked for is `report.requested`.
"""

import numpy as np
import pytest
from interpreted import Run

TESTS = """
optimizer x() {
  tune step 0
  observe norm_test(0.1) as norm
  observe inner_product_test(0.1) as inner
  observe orthogonality_test(0.1) as orthogonal
  observe augmented_test(0.1, 1) as augmented
  request augmented_test(0.3, 0.2) as batch_size every 2
}
"""


class Examples:
    """An objective of which the gradient of each example is given, on two tensors."""

    def __init__(self, gradients: np.ndarray) -> None:
        self.gradients = gradients

    def per_example_grad(self, at):
        return [[row[:-1], row[-1]] for row in self.gradients]

    def grad(self, at):
        mean = self.gradients.mean(axis=0)
        return [mean[:-1], mean[-1]]

    def loss(self, at):
        return 0.0


def asked(gradients: np.ndarray) -> dict[str, float]:
    run = Run(TESTS, [np.zeros(gradients.shape[1] - 1), 0.0])
    return run.ask(Examples(gradients)).observed


@pytest.fixture(scope="module")
def noise():
    return 0.3 + np.random.default_rng(0).normal(size=(7, 4))


def test_sizes_are_those_of_the_definitions(noise):
    mean, slopes = noise.mean(axis=0), noise @ noise.mean(axis=0)
    square = mean @ mean
    across = noise - np.outer(slopes / square, mean)
    total = np.var(noise, axis=0, ddof=1).sum()
    found = asked(noise)
    assert found["norm"] == np.ceil(total / (0.1**2 * square))
    assert found["inner"] == np.ceil(np.var(slopes, ddof=1) / (0.1 * square) ** 2)
    crossing = np.var(across, axis=0, ddof=1).sum()
    assert found["orthogonal"] == np.ceil(crossing / (0.1**2 * square))
    assert found["augmented"] == max(found["inner"], np.ceil(crossing / square))
    assert found["batch_size"] > 1


def test_the_norm_test_divides_into_the_two_others(noise):
    found = asked(noise)
    # Each of the three is rounded up.
    assert found["norm"] <= found["inner"] + found["orthogonal"] <= found["norm"] + 1


def test_no_size_depends_on_the_scale_of_the_loss(noise):
    # A power of two changes no digit.
    assert asked(1024 * noise) == asked(noise)


def test_examples_that_agree_ask_for_one(noise):
    assert set(asked(np.tile(noise[:1], (5, 1))).values()) == {1.0}
    assert set(asked(noise[:1]).values()) == {1.0}
    assert set(asked(np.zeros((3, 4))).values()) == {1.0}


def test_a_gradient_that_vanishes_in_noise_asks_for_all_there_is(noise):
    # 1, 2 and -3 along an axis have no mean, and a variance.
    found = asked(np.array([[1.0, 0, 0, 0], [2.0, 0, 0, 0], [-3.0, 0, 0, 0]]))
    assert found["norm"] == np.inf
    assert found["batch_size"] == np.inf


def test_large_batches_measure_what_is_true():
    """Of g = mean + N(0, I) in 20 dimensions, 4096 times: the sizes that the limits call for.

    Each measures variances of 4096 numbers and the square of their mean, both within 5 deviations.
    """
    count, numbers = 4096, 20
    mean = np.full(numbers, 0.25)
    source = np.random.default_rng(1)
    found = asked(mean + source.normal(size=(count, numbers)))
    square = mean @ mean
    slack = 5 * (np.sqrt(2 / count) + 2 * np.sqrt(1 / count / square))
    assert found["norm"] == pytest.approx(numbers / (0.01 * square), rel=slack)
    assert found["inner"] == pytest.approx(1 / (0.01 * square), rel=slack)
    assert found["orthogonal"] == pytest.approx((numbers - 1) / (0.01 * square), rel=slack)


def test_near_a_minimum_noise_asks_for_larger_batches_by_one_over_the_square_of_the_limit():
    """The square of a mean of noise is its variance over b, and so the size is b / 0.1^2.

    Of 20000 numbers, each of one degree of freedom, that square is known to 5 parts in 100.
    """
    found = asked(np.random.default_rng(2).normal(size=(8, 20000)))
    assert found["norm"] == pytest.approx(8 / 0.1**2, rel=0.05)


def test_a_request_that_is_not_due_is_nan(noise):
    run = Run(TESTS, [np.zeros(3), 0.0])
    first, second = (run.ask(Examples(noise)).observed["batch_size"] for _ in range(2))
    assert first > 1
    assert np.isnan(second)
