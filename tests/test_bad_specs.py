"""Every kind of mistake has a bad spec in `tests/bad`, and its exact rendered text beside it.

`<code>.opt`, `<code>-2.opt`, ... show a mistake of `<code>`; `pytest --update-goldens` writes the
`.txt` files, which are then reviewed as a diff.
"""

import re
from pathlib import Path

import pytest

from optc.compiler.check import check
from optc.compiler.locate import Located
from optc.grammar.diagnostic import RULES
from optc.grammar.render import render_text, summary
from optc.grammar.source import Source

BAD = Path(__file__).parent / "bad"
SPECS = sorted(BAD.glob("*.opt"))


def diagnose(path):
    """What a person is shown for a spec."""
    # Line ends are part of what some of these specs get wrong.
    with path.open(encoding="utf-8", newline="") as file:
        source = Source(path.name, file.read())
    diagnostics = check(Located(source, folder=BAD)).sorted()
    return f"{render_text(diagnostics)}\n\n{summary(diagnostics)}\n"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_bad_spec_gets_its_text(path, update_goldens):
    golden = path.with_suffix(".txt")
    text = diagnose(path)
    if update_goldens:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_bad_spec_shows_the_mistake_that_it_is_named_for(path):
    code = re.sub(r"-\d+$", "", path.stem)
    assert code in RULES
    text = path.with_suffix(".txt").read_text(encoding="utf-8")
    assert re.search(rf"^(error|warning)\[{code}\]", text, re.MULTILINE)
