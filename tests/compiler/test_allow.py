"""`# allow: CODE` silences warnings where it stands, and says so where it silences nothing."""

import pytest

from optc.compiler.check import check
from optc.compiler.driver import compile_spec
from optc.compiler.locate import Located
from optc.grammar.source import Source

SPEC = """\
optimizer averaged(lr = 0.1 in [0, inf)) {{
  tune step lr{tune}
{above}  decay weights({open}1e-4{close}){decay}
  average schedule_free()
}}
"""


def codes(text):
    return [finding.code for finding in check(Located(Source("a.opt", text))).sorted()]


def spec(**parts):
    return SPEC.format(
        **{**dict.fromkeys(("tune", "above", "open", "close", "decay"), ""), **parts}
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"decay": "  # allow: lost-stage"},
        {"decay": "  #allow:lost-stage"},
        {"decay": "  # allow: lost-stage  as the paper has it"},
        {"above": "  # allow: lost-stage\n"},
        {"above": "  # allow: lost-stage\n  # and why\n\n"},
        {"open": "  # allow: lost-stage\n    ", "close": ",\n  "},
    ],
)
def test_a_warning_is_silent_on_the_line_of_its_allow_or_below_it(parts):
    assert codes(spec()) == ["lost-stage"]
    assert codes(spec(**parts)) == []


def test_a_line_goes_on_while_its_brackets_are_open():
    text = spec(above="  # allow: bad-range\n", open="\n    ", close=",\n  ")
    inside = text.replace("weights(\n", "weights(  # allow: lost-stage ) ]\n")
    assert codes(inside.replace("  # allow: bad-range\n", "")) == []
    # The warning is on the first line; an `allow` on the last holds for the last.
    last = text.replace("  # allow: bad-range\n", "").replace("\n  )", "\n  )  # allow: lost-stage")
    assert codes(last) == ["lost-stage", "unused-allow"]


def test_an_allow_of_another_line_or_code_silences_nothing():
    assert codes(spec(tune="  # allow: lost-stage")) == ["unused-allow", "lost-stage"]
    assert codes(spec(decay="  # allow: empty-group")) == ["lost-stage", "unused-allow"]


def test_errors_cannot_be_allowed():
    text = spec(decay="  # allow: unknown-name").replace("1e-4", "rate")
    assert "unknown-name" in codes(text)
    text = spec(decay="  # allow: unknown-name, lost-stage")
    assert codes(text) == ["unused-allow"]


def test_after_an_error_no_allow_is_called_unused():
    found = codes(spec(tune=" * rate", decay="  # allow: empty-group"))
    assert found == ["unknown-name", "lost-stage"]


def test_comments_in_strings_and_docstrings_allow_nothing():
    text = '"""\n# allow: lost-stage\n"""\n' + spec()
    assert codes(text) == ["lost-stage"]


def test_compiling_is_as_silent_as_checking():
    allowed = Located(Source("a.opt", spec(decay="  # allow: lost-stage")))
    assert compile_spec(allowed).diagnostics == ()


def test_a_used_file_allows_for_itself(tmp_path):
    (tmp_path / "own.opt").write_text(
        spec(decay="  # allow: lost-stage, empty-group").replace("averaged", "base")
    )
    text = 'use "own.opt"\noptimizer mine from base {\n  replace tune with 0.2\n}\n'
    source = Source(str(tmp_path / "mine.opt"), text)
    assert list(check(Located(source, folder=tmp_path))) == []
