"""Muon and its relatives against the code of their authors, which was run once and written down."""

import sys
from pathlib import Path

import numpy as np
import pytest
from interpreted import Run, stages

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "references"))

from muon_family import CASES, KEPT, RANK, SHAPES, recorded, sketch, start

TOLERANCE = 1e-11
"""Thirteen digits were written down; six steps, of which each adds some hundred roundings."""

LR = 0.05


def _torch(scale):
    rule = f"muon(0.9, orthogonalize = x => newton_schulz(x, 5, 0), scale = {scale})"
    return stages(f"precondition {rule}", "decay weights(0.1)", f"tune step {LR}")


def _dion():
    return stages(f"precondition dion(0.9, rank = {RANK})", "decay weights(0.1)", f"tune step {LR}")


def _scion(ball="spectral_ball", decay="decay weights(1)"):
    lines = (f"precondition scion(0.8, 3.0, ball = {ball})", decay, f"tune step {LR}")
    return stages(*(line for line in lines if line))


SPECS = {
    "muon": stages("precondition muon(0.9)", "decay weights(0.1)", f"tune step {LR}"),
    "torch": _torch("keller_scale"),
    "torch_rms": _torch("rms_scale"),
    "normuon": stages("precondition normuon(0.9, 0.8)", "decay weights(0.1)", f"tune step {LR}"),
    "dion": _dion(),
    "scion": _scion(),
    "scion_unconstrained": _scion(decay=""),
    "scion_sign": _scion("sign_ball"),
    "scion_columns": _scion("row_ball"),
    "galore": stages(
        f"precondition galore_adam(0.9, 0.95, 1e-6, rank = {RANK}, period = 100)",
        f"tune step {LR}",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_a_trajectory_is_that_of_the_authors_code(case, shape):
    """Theirs are laid out outputs first, ours inputs first."""
    weights, gradients = start(shape)

    def draw(op, site, rounds, like):
        """What the first basis of Dion is cut from: on the smaller side, `RANK` columns of it."""
        drawn = np.zeros_like(like[0])
        if drawn.shape[0] >= drawn.shape[1]:
            drawn[:RANK] = sketch(shape).T
        else:
            drawn[:, :RANK] = sketch(shape)
        return [drawn]

    run = Run(SPECS[case], [weights.T], draw=draw)
    found = []
    for number, gradient in enumerate(gradients, 1):
        run.step([gradient.T])
        if number in KEPT:
            found.append(run.weights[0].T)
    expected = recorded()[case][shape]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
