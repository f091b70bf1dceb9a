import json
import math

import pytest

from optc.cli.train.metrics import Entry, Metrics

FIRST = Entry(1, 0.5, {"grad_norm": 2.0}, {}, 0.25)
SECOND = Entry(2, 0.25, {"grad_norm": 1.0}, {"loss": 0.3, "accuracy": 0.9}, 0.5)


@pytest.fixture
def metrics(tmp_path):
    return Metrics(tmp_path / "metrics.jsonl")


def test_what_is_appended_is_read_back(metrics):
    metrics.append(FIRST)
    metrics.append(SECOND)
    assert list(metrics) == [FIRST, SECOND]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null(value):
    line = Entry(1, value, {"sharpness": value}).line()
    fields = json.loads(line, parse_constant=pytest.fail)
    assert fields["loss"] is None
    assert fields["observed"] == {"sharpness": None}


def test_tensors_and_spectra_are_read_back(metrics):
    entry = Entry(1, 0.5, {"ratio": {"a/b": 1.0, "c": 2.0}, "spectrum": [[0.0, 1.0], [0.5, 0.5]]})
    metrics.append(entry)
    assert list(metrics) == [entry]
    assert math.isnan(entry.number("ratio"))


def test_null_reads_as_nan(metrics):
    metrics.append(Entry(1, math.nan))
    (entry,) = metrics
    assert math.isnan(entry.loss)


def test_a_cut_forgets_what_came_after_the_step(metrics):
    metrics.append(FIRST)
    metrics.append(SECOND)
    assert metrics.cut(1) == FIRST.seconds
    assert list(metrics) == [FIRST]


def test_a_line_that_a_killed_run_left_unfinished_is_forgotten(metrics, tmp_path):
    metrics.append(FIRST)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert list(metrics) == [FIRST]
