"""Our Shampoos go where the released ones went, on the gradients that those were given.

All are float64 and differ in the order of operations and in the routine for roots. Factors have a
condition of at most 1e6 with what is added to them, so a fourth root of an inverse errs by some
1e-15 of its largest value, and ten steps of at most 1/4 leave 1e-12.

Google's finds the largest eigenvalue, of which the part eps (2^-13) is added, by power iteration
until it changes by less than 1e-6: some 1e-9 of a root.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from interpreted import Run, flat

FOLDER = Path(__file__).parents[1] / "data" / "references"
_spec = importlib.util.spec_from_file_location("shampoo_references", FOLDER / "shampoo.py")
references = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(references)

CASES = references.META | references.GOOGLE
RECORDED = json.loads(references.DATA.read_text())
EXACT, ITERATED = 1e-12, 1e-8


def tensors(numbers):
    """The tensors of a flat list, in the order in which they were recorded."""
    sizes = [int(np.prod(shape)) for shape in references.SHAPES]
    parts = np.split(np.array(numbers), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, references.SHAPES, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_a_trajectory_is_that_of_the_release(name):
    case = CASES[name]
    total = {"total": references.FALL} if case.rates else {}
    run = Run(case.ours, tensors(RECORDED["weights"]), **case.values, **total)
    found = []
    for gradient in RECORDED["gradients"]:
        run.step(tensors(gradient))
        found.append(flat(run.weights))
    expected = np.array(RECORDED[name])
    error = np.abs(np.stack(references.kept(found)) - expected).max()
    relative = name.startswith("google") and case.released.get("relative_matrix_epsilon", True)
    assert error <= (ITERATED if relative else EXACT) * np.abs(expected).max()


def test_every_recorded_trajectory_is_held():
    assert set(RECORDED) == set(CASES) | {"weights", "gradients"}
