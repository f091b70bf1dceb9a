import re
import subprocess
import sys
from pathlib import Path

import pytest

from optc.compiler import library
from optc.grammar.diagnostic import RULES

ROOT = Path(__file__).parents[2]


def test_explaining_knows_what_any_module_declares():
    folders = ("grammar", "compiler", "api", "cli")
    texts = (path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    declared = {code for text in texts for code in re.findall(r'declare\(\s*"([a-z-]+)"', text)}
    known = (
        "from optc.cli.boxes import RULES, report_on; report_on('unknown-rule', '/dev/null')\n"
        "print(*sorted(RULES))"
    )
    done = subprocess.run([sys.executable, "-c", known], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == declared


def test_every_diagnostic_is_explained(optc):
    optc("explain", "unknown-rule")  # imports what declares the rules
    for rule in RULES.values():
        code, out, _ = optc("explain", rule.code)
        assert code == 0
        assert out.startswith(f"{rule.severity.value}[{rule.code}]: {rule.summary}\n")
        assert rule.explanation in out


def test_an_unknown_code_proposes_the_nearest(optc):
    code, out, err = optc("explain", "unknown-rul")
    assert (code, out) == (1, "")
    assert err == (
        "error: `unknown-rul` is neither a diagnostic, a file that ends in .opt nor an optimizer "
        "of the library; did you mean `unknown-rule`?\n"
    )


def test_a_spec_is_shown_as_an_algorithm_box(optc, good):
    code, out, err = optc("explain", good)
    assert (code, err) == (0, "")
    assert out.startswith("plain\n\ngiven\n    η  = 0.1  in (0, 10)  lr\n")
    assert "3 | tune step lr\n    θₜ ← θₜ₋₁ − η g\n" in out
    assert "4 | observe norm(g) as grad_norm\n    report grad_norm = ‖g‖\n" in out


def test_settings_are_other_defaults(optc, good):
    assert "η  = 3×10⁻⁴  in (0, 10)  lr" in optc("explain", good, "--set", "lr=3e-4").out
    code, out, err = optc("explain", good, "--set", "lr=20")
    assert (code, out) == (1, "")
    assert "error[out-of-range]" in err


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ([], "adamw: Adam with decoupled weight decay (arXiv:1711.05101)\n"),
        (["--format", "latex"], "% Needs \\usepackage{amsmath, amssymb}.\n"),
        (["--format", "latex", "--standalone"], "\\documentclass{article}\n"),
        (["--format", "markdown"], "### `adamw`\n"),
        (["--format", "html"], "<!DOCTYPE html>\n"),
    ],
)
def test_a_box_has_four_formats(optc, options, begins):
    code, out, err = optc("explain", "adamw", *options)
    assert (code, err) == (0, "")
    assert out.startswith(begins)


def test_a_box_may_go_to_a_file(optc, tmp_path):
    assert optc("explain", "adamw", "-o", "adamw.txt") == (0, "", "")
    assert "θₜ ← θₜ₋₁ − η u₂" in (tmp_path / "adamw.txt").read_text(encoding="utf-8")


def test_what_is_executed_may_differ_from_what_was_written(optc):
    written, executed = optc("explain", "adamw").out, optc("explain", "adamw", "--executed").out
    assert "m̂ₜ ← mₜ / (1 − β₁ᵗ)" in written
    assert "scaled_eps ← ε √(1 − β₂ᵗ)" in executed
    assert "m̂ₜ" not in executed


@pytest.mark.parametrize("what", ["schedule_free_sdg", "no/such.opt", "nothing like it", ""])
def test_what_is_nothing_is_refused(optc, what):
    code, out, err = optc("explain", what)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert ("did you mean `schedule_free_sgd`" in err) == (what == "schedule_free_sdg")


def test_a_spec_with_mistakes_has_no_box(optc, bad):
    code, out, err = optc("explain", bad)
    assert (code, out) == (1, "")
    assert "error[unknown-rule]" in err


def test_no_optimizer_is_called_as_a_diagnostic_is():
    assert not set(RULES) & set(library.names("optimizer"))
