import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
SPEC = re.search(r"^```opt\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
SHOWN = re.search(r"^```text\n\$ optc (.*?)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

SMALL = {"layers": [{"kernel": [4, 6], "bias": [6]}, {"kernel": [6, 2], "bias": [2]}], "scale": []}

GROUPED = """
optimizer grouped(lr = 0.1 in [0, inf)) {
  group matrices where ndim >= 2 { precondition momentum(0.9) tune step lr }
  group vectors where ndim == 1 { tune step lr / 2 }
  assert state_bytes < weight_bytes
}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    return path


def test_the_page_shows_what_is_printed(optc, tmp_path):
    (tmp_path / "careful.opt").write_text(SPEC, encoding="utf-8")
    assert optc(*shlex.split(SHOWN[1])) == (0, SHOWN[2], "")


def test_json_has_what_other_tools_need(optc, small):
    code, out, err = optc("plan", "adamw", "--params", small, "--format", "json", "--set", "lr=0.5")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    weights = 24 + 6 + 12 + 2 + 1
    assert plan["schema"] == 1
    assert (plan["weights"], plan["weight_bytes"]) == (weights, 4 * weights)
    assert plan["state_bytes"] == 2 * 4 * weights + 5 * 4 + 4
    assert plan["oracles"] == {"loss": 1, "grad": 1}
    assert 19 < plan["flops_per_weight"] < 20
    assert plan["groups"] == [
        {
            "name": None,
            "where": "",
            "line": "",
            "view": None,
            "tensors": 5,
            "weights": weights,
            "state_bytes": 8 * weights,
        }
    ]
    assert plan["tensors"][0] == {
        "path": "layers/0/kernel",
        "shape": [4, 6],
        "dtype": "float32",
        "group": None,
        "view": None,
        "stages": [],
        "rate": {"stage": "tune", "text": "lr", "at_1": 0.5},
        "decay": [{"stage": "decay", "text": "weights(decay)", "at_1": 0.01}],
    }


STAGGERED = """
optimizer lazy() { precondition late()  tune step 0.1 }
rule precondition late() {
  state kept = zeros(g)
  every 5 staggered { kept <- g }
  return kept
}
"""
COMPILED = ("--params", "mlp", "--compiled")
FIELDS = {
    "schema optimizer params ok hyperparameters weights weight_bytes state_bytes state left_out "
    "flops_per_weight flops at_most uncounted oracles groups staggered tensors findings assertions "
    "compiled",
    "stage period turns",
    "slots hyperparameters count key",
    "stage name dtype tensors bytes groups",
    "group bytes",
    "name where line view tensors weights state_bytes",
    "path shape dtype group view stages rate decay",
    "stage text at_1",
    "kind group tensors message",
    "text line holds sides quantities",
    "platform accessed least excess temporaries aliased donated flops transcendentals doubts",
    "of read written",
    "why of lines bytes",
}
"""The fields of each sort of object in schema 1; others than these mean another number."""


def test_the_fields_are_those_of_schema_1(optc, small, tmp_path):
    spec = tmp_path / "grouped.opt"
    spec.write_text(GROUPED, encoding="utf-8")
    plan = json.loads(optc("plan", spec, "--params", small, "--format", "json")[1])
    objects = [plan, plan["state"], *plan["state"]["slots"], *plan["state"]["slots"][0]["groups"]]
    objects += [*plan["groups"], *plan["tensors"], *plan["findings"], *plan["assertions"]]
    objects += [tensor["rate"] for tensor in plan["tensors"] if tensor["rate"]]
    spec.write_text(STAGGERED, encoding="utf-8")
    objects += json.loads(optc("plan", spec, "--params", small, "--format", "json")[1])["staggered"]
    compiled = json.loads(optc("plan", spec, *COMPILED, "--format", "json")[1])["compiled"]
    objects += [compiled, *compiled["least"], *compiled["excess"]]
    assert {frozenset(found) for found in objects} == {frozenset(f.split()) for f in FIELDS}


def test_tensors_that_are_alike_are_folded_unless_all_are_asked_for(optc, small):
    _, out, _ = optc("plan", "sgd", "--params", small)
    assert re.search(r"\nlayers/0/kernel +\(4, 6\) +float32 ", out)
    _, out, _ = optc("plan", "sgd", "--params", "gpt2-124m")
    assert "\nh/*/mlp/c_fc/kernel x 12 " in out
    _, out, _ = optc("plan", "sgd", "--params", "gpt2-124m", "--all")
    assert "\nh/11/mlp/c_fc/kernel " in out
    assert " x 12" not in out


def test_a_value_with_which_a_condition_divides_by_zero_is_refused(optc, tmp_path):
    spec = tmp_path / "odd.opt"
    rule = "when 10 % k == 1 { state m = zeros(g)  m <- m + g  return m } else { return g }"
    spec.write_text(
        f"rule precondition odd(k: int) {{ {rule} }}\n"
        "optimizer one(k: int = 3) { precondition odd(k)  tune step 0.1 }"
    )
    assert optc("plan", spec, "--params", "mlp", "--set", "k=3")[0] == 0
    code, out, err = optc("plan", spec, "--params", "mlp", "--set", "k=0")
    assert (code, out) == (1, "")
    assert "error[out-of-range]: `k` is 0, and `10 % k` divides by zero" in err


def test_a_tensor_in_no_group_and_a_broken_assertion_end_with_1(optc, tmp_path, small):
    spec = tmp_path / "grouped.opt"
    spec.write_text(GROUPED, encoding="utf-8")
    code, out, err = optc("plan", spec, "--params", small)
    assert (code, err) == (1, "")
    assert "\n! a tensor is in no group: scale\n" in out
    assert re.search(r"assert state_bytes < weight_bytes: holds, 152 and 180\n", out)
    spec.write_text(GROUPED.replace("vectors where ndim == 1", "rest").replace("<", "=="))
    code, out, _ = optc("plan", spec, "--params", small)
    assert code == 1
    assert out.endswith(f"DOES NOT HOLD, 152 and 180 ({spec}:5)\n")


@pytest.mark.parametrize(
    ("params", "more", "message"),
    [
        ("gpt2-124", [], "did you mean `gpt2-124m`?"),
        ("none.json", [], "cannot read none.json: No such file or directory"),
        (".", [], "without a checkpoint"),
        ("mlp", ["--dtype", "float17"], "`float17` is no dtype; did you mean `float1"),
        ("mlp", ["--set", "lr=-1"], "`lr` is -1; it must be"),
        ("mlp", ["--set", "rate=1"], "has no hyperparameter `rate`"),
    ],
)
def test_garbage_is_told_what_it_is_and_ends_with_1(optc, params, more, message):
    code, out, err = optc("plan", "adamw", "--params", params, *more)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err


def test_a_spec_with_errors_is_told_so(optc, bad):
    code, out, err = optc("plan", bad, "--params", "mlp")
    assert (code, out) == (1, "")
    assert "error[unknown-rule]" in err


def test_params_must_be_given(optc):
    assert optc("plan", "adamw")[0] == 2


def test_what_is_left_out_is_noted(optc, tmp_path):
    (tmp_path / "x.json").write_text('{"a": [2], "n": {"shape": [], "dtype": "int32"}}')
    code, out, err = optc("plan", "sgd", "--params", "x.json")
    assert (code, err) == (0, "left out 1 tensor not of floats: n\n")
    assert out.startswith("sgd for x.json: 1 tensor, 2 weights\n")
