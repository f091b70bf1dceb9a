"""The driver: settings, what is chosen, what a summary says."""

import pytest
from agreement import located, mistakes

from optc.compiler import library
from optc.compiler.driver import compile_spec
from optc.compiler.locate import find
from optc.grammar.diagnostic import SpecError

TEXT = """
optimizer one(
  # allow: recompiling-int
  lr = 0.1 in (0, 1), b = lr / 10, n: int = 3 in [1, 9], flag: bool = true, mode: str = "a"
) {
  precondition momentum(b)
  tune step lr * n * where(flag, 1, 2) * where(mode == "a", 1, 2)
}
"""


def test_settings_are_other_defaults():
    compiled = compile_spec(located(TEXT), {"lr": 1e-2, "n": 4, "flag": False, "mode": "b"})
    defaults = {h.name: h.default for h in compiled.graph.hyperparameters}
    assert (defaults["lr"], defaults["n"], defaults["flag"], defaults["mode"]) == (
        0.01,
        4,
        False,
        "b",
    )
    assert "default=0.01" in compiled.source


def test_a_default_that_is_set_is_no_longer_derived():
    compiled = compile_spec(located(TEXT), {"b": 0.5})
    assert 'default=lambda h: h["lr"] / 10' in compile_spec(located(TEXT)).source
    assert "lambda" not in compiled.source


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("lr", 2.0, "out-of-range"),
        ("lr", 0, "out-of-range"),
        ("lr", True, "out-of-range"),
        ("lr", "x", "out-of-range"),
        ("lr", float("nan"), "out-of-range"),
        ("n", 2.5, "out-of-range"),
        ("n", 10, "out-of-range"),
        ("flag", 1, "out-of-range"),
        ("mode", 1, "out-of-range"),
        ("rate", 1, "unknown-setting"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(name, value, code):
    with pytest.raises(SpecError) as caught:
        compile_spec(located(TEXT), {name: value})
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_a_setting_outside_the_range_of_a_rule_that_takes_it_is_refused():
    with pytest.raises(SpecError, match=r"must be in \[0, 1\)"):
        compile_spec(find("sam"), {"momentum": 1.5})


def test_all_mistakes_of_a_file_come_at_once():
    text = """
    rule clip a() { return unknown }
    rule precondition b() { return norm(g) }
    schedule c(x) = x + y
    optimizer one() { clip a()  clip nothing() }
    optimizer other() { precondition b()  tune step 1 }
    optimizer two(x = 2 in [0, 1]) { tune step x  tune step 1 }
    """
    codes = {m.split(":")[0] for m in mistakes(text)}
    assert {"unknown-name", "unknown-rule", "wrong-return", "no-step", "two-steps"} <= codes
    assert "out-of-range" in codes


@pytest.mark.parametrize(
    ("name", "oracles", "state_bytes"),
    [
        ("sgd", {"loss": 1, "grad": 1}, (0, 0)),
        ("adamw", {"loss": 1, "grad": 1}, (8, 8)),
        ("sam", {"loss": 1, "grad": 2}, (4, 4)),
        ("cdat_gd", {"loss": 1, "grad": 1, "curvature": 1}, (0, 0)),
        ("fsam", {"loss": 1, "grad": 1, "outputs_grad": 1, "pullback": 1, "hvp": 8}, (8, 8)),
        ("adafactor", {"loss": 1, "grad": 1}, (0, 4)),
        ("sm3", {"loss": 1, "grad": 1}, (4, 8)),
    ],
)
def test_a_summary_counts_oracles_and_state(name, oracles, state_bytes):
    summary = compile_spec(find(name)).summary
    assert summary.oracles == oracles
    assert summary.state_bytes_per_weight == state_bytes


def test_a_narrow_state_counts_for_what_it_is():
    text = """
    rule precondition own() { state m: bf16 = zeros(g)  m <- m + g  return m }
    optimizer one() { precondition own()  tune step 0.1 }
    """
    assert compile_spec(located(text)).summary.state_bytes_per_weight == (2, 2)


def test_a_weight_has_the_state_of_its_own_group_alone():
    text = """
    optimizer one() {
      group hidden where ndim >= 2 and not path matches "embed" {
        precondition adam()
        tune step 0.1
      }
      group rest { precondition adam()  tune step 0.1 }
      average ema_from_start(0.9)
    }
    """
    assert compile_spec(located(text)).summary.state_bytes_per_weight == (12, 12)


def test_everything_in_the_library_has_a_documentation_and_no_mistake():
    for entry in library.entries():
        assert entry.doc, f"{entry.kind} {entry.name}"
        assert mistakes(entry.text) == []


def test_a_range_may_be_open_on_both_ends():
    spec = "optimizer free(lr = -0.1 in (-inf, inf), top = 1 in (-inf, 2]) { tune step -lr * top }"
    program = compile_spec(located(spec))
    free, top = program.graph.hyperparameters
    assert (free.low, free.high, top.low, top.high) == (None, None, None, 2)
