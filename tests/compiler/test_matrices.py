"""Matrices: what an op means in NumPy and at run time, and programs that have them all."""

import jax
import numpy as np
import pytest
from agreement import agree, graph_of, mistakes
from specimens import SPECIMENS
from tried import bowl

from optc import runtime as rt
from optc.compiler import matrices

LEADING = (2, 3)
"""Axes before the last two: one matrix for each place."""


def normal(*shape):
    return np.random.default_rng(len(shape) + shape[-1]).normal(size=shape)


def positive(n, *leading):
    a = normal(*leading, n, n)
    return a @ np.swapaxes(a, -1, -2) + 0.1 * np.eye(n)


def spoilt(a):
    """One of several matrices with a NaN, one with an infinity."""
    a = a.copy()
    a[0, 0, 0, -1], a[1, 2, -1, 0] = np.nan, np.inf
    return a


SQUARE = {
    "positive": positive(4, *LEADING),
    "spoilt": spoilt(positive(4, *LEADING)),
    "one number": np.full((1, 1), 0.25),
    "huge": 1e200 * positive(3),
    "tiny": 1e-200 * positive(3),
}
OBLONG = {
    "tall": normal(*LEADING, 4, 3),
    "wide": normal(3, 5),
    "spoilt": spoilt(normal(*LEADING, 4, 3)),
    "a row": normal(1, 4),
    "huge": 1e200 * normal(3, 2),
    "tiny": 1e-200 * normal(2, 3),
}
SINGULAR = {
    "rank two": positive(5)[:, :2] @ positive(5)[:, :2].T,
    "zero": np.zeros((3, 3)),
}
OBLONG_SINGULAR = {"rank one": np.outer(normal(4), normal(3)), "zero": np.zeros((2, 3))}
OF_SINGULAR = ("inverse_root", "matrix_power", "eigenvalues")
"""Of what a matrix without full rank has one only."""
OF_SQUARE = {
    "inverse_root": (4,),
    "matrix_power": (-0.3,),
    "eigenbasis": (),
    "eigenvalues": (),
    "cholesky": (),
    "trace": (),
    "diagonal": (),
}
CASES = [
    *((name, more, a) for name, more in OF_SQUARE.items() for a in SQUARE.values()),
    *((name, (), a) for name in ("orthonormal", "polar") for a in OBLONG.values()),
    *((name, OF_SQUARE[name], a) for name in OF_SINGULAR for a in SINGULAR.values()),
    *(("polar", (), a) for a in OBLONG_SINGULAR.values()),
]


@pytest.mark.parametrize(("name", "more", "a"), CASES, ids=lambda x: x if type(x) is str else "")
def test_a_function_of_a_matrix_is_what_its_meaning_is(name, more, a):
    with jax.enable_x64(True):
        found = getattr(rt, name)(a, *more)
    with np.errstate(all="ignore"):
        expected = getattr(matrices, name)(a, *more)
    scale = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("a", SINGULAR.values(), ids=SINGULAR)
def test_bases_of_what_lacks_rank_are_orthonormal_and_its_own(a):
    """Which they are is open where eigenvalues are equal, so what must hold is held of both."""
    scale = max(np.max(np.abs(a)), 1e-300)
    with jax.enable_x64(True):
        bases = [(np.asarray(rt.eigenbasis(a)), True), (np.asarray(rt.orthonormal(a)), False)]
    bases += [(matrices.eigenbasis(a), True), (matrices.orthonormal(a), False)]
    for basis, diagonal in bases:
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(a)), atol=1e-13)
        inside = basis.T @ a @ basis if diagonal else np.triu(basis.T @ a)
        expected = np.diag(np.diag(inside)) if diagonal else basis.T @ a
        np.testing.assert_allclose(inside, expected, atol=1e-13 * scale)


def test_what_is_not_finite_keeps_what_stands_otherwise():
    a, kept = SQUARE["spoilt"], positive(4, *LEADING)
    for name, more in (("inverse_root", (4,)), ("eigenbasis", ()), ("cholesky", ())):
        found = getattr(matrices, name)(a, *more, otherwise=kept)
        np.testing.assert_array_equal(found[0, 0], kept[0, 0])
        np.testing.assert_array_equal(found[1, 2], kept[1, 2])
        alone = getattr(matrices, name)(a[0, 1], *more)
        np.testing.assert_allclose(found[0, 1], alone, rtol=1e-12)


@pytest.mark.parametrize("name", ["matrices", "vectors"])
def test_matrices_of_all_ranks_run_as_their_graph_says(name):
    agree(SPECIMENS[name], bowl())


WIDE = """
rule precondition own(n: int) {
  when g is [a, b] { return ones(a, n) @ ones(n, b) } else { return g }
}
optimizer one(k: int = 2) { precondition own(k)  tune step 0.1 }
"""


def test_a_parameter_that_is_a_length_is_at_least_one():
    (parameter,) = graph_of(WIDE).hyperparameters
    assert parameter.low == 1
    none = WIDE.replace("= 2", "= 0")
    assert mistakes(none) == ["no-length: a length is needed; this is 0"] * 2
