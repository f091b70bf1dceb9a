import json
import math
import os
import signal
import sys

import jax
import numpy as np
import pytest

from optc.api.programs import load
from optc.cli.train.checkpoint import Checkpoints
from optc.cli.train.loop import End, Plan, start, train
from optc.cli.train.metrics import Metrics
from optc.cli.train.tasks import make
from optc.cli.train.tasks.text import text

DIVERGES = """
optimizer diverges(lr = 1e30) {
  tune step lr
}
"""

SCHEDULED = """
schedule fading(total: int) = 1 - t / (total + 1)

optimizer scheduled(lr = 0.1, total: int = 7) {
  tune step lr * fading(total)
}
"""


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def newest(folder, task, program):
    """The newest weights and state of a run, as bytes."""
    with Checkpoints(folder / "checkpoints") as checkpoints:
        snapshot = checkpoints.newest(start(make(task), program(), 0))
    return snapshot.step, [np.asarray(x).tobytes() for x in jax.tree.leaves(tuple(snapshot))]


@pytest.mark.parametrize("task", ["digits", "rosenbrock", "quadratic"])
def test_a_run_leaves_its_files_and_one_line_on_standard_output(optc, good, tmp_path, task):
    run = ("train", good, "--task", task, "--steps", 4, "--out", "run")
    code, out, err = optc(*run, "--set", "lr=1e-4")
    folder = tmp_path / "run"
    assert code == 0
    assert out.startswith(f"plain on {task}: 4 steps, loss ")
    assert len(out.splitlines()) == 1
    assert "step 4/4" in err
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "spec.opt").read_text() == good.read_text()
    assert (folder / "plain.py").read_text() == load(str(good)).source
    assert [line["step"] for line in lines(folder)] == [1, 2, 3, 4]
    assert all(line["observed"]["grad_norm"] > 0 for line in lines(folder))
    assert "loss" in lines(folder)[-1]["evaluation"]
    assert json.loads((folder / "run.json").read_text())["task"] == task


def test_the_default_folder_is_named_after_optimizer_and_task(optc, good, tmp_path):
    assert optc("train", good, "--task", "quadratic", "--steps", 1).code == 0
    assert (tmp_path / "runs" / "plain-quadratic" / "run.json").exists()


@pytest.mark.parametrize(
    ("spec", "task", "setting"),
    [
        pytest.param("adamw", "digits", "lr=0.01", marks=pytest.mark.rest),
        pytest.param("fsam", "digits", "total=6", marks=pytest.mark.rest),
        ("cdat_adam", "quadratic", "b1=0.8"),
        # The averages of batch norm and the key of dropout are part of a checkpoint.
        ("sam", "digits_normed", "lr=0.01"),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(optc, tmp_path, spec, task, setting):
    run = ("train", spec, "--task", task, "--checkpoint-every", 3, "--set", setting)
    assert optc(*run, "--steps", 6, "--out", "whole").code == 0
    assert optc(*run, "--steps", 3, "--out", "parts").code == 0
    assert optc("train", spec, "--steps", 6, "--out", "parts", "--resume").code == 0
    program = load(spec)
    assert newest(tmp_path / "whole", task, program) == newest(tmp_path / "parts", task, program)
    whole, parts = lines(tmp_path / "whole"), lines(tmp_path / "parts")
    assert [line["step"] for line in parts] == [1, 2, 3, 4, 5, 6]
    for line in (*whole, *parts):
        del line["seconds"]
    assert whole == parts


def test_a_killed_run_makes_the_steps_after_its_checkpoint_again(optc, good, tmp_path):
    optc("train", good, "--task", "quadratic", "--steps", 3, "--out", "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 9.0, "observed": {}, "evaluation": {}, "seconds": 1.0}\n')
    code, _, err = optc("train", good, "--steps", 5, "--out", "run", "--resume")
    assert code == 0
    assert "resuming after step 3" in err
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3, 4, 5]
    assert lines(tmp_path / "run")[3]["loss"] != 9.0


def test_a_folder_that_holds_something_is_not_written_over(optc, good, tmp_path):
    optc("train", good, "--task", "quadratic", "--steps", 1, "--out", "run")
    code, out, err = optc("train", good, "--task", "quadratic", "--steps", 1, "--out", "run")
    assert (code, out) == (1, "")
    assert err == "error: run is not empty: continue it with --resume, or choose another --out\n"
    (tmp_path / "file").touch()
    assert "file is a file" in optc("train", good, "--out", "file").err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--task", "digits"],
            "cannot resume with task digits: the run was started with quadratic",
        ),
        (["--seed", 1], "cannot resume with seed 1: the run was started with 0"),
        (["--set", "lr=1.0"], "cannot resume with lr = 1.0: the run was started with the default"),
    ],
)
def test_a_run_is_resumed_as_it_was_started(optc, good, more, message):
    optc("train", good, "--task", "quadratic", "--steps", 1, "--out", "run")
    code, out, err = optc("train", good, "--out", "run", "--steps", 2, "--resume", *more)
    assert (code, out) == (1, "")
    assert message in err


def test_a_run_is_not_resumed_with_another_spec(optc, good):
    optc("train", good, "--task", "quadratic", "--steps", 1, "--out", "run")
    good.write_text(good.read_text().replace("step lr", "step lr * 0.5"))
    code, _, err = optc("train", good, "--out", "run", "--steps", 2, "--resume")
    assert code == 1
    assert "the spec now compiles to something else" in err


def test_nothing_to_resume_is_told(optc, good):
    code, _, err = optc("train", good, "--out", "nowhere", "--resume")
    assert code == 1
    assert err.startswith("error: nothing to resume")


def test_a_total_that_is_not_set_is_the_number_of_steps(optc, tmp_path):
    (tmp_path / "s.opt").write_text(SCHEDULED)
    code, _, err = optc("train", "s.opt", "--task", "quadratic", "--steps", 3, "--out", "run")
    assert code == 0
    assert "total = 3, the number of steps" in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"] == {"total": 3}
    _, _, err = optc("train", "s.opt", "--task", "quadratic", "--steps", 3, "--set", "total=9")
    assert "total = " not in err


def test_a_loss_that_is_not_finite_ends_the_run_with_1(optc, tmp_path):
    (tmp_path / "d.opt").write_text(DIVERGES)
    code, out, err = optc("train", "d.opt", "--task", "quadratic", "--steps", 9, "--out", "run")
    folder = tmp_path / "run"
    assert code == 1
    assert out.startswith("diverges on quadratic: 2 steps, loss ")
    assert "the loss is not finite at step 2" in err
    assert lines(folder)[-1]["loss"] is None
    assert (folder / "curve.png").exists()


def test_keep_going_trains_on_when_the_loss_is_not_finite(optc, tmp_path):
    (tmp_path / "d.opt").write_text(DIVERGES)
    run = ("train", "d.opt", "--task", "quadratic", "--steps", 9, "--out", "run", "--keep-going")
    assert optc(*run).code == 0
    assert len(lines(tmp_path / "run")) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.opt"], "nowhere.opt"),
        (["plain.opt", "--set", "rate=1"], "rate"),
        (["plain.opt", "--set", "lr=11"], "lr"),
        (["plain.opt", "--task", "quadratic", "--batch-size", 4], "has no batches"),
        (["sophia_g", "--task", "rosenbrock"], "needs the examples of a batch"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_work(optc, good, tmp_path, arguments, message):
    code, out, err = optc("train", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_missing_extra_says_what_to_install(optc, good, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.delitem(sys.modules, "optc.cli.train.tasks.digits", raising=False)
    code, _, err = optc("train", good, "--task", "digits")
    assert code == 1
    assert err == 'error: training needs scikit-learn: pip install "optc[train]"\n'


def run_small(folder, task, steps, interrupt_at=None):
    """A few steps without the command line."""

    def show(entry):
        if entry.step == interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    optimizer = load("adamw")()
    with Checkpoints(folder / "checkpoints") as checkpoints:
        begin = checkpoints.newest(start(task, optimizer, 0))
        plan = Plan(steps, log_every=1, evaluate_every=steps, checkpoint_every=steps)
        metrics = Metrics(folder / "metrics.jsonl")
        outcome = train(
            task,
            optimizer,
            begin,
            plan,
            seed=0,
            metrics=metrics,
            checkpoints=checkpoints,
            show=show,
        )
        return outcome, checkpoints.newest(begin)


def test_what_is_observed_of_tensors_and_spectra_is_logged_and_drawn(optc, tmp_path):
    spec = tmp_path / "probed.opt"
    spec.write_text(
        """optimizer probed(lr = 1e-4) {
          tune step lr
          observe norm(u, per = tensor) as sizes
          observe lanczos(hvp, g, 2) as spectrum every 3
        }
        """
    )
    run = ("train", spec, "--task", "quadratic", "--steps", 8, "--log-every", 4, "--out", "run")
    assert optc(*run)[0] == 0
    found = {line["step"]: line["observed"] for line in lines(tmp_path / "run")}
    due = [step for step, seen in found.items() if seen["spectrum"][0][0] is not None]
    assert due == [1, 4, 7]
    assert all(
        isinstance(size, float) for seen in found.values() for size in seen["sizes"].values()
    )
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_transformer_learns_something_in_a_few_steps(tmp_path):
    run_small(tmp_path, text(batch_size=2, layers=1, width=16, heads=2, context=8), 30)
    losses = [entry.loss for entry in Metrics(tmp_path / "metrics.jsonl")]
    assert all(map(math.isfinite, losses))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_an_interrupt_ends_a_run_after_its_step_and_loses_nothing(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    task = make("quadratic")
    _, whole = run_small(tmp_path / "whole", task, 4)
    outcome, cut = run_small(tmp_path / "parts", task, 4, interrupt_at=2)
    assert (outcome.end, outcome.step, cut.step) == (End.INTERRUPTED, 2, 2)
    _, parts = run_small(tmp_path / "parts", task, 4)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_from_what_was_kept_ends_with_the_same_bits(optc, good, tmp_path, monkeypatch):
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "kept"))
    run = ("train", good, "--task", "rosenbrock", "--set", "lr=1e-4")
    optc(*run, "--steps", 4, "--out", "plain")
    optc(*run, "--steps", 2, "--out", "cached", "--cache")
    assert len(os.listdir(tmp_path / "kept")) == 3, "the module, the fresh state and the step"
    optc("train", good, "--out", "cached", "--resume", "--steps", 3, "--cache")
    known = os.listdir(tmp_path / "kept")
    assert len(known) == 4, "and the step of arrays that orbax has put on a device"
    optc("train", good, "--out", "cached", "--resume", "--steps", 4, "--cache")
    assert sorted(os.listdir(tmp_path / "kept")) == sorted(known)
    program = load(str(good))
    ends = [newest(tmp_path / name, "rosenbrock", program) for name in ("plain", "cached")]
    assert ends[0] == ends[1]
