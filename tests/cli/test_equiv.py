import json
import subprocess
import sys

import pytest


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.opt"
    path.write_text(
        "optimizer one(lr = 0.1 in [0, inf)) { tune step lr }\n"
        "optimizer half(lr = 0.1 in [0, inf)) { tune step lr / 2 }\n"
    )
    return path


def test_the_same_map_is_0(optc):
    code, out, err = optc("equiv", "adamw", "adam", "--set-a", "decay=0")
    assert (code, err) == (0, "")
    assert out.startswith("same map: adamw and adam have one normal form\n")


def test_two_that_differ_are_1_and_shown(optc, two):
    code, out, err = optc("equiv", f"{two}:one", f"{two}:half", "--no-map")
    assert (code, err) == (1, "")
    assert out.startswith("different: one and half\n")
    assert "after step 1, most in `" in out
    assert f"{two}:2: tune step lr / 2" in out
    assert " is " not in out.splitlines()[0]


def test_a_map_is_shown_where_there_is_one(optc):
    code, out, _ = optc("equiv", "signum", "lion")
    assert code == 1
    assert "signum is lion(lr = lr, b1 = beta, b2 = beta, decay = decay), by normal form" in out


def test_json_has_a_schema(optc, two):
    code, out, _ = optc("equiv", f"{two}:one", f"{two}:half", "--format", "json", "--no-map")
    found = json.loads(out)
    assert code == 1
    assert (found["schema"], found["verdict"]) == (1, "different")
    assert found["difference"]["of"] == "weights"


def test_an_expression_over_optax_takes_hyperparameters_of_the_spec(optc):
    code, out, err = optc("equiv", "nadam", "optax:nadam(lr, b1, b2, eps)", "--steps", "6")
    assert (code, err) == (0, "")
    assert out.startswith("same map, as far as tapes show: nadam and optax:nadam(")


def test_optax_is_told_from_a_spec_and_its_nearest_value_is_named(optc):
    code, out, _ = optc("equiv", "nadam_torch", "optax:nadam(2e-3)", "--steps", "6")
    assert code == 1
    assert out.startswith("different: nadam_torch and optax:nadam(2e-3)")
    assert "precondition nadam_torch(b1, b2, eps, momentum_decay)" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch", "adam"], "`nosuch` is neither a file that ends in .opt nor an optimizer"),
        (["adam", "nosuch.opt"], "nosuch.opt: no such file"),
        (["adam", "sgd", "--set-a", "lr=-1"], "`lr` is -1; it must be at least 0"),
        (["adam", "sgd", "--set-b", "beta=1"], "`sgd` has no hyperparameter `beta`"),
        (["adam", "optax:adamm(1e-3)"], "`adamm` is no transformation or schedule of optax"),
        (["adam", "optax:adam(1e-3"], "this `(` is never closed"),
        (["adam", "optax:adam()"], "optax refuses `adam()`"),
        (["adam", "optax:adam(rate)"], "`rate` is no hyperparameter of adam"),
        (["adam", "optax:adam"], "of adam; it is called as `adam(...)`"),
        (["optax:adam(lr)", "optax:adam(1)"], "`lr` is no hyperparameter of the other side"),
        (["adam", "optax:constant_schedule(1)"], "makes no transformation"),
        (["adam", "optax:__import__('os')"], "is no expression"),
        (["adam", "optax:os.system(1)"], "`os.system` is no transformation"),
        (["adam", "optax:adam(1e-3).init"], "is no part of a transformation"),
        (["adam", "optax:"], "is no expression"),
        (["adam", "optax:adam(10^10^10)"], "optax refuses `adam(10^10^10)`"),
        (["adam", "optax:adam((0 - 8)^0.5)"], "`(0 - 8)^0.5` is no number"),
        (["adam", 'optax:adam("x" * 9)'], '`"x" * 9` is no number'),
        (["adam", "optax:1)\nschedule x() = (1"], "is no expression"),
        (["adam", "optax:adam(1)", "--set-b", "lr=1"], "has no hyperparameters to set"),
    ],
)
def test_garbage_is_1_and_says_what_is_wrong(optc, arguments, words):
    code, out, err = optc("equiv", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert "Traceback" not in err
    assert "internal error" not in err


def test_a_number_that_jax_refuses_is_not_decided(optc):
    code, out, err = optc("equiv", "adam", "optax:adam(2^70)", "--steps", "2", "--no-map")
    assert (code, err) == (1, "")
    assert out.startswith("not decided: adam and optax:adam(2^70)\n  optax refuses it: ")


def test_a_spec_with_mistakes_shows_them(optc, bad):
    code, out, err = optc("equiv", bad, "adam")
    assert (code, out) == (1, "")
    assert "globl_norm" in err


@pytest.mark.parametrize("arguments", [["adam"], ["adam", "sgd", "--steps", "1"]])
def test_wrong_usage_is_2(optc, arguments):
    code, out, err = optc("equiv", *arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err


def test_two_specs_are_compared_without_jax():
    code = (
        "import sys; from optc.cli.main import main\n"
        "main(['equiv', 'sgd', 'momentum', '--steps', '2', '--no-map']); print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.splitlines()[-1].split())
    assert "optc.compiler.meaning.verdict" in imported
    assert not imported & {"jax", "optax", "networkx"}
