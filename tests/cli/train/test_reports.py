import math

import jax.numpy as jnp
import numpy as np
import pytest

from optc.cli.train.reports import Reports
from optc.runtime import Report

NAN = math.nan


def reports(losses, **observed):
    found = Reports()
    for step, loss in enumerate(losses, 1):
        seen = {name: values[step - 1] for name, values in observed.items()}
        found.add(step, Report(jnp.float32(loss), seen, {}, None, jnp.array(True)))
    return found


@pytest.mark.parametrize(
    ("rare", "steps"),
    [([NAN, 2, NAN, NAN], [2, 4]), ([NAN] * 4, [4]), ([1] * 4, [4]), ([NAN, 1, NAN, 1], [2, 4])],
)
def test_a_step_that_observes_what_others_do_not_has_a_line(rare, steps):
    found = reports([1.0, 2.0, 3.0, 4.0], rare=[np.float32(x) for x in rare], always=[0.5] * 4)
    lines = list(found.take(logged=True))
    assert [step for step, *_ in lines] == steps
    assert [loss for _, loss, *_ in lines] == steps
    assert list(found.take(logged=True)) == []


def test_a_checkpoint_between_lines_writes_only_what_is_rare():
    found = reports([1.0, 2.0], rare=[np.float32(1), np.float32(NAN)])
    assert [step for step, *_ in found.take(logged=False)] == [1]


def test_observations_become_plain_data_by_name():
    spectrum = np.array([[1.0, 2.0], [0.5, 0.5]])
    found = reports([1.0], b=[{"z": np.float32(1)}], a=[spectrum])
    (line,) = (observed for _, _, observed, _ in found.take(logged=True))
    assert list(line) == ["a", "b"]
    assert line == {"a": [[1.0, 2.0], [0.5, 0.5]], "b": {"z": 1.0}}
