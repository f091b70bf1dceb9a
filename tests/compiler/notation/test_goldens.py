"""Whole boxes, to be looked at when notation changes: `pytest --update-goldens`."""

from pathlib import Path

import pytest
from boxes import box_of

from optc.compiler.notation.html import html
from optc.compiler.notation.latex import latex
from optc.compiler.notation.markdown import markdown
from optc.compiler.notation.text import text

GOLDEN = Path(__file__).parents[2] / "golden" / "boxes"
FORMATS = {"txt": text, "tex": latex, "md": markdown, "html": html}
CASES = [("adamw", kind) for kind in FORMATS] + [
    (name, "txt") for name in ("fsam", "mup_adamw", "sign_sgd_vote", "schedule_free_sgd", "sm3")
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_box_is_the_golden_one(name, kind, update_goldens):
    path, shown = GOLDEN / f"{name}.{kind}", FORMATS[kind](box_of(name))
    if update_goldens:
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
