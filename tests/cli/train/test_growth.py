"""Batches that grow as the optimizer requests."""

import json
import math

import jax
import numpy as np
import pytest

from optc.api.programs import load
from optc.cli.train.checkpoint import Checkpoints
from optc.cli.train.growth import Growth
from optc.cli.train.loop import start
from optc.cli.train.tasks import make

GROWING = """
optimizer growing(lr = 0.01) {
  tune step lr
  request where(t == 2, 20, 0) as batch_size
  observe examples() as examples
}
"""


@pytest.fixture
def growing(tmp_path):
    path = tmp_path / "growing.opt"
    path.write_text(GROWING)
    return path


def entries(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def newest(folder, growing):
    with Checkpoints(folder / "checkpoints") as checkpoints:
        begin = start(make("digits", 8), load(str(growing))(), 0, Growth(8, 40))
        snapshot = checkpoints.newest(begin)
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tuple(snapshot))]


def test_batches_double_until_they_are_as_large_and_a_resumed_run_has_the_same(
    optc, growing, tmp_path
):
    sizes = ("--batch-size", 8, "--max-batch-size", 40)
    run = ("train", growing, "--checkpoint-every", 2, *sizes)
    assert optc(*run, "--steps", 4, "--out", "whole").code == 0
    assert optc(*run, "--steps", 2, "--out", "parts").code == 0
    assert optc("train", growing, "--steps", 4, "--out", "parts", "--resume").code == 0
    assert newest(tmp_path / "whole", growing) == newest(tmp_path / "parts", growing)
    whole, parts = (entries(tmp_path / name) for name in ("whole", "parts"))
    assert [entry["batch_size"] for entry in parts] == [8, 8, 32, 32]
    assert [entry["observed"]["examples"] for entry in parts] == [8, 8, 32, 32]
    assert [entry["loss"] for entry in whole] == [entry["loss"] for entry in parts]
    code, _, err = optc("train", growing, "--out", "parts", "--resume", "--max-batch-size", 64)
    assert code == 1
    assert "cannot resume with max_batch_size 64: the run was started with 40" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["growing.opt", "--max-batch-size", 20], "the largest batch has 20 examples, and the f"),
        (["growing.opt", "--max-batch-size", 2000], "has 2000 examples; there are 1437"),
        (["sgd", "--max-batch-size", 128], "sgd requests no batch size, so batches do not grow"),
    ],
)
def test_sizes_that_cannot_be_are_told_before_any_work(optc, growing, tmp_path, arguments, message):
    code, out, err = optc("train", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_the_largest_batch_is_sixteen_times_the_first_or_all_there_is():
    assert Growth.of(make("digits", 8), None) == Growth(8, 128)
    assert Growth.of(make("digits"), None) == Growth(64, 1024)
    assert Growth.of(make("digits", 1000), None) == Growth(1000, 1437)
    assert Growth.of(make("quadratic"), None) is None


@pytest.mark.parametrize("requested", [-1.0, 0.0, 8.0, math.nan, -math.inf])
def test_what_asks_for_no_more_changes_nothing(requested):
    assert Growth(8, 100).after(8, requested) == 8


def test_sizes_are_few():
    growth = Growth(8, 100)
    sizes = {growth.after(8, float(requested)) for requested in range(1000)}
    assert sizes == {8, 16, 32, 64, 100}
