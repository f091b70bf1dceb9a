"""Our optimizers go where torch.optim went, step by step, on the gradients that it was given.

Both are float64 and differ in the order of operations. The debiased moments divide by 1 - b^t, at
least 1e-3, in which a power may differ by 2^-53: a step differs by some 1e-13 of itself.
Twenty-five steps of at most 2 leave 1e-12 of the largest weight, which is of order 1.
"""

import json

import numpy as np
import pytest
from interpreted import flat, trace
from torch_trajectories import CASES, DATA, SHAPES

RECORDED = json.loads(DATA.read_text())
TOLERANCE = 1e-12


def tensors(numbers):
    """The tensors of a flat list, in the order in which they were recorded."""
    sizes = [int(np.prod(shape)) for shape in SHAPES.values()]
    parts = np.split(np.array(numbers), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES.values(), strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_a_trajectory_is_that_of_torch(name):
    case = CASES[name]
    gradients = [tensors(now) for now in RECORDED["gradients"]]
    found = trace(case.ours, gradients, tensors(RECORDED["weights"]), **case.values)
    expected = np.array(RECORDED[name])
    assert np.isfinite(expected).all()
    assert np.abs(np.diff(expected, axis=0)).max() > 0, "it moves"
    error = np.abs(np.stack([flat(w) for w in found[1:]]) - expected).max()
    assert error <= TOLERANCE * np.abs(expected).max()


def test_every_recorded_trajectory_is_held():
    assert set(RECORDED) == set(CASES) | {"torch", "weights", "gradients"}
