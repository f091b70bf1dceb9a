import re
import subprocess
import sys
from pathlib import Path

from optc.grammar.diagnostic import RULES

ROOT = Path(__file__).parents[2]


def test_explaining_knows_what_any_module_declares():
    folders = ("grammar", "compiler", "api", "cli")
    texts = (path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    declared = {code for text in texts for code in re.findall(r'declare\(\s*"([a-z-]+)"', text)}
    known = "import optc.cli.explain as explain; print(*sorted(explain.RULES))"
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
