"""`optc refine`, from a run to a schedule, and the runs that it cannot use."""

import json

import numpy as np
import pytest

import optc as package
from optc.api.refinement import refine

RECORD = {
    **{"optimizer": "plain", "task": "quadratic", "seed": 0, "batch_size": None, "steps": 5},
    **{"settings": {}, "versions": {}},
}


@pytest.fixture
def folder(optc, tmp_path):
    """Makes the folder of a run that recorded these values on its steps."""

    def make(observed, *, steps=5, record=RECORD, spec="optimizer plain() { tune step 0.1 }"):
        run = tmp_path / "run"
        run.mkdir()
        (run / "run.json").write_text(json.dumps(record | {"steps": steps}))
        (run / "spec.opt").write_text(spec)
        lines = [
            {"step": step, "loss": 1.0, "observed": each, "evaluation": {}, "seconds": 0.0}
            for step, each in enumerate(observed, 1)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return make


def norms(*values, name="grad_norm"):
    return [{name: value} for value in values]


def test_a_run_that_recorded_its_norms_is_refined_end_to_end(optc, tmp_path):
    spec = tmp_path / "own.opt"
    spec.write_text('use "refined.opt"\noptimizer own(lr = 0.1) { tune step refined(lr) }\n')
    run = ("train", "adamw", "--task", "quadratic", "--steps", 40, "--record-norms")
    assert optc(*run, "--out", "first").code == 0
    code, out, err = optc("refine", "first")
    assert (code, out) == (0, "")
    assert "power 1: `adam(b1, b2, eps)` makes steps as Adam does" in err
    log = [json.loads(x)["observed"] for x in (tmp_path / "first/metrics.jsonl").open()]
    assert log[0]["grad_norm"] == log[0]["grad_norm_l2"]
    expected = refine([each["grad_norm_l1"] for each in log], 1)
    found = package.schedule("refined.opt:refined", peak=2.0).values(40)
    # The table is a thousandth off at most, and has five digits.
    np.testing.assert_allclose(found, 2 * expected, atol=2.1e-3)
    assert optc("fmt", "--check", "refined.opt").code == 0
    assert optc("check", "own.opt").code == 0
    # A run that records goes on recording.
    again = ("train", "adamw", "--steps", 42, "--resume", "--out", "first")
    assert optc(*again).code == 0
    assert "grad_norm_l1" in (tmp_path / "first/metrics.jsonl").read_text().splitlines()[-1]


def test_the_table_is_the_closed_form(optc, folder):
    run = folder(norms(2, 1, 1, 1, 1))
    code, out, _ = optc("refine", run, "-o", "-", "--smoothing", 0)
    assert code == 0
    assert "interpolate(t, 1, 0.33333, 2, 1, 5, 0)" in out
    _, out, _ = optc("refine", run, "-o", "-", "--smoothing", 0, "--knots", 3)
    assert "interpolate(t, 1, 0.33333, 2, 1, 5, 0)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 1, "nothing to refine: there is no nowhere/run.json"),
        (["run", "--power", "1"], 1, "run has no L1 norms: train again with --record-norms"),
        (["run", "--power", "3"], 2, "--power"),
        (["run", "--smoothing", "2"], 2, "--smoothing"),
        (["run", "--knots", "1"], 2, "--knots"),
        (["run", "-o", "no/where.opt"], 1, "cannot write where.opt"),
    ],
)
def test_what_cannot_be_done_is_said(optc, folder, arguments, code, said):
    folder(norms(2, 1, 1, 1, 1))
    found = optc("refine", *arguments)
    assert found.code == code
    assert said in found.err


@pytest.mark.parametrize(
    ("observed", "said"),
    [
        ([], "metrics.jsonl is not the log of a run"),
        (norms(1, None, 1), "run has 2 gradient norms; three are needed"),
        (norms(0, 0, 0, 0, 0), "every gradient norm of run is zero"),
        (norms(1, 1, 1, 1, 1, name="loss"), "run has no L2 norms"),
    ],
)
def test_norms_of_no_use_are_refused(optc, folder, observed, said):
    folder(observed)
    code, out, err = optc("refine", "run")
    assert (code, out) == (1, "")
    assert said in err


def test_the_power_that_would_do_is_proposed(optc, folder):
    spec = "optimizer plain() { precondition adam()  tune step 0.1 }"
    code, _, err = optc("refine", folder(norms(1, 1, 1), spec=spec))
    assert code == 1
    assert "has no L1 norms: train again with --record-norms, or say --power 2" in err


def test_an_unfinished_run_and_lost_norms_are_mentioned(optc, folder):
    code, _, err = optc("refine", folder(norms(2, None, 1, 1, 1, 1), steps=9))
    assert code == 0
    assert "not finished" in err
    assert "1 norm not finite" in err


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.json"])
@pytest.mark.parametrize("text", ["nothing\n", "[]\n", '{"step": "x"}\n', "\n"])
def test_a_broken_file_is_named(optc, folder, name, text):
    run = folder(norms(1, 1, 1))
    (run / name).write_text(text)
    code, _, err = optc("refine", run)
    assert code == 1
    assert "cannot refine" in err
    assert name in err
