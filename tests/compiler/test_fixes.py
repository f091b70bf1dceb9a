"""Fixes are made where they can only be meant, in the spec's own text, and once."""

from pathlib import Path

import pytest

from optc.compiler.check import check
from optc.compiler.fixes import fixed
from optc.compiler.locate import Located
from optc.grammar.source import Source

BAD = [
    path
    for path in sorted((Path(__file__).parents[1] / "bad").glob("*.opt"))
    if path.stem != "program-too-large"  # it takes seconds, and has nothing to fix
]

PLAIN = """\
# A note on top.
optimizer plain(
  lr = 0.1 in [0, inf){comma}  # the rate
  beta = 0.9 in [0, 1),
) {{
  precondition kept(beta)
  tune step    lr{end}
}}

rule precondition kept(beta = 0.9 in [0, 1)) {{
  state trace = zeros(g)
  trace <- beta * trace + g
  if norm(g) {equal} 1 and t > 3 {{  # a comment
    trace <- 2 {times} trace
  }}
  return trace
}}
"""

GOOD = PLAIN.format(comma=",", end="", equal="==", times="*")


def fix(text):
    result = fixed(Located(Source("a.opt", text)))
    return result.source.text, result.count


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ({"equal": "="}, 1),
        ({"times": "×"}, 1),
        ({"comma": ";", "end": ";", "equal": "=", "times": "×"}, 4),
    ],
)
def test_slips_are_put_right_and_comments_stay(parts, count):
    given = {"comma": ",", "end": "", "equal": "==", "times": "*"}
    assert fix(PLAIN.format(**given | parts)) == (GOOD, count)


def test_fixing_twice_changes_nothing_more():
    text = PLAIN.format(comma=";", end=";", equal="=", times="×").replace("lr;", "lr; # allow: x")
    once, _ = fix(text)
    assert fix(once) == (once, 0)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("precondition kept(beta)\n", "precondition kpet(beta)\n"),
        GOOD.replace("1 and", "1 // 2 and"),
    ],
)
def test_guesses_are_left_to_people(text):
    source = Source("a.opt", text)
    assert any(finding.fix for finding in check(Located(source)))
    assert fix(text) == (text, 0)


def test_windows_line_ends_stay():
    text = PLAIN.format(comma=",", end="", equal="=", times="*").replace("\n", "\r\n")
    assert fix(text) == (GOOD.replace("\n", "\r\n"), 1)


def test_an_unused_allow_goes_with_its_line_or_its_space():
    text = GOOD.replace(
        "  tune step    lr", "  # allow: lost-stage\n  tune step    lr  # allow: lost-stage"
    )
    assert fix(text)[0] == GOOD
    unneeded = GOOD.replace(
        "  tune step    lr", "  tune step    lr  # allow: lost-stage, empty-group"
    )
    assert fix(unneeded)[0] == GOOD


def test_a_code_that_is_no_warning_stays_in_its_allow():
    mixed = "  tune step    lr  # allow: lost-stage, nosuch, out-of-range, empty-group"
    text, count = fix(GOOD.replace("  tune step    lr", mixed))
    assert (count, "lr  # allow: nosuch, out-of-range\n" in text) == (2, True)


@pytest.mark.parametrize("codes", ["empty-group, lost-stage", "lost-stage, empty-group"])
def test_the_needed_code_of_an_allow_stays(codes):
    spec = "optimizer a(lr = 0.1) {\n  tune step lr\n  decay weights(0.1)  # allow: %s  since\n"
    spec += "  average schedule_free()\n}\n"
    assert fix(spec % codes) == (spec % "lost-stage", 1)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_fixing_any_bad_spec_twice_changes_nothing_more(path):
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    once = fixed(Located(Source(path.name, text), folder=path.parent))
    assert (once.count == 0) == (once.source.text == text)
    if once.count:
        twice = fixed(Located(once.source, folder=path.parent))
        assert (twice.source.text, twice.count) == (once.source.text, 0)
