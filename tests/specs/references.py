"""What reference code did on recorded gradients: the files of `tests/data/references`."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from interpreted import Run

FOLDER = Path(__file__).parents[1] / "data" / "references"


@cache
def recorded(name: str) -> dict:
    """The record that `record_NAME.py` wrote."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def deviation(record: str, case: str, spec: str, drawn: Sequence = (), **values) -> float:
    """How far the weights of `spec` ever are from those recorded, in one element.

    `drawn` are the random numbers of each step, and what is drawn once for all tensors.
    """
    data = recorded(record)
    (weights, gradients), after = data[data[case]["given"]], data[case]["after"]
    names = sorted(weights)
    now: dict = {}

    def draw(op, site, rounds, like):
        fields, number = now["drawn"]
        return number if like is None else [np.array(fields[name]) for name in names]

    run = Run(spec, [np.array(weights[name]) for name in names], names, draw, **values)
    worst = 0.0
    for t, gradient in enumerate(gradients):
        now["drawn"] = drawn[t] if drawn else ({}, 0.0)
        run.step([np.array(gradient[name]) for name in names])
        for name, weight in zip(names, run.weights, strict=True):
            expected = np.array(after.get(str(t + 1), {}).get(name, weight))
            assert np.isfinite(expected).all()
            worst = max(worst, float(np.abs(weight - expected).max()))
    return worst
