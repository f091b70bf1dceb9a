import ast
import json

import jax.numpy as jnp
import optax
import pytest


def test_the_module_is_written_under_the_name_of_the_optimizer(optc, good, tmp_path):
    code, out, err = optc("compile", good)
    assert (code, out) == (0, "")
    assert "plain: wrote plain.py" in err
    ast.parse((tmp_path / "plain.py").read_text())


def test_a_dash_is_standard_output_and_the_summary_stays_apart(optc, good, tmp_path):
    code, out, err = optc("compile", good, "-o", "-")
    assert code == 0
    ast.parse(out)
    for word in ("stages", "oracles per step", "grad 1", "bytes per weight", "lr = 0.1"):
        assert word in err
    assert not (tmp_path / "plain.py").exists()


def test_set_changes_a_default(optc, good):
    code, out, err = optc("compile", good, "-o", "-", "--set", "lr=0.25")
    assert code == 0
    assert "0.25" in out
    assert "lr = 0.25" in err


@pytest.mark.parametrize("setting", ["rate=0.25", "lr=-1", "lr=fast"])
def test_a_setting_that_the_spec_refuses_is_1(optc, good, setting):
    code, out, err = optc("compile", good, "-o", "-", "--set", setting)
    assert (code, out) == (1, "")
    assert setting.partition("=")[0] in err


def test_errors_of_the_spec_go_to_standard_error(optc, bad, tmp_path):
    code, out, err = optc("compile", bad)
    assert (code, out) == (1, "")
    assert "error[unknown-rule]" in err
    assert not (tmp_path / "wrong.py").exists()


def test_a_missing_folder_is_told_and_an_old_file_survives_an_error(optc, good, bad, tmp_path):
    code, _, err = optc("compile", good, "-o", "nowhere/plain.py")
    assert code == 1
    assert "there is no folder" in err
    (tmp_path / "old.py").write_text("old")
    assert optc("compile", bad, "-o", "old.py").code == 1
    assert (tmp_path / "old.py").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_missing_spec_is_one_line(optc):
    code, out, err = optc("compile", "nowhere.opt")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_the_graph_is_json(optc, good):
    code, out, _ = optc("compile", good, "--emit", "graph", "-o", "-")
    assert code == 0
    assert json.loads(out)


def test_a_pipeline_of_twins_is_printed_as_an_optax_chain(optc):
    code, out, _ = optc("compile", "adamw", "--emit", "optax", "-o", "-", "--set", "lr=0.5")
    assert code == 0
    names = {}
    exec(out, names)
    params, grads = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([0.5, 3.0])}
    for ours, theirs in ((names["adamw"](), optax.adamw(0.5, weight_decay=0.01)),):
        updates, _ = ours.update(grads, ours.init(params), params)
        expected, _ = theirs.update(grads, theirs.init(params), params)
        assert jnp.array_equal(updates["w"], expected["w"])


def test_a_stage_without_a_twin_is_named(optc):
    code, out, err = optc("compile", "fsam", "--emit", "optax", "-o", "-")
    assert (code, out) == (1, "")
    assert "error[no-optax-twin]" in err
    assert "perturb      functional_sam(radius = rho)" in err


@pytest.mark.parametrize("name", ["adamw", "fsam"])
def test_stablehlo_is_lowered_for_every_platform(optc, name):
    code, out, _ = optc("compile", name, "--emit", "stablehlo", "-o", "-")
    assert code == 0
    assert "stablehlo." in out
    assert "func.func public @main" in out
    assert "stablehlo.case" in out or "_platform_index" in out
    assert ".py" not in out  # no place of a file on this machine
