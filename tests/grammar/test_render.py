"""The text and the JSON of diagnostics."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from optc.grammar.diagnostic import Fix, Label, Rule, Severity
from optc.grammar.render import MAX_WIDTH, render_json, render_text, summary
from optc.grammar.source import Source, Span

MISTAKE = Rule("some-mistake", "", "", Severity.ERROR)
DOUBT = Rule("some-doubt", "", "", Severity.WARNING)


def at(text, source, start=0):
    """The span of the first occurrence of a text."""
    offset = source.text.index(text, start)
    return Span(source, offset, offset + len(text))


def shown(*diagnostics):
    return render_text(diagnostics)


def test_the_layout_is_the_one_of_the_style_guide():
    source = Source("adamw.opt", "\n" * 4 + "  clip         globl_norm(1.0)\n")
    finding = MISTAKE.at(
        at("globl_norm", source),
        "no clip rule is named `globl_norm`",
        label="not a rule",
        help="did you mean `global_norm`?",
    )
    assert shown(finding) == "\n".join(
        (
            "error[some-mistake]: no clip rule is named `globl_norm`",
            "  --> adamw.opt:5:16",
            "   |",
            " 5 |   clip         globl_norm(1.0)",
            "   |                ^^^^^^^^^^ not a rule",
            "   = help: did you mean `global_norm`?",
        )
    )


def test_other_labels_are_underlined_in_the_order_of_their_lines():
    source = Source("a.opt", "one = 1\ntwo = 2\n\nthree = one + two\n")
    finding = MISTAKE.at(
        at("one", source, 10),
        "twice",
        label="here",
        others=(Label(at("two", source, 20), "beside"), Label(at("one", source), "declared here")),
    )
    assert shown(finding) == "\n".join(
        (
            "error[some-mistake]: twice",
            "  --> a.opt:4:9",
            "   |",
            " 1 | one = 1",
            "   | --- declared here",
            "...",
            " 4 | three = one + two",
            "   |         ^^^ here",
            "   |               --- beside",
        )
    )


def test_a_label_in_another_file_has_an_excerpt_of_its_own():
    source, other = Source("a.opt", "x = y\n"), Source("b.opt", "\n" * 10 + "y = 1\n")
    finding = DOUBT.at(at("y", source), "odd", others=(Label(at("y", other), "declared here"),))
    assert shown(finding) == "\n".join(
        (
            "warning[some-doubt]: odd",
            "   --> a.opt:1:5",
            "    |",
            "  1 | x = y",
            "    |     ^",
            "   ::: b.opt:11:1",
            "    |",
            " 11 | y = 1",
            "    | - declared here",
        )
    )


def test_a_span_of_several_lines_shows_its_first_and_last():
    source = Source("a.opt", "rule f() {\n  a\n  b\n}\n")
    finding = MISTAKE.at(Span(source, 0, source.text.index("}") + 1), "long", label="all of it")
    assert shown(finding).split("\n")[3:] == [
        " 1 | rule f() {",
        "   | ^^^^^^^^^^",
        "...",
        " 4 | }",
        "   | ^ all of it",
    ]


@pytest.mark.parametrize(
    ("line", "mark", "shown_line", "underline"),
    [
        ("\tx = y", "y", "    x = y", "        ^"),
        ("漢字 = y", "y", "漢字 = y", "       ^"),
        ("x = 漢字", "漢字", "x = 漢字", "    ^^^^"),
        ("e\u0301 = y", "y", "e\u0301 = y", "    ^"),
        ("\x1b[31m = y", "y", "\\x1b[31m = y", "           ^"),
        ("\u202e = y", "y", "\\u202e = y", "         ^"),
        ("\ud800 = y", "y", "\\ud800 = y", "         ^"),
    ],
)
def test_underlines_stand_under_what_is_seen(line, mark, shown_line, underline):
    source = Source("a.opt", line)
    text = shown(MISTAKE.at(at(mark, source), "here")).split("\n")
    assert text[3:] == [f" 1 | {shown_line}", f"   | {underline}"]


def test_an_empty_span_gets_one_mark():
    source = Source("a.opt", "x")
    assert shown(MISTAKE.at(Span(source, 1, 1), "end")).endswith(" 1 | x\n   |  ^")


def test_a_very_long_line_is_cut_around_the_span():
    source = Source("a.opt", "a" * 1_000_000 + " here " + "b" * 1_000_000)
    line, marks = shown(MISTAKE.at(at("here", source), "long")).split("\n")[3:]
    assert len(line) < MAX_WIDTH + 20
    assert line.index("here") == marks.index("^^^^")
    assert line.startswith(" 1 | ...a")
    assert line.endswith("b...")


def test_a_span_longer_than_the_cut_line_is_underlined_to_its_end():
    source = Source("a.opt", "a" * 1000)
    line, marks = shown(MISTAKE.at(Span(source, 100, 900), "long")).split("\n")[3:]
    assert len(marks) <= len(line)


def test_color_changes_nothing_but_colors():
    source = Source("a.opt", "x = y\n")
    finding = MISTAKE.at(at("y", source), "odd", label="this", help="look\nagain")
    colored = render_text([finding], color=True)
    assert "\x1b[1;31m" in colored
    plain = colored
    for code in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == render_text([finding])


@law
@given(st.text(max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_any_text_and_span_can_be_shown(text, start, end):
    source = Source("a.opt", text)
    start, end = sorted((min(start, len(text)), min(end, len(text))))
    finding = MISTAKE.at(Span(source, start, end), "m", others=(Label(Span(source, 0, end), "l"),))
    assert all(line.isprintable() for line in render_text([finding]).split("\n"))
    json.loads(render_json([finding]))


def test_nothing_is_shown_for_nothing():
    assert render_text([]) == ""
    assert summary([]) == ""


def test_the_summary_counts_by_severity():
    span = Span(Source("a.opt", ""), 0, 0)
    assert summary([MISTAKE.at(span, "a")]) == "1 error"
    findings = [DOUBT.at(span, "a"), MISTAKE.at(span, "b"), MISTAKE.at(span, "c")]
    assert summary(findings) == "2 errors, 1 warning"


def test_the_json_holds_all_that_a_diagnostic_does():
    source = Source("a.opt", "x\ny = z\n")
    z = at("z", source)
    finding = MISTAKE.at(
        z, "m", label="l", others=(Label(at("x", source), "o"),), help="h", fix=Fix(z, "x")
    )
    place = {
        "file": "a.opt",
        "span": {
            "start": {"line": 2, "column": 5, "offset": 6},
            "end": {"line": 2, "column": 6, "offset": 7},
        },
    }
    other = {
        "file": "a.opt",
        "span": {
            "start": {"line": 1, "column": 1, "offset": 0},
            "end": {"line": 1, "column": 2, "offset": 1},
        },
    }
    assert json.loads(render_json([finding])) == {
        "version": 1,
        "diagnostics": [
            {
                "code": "some-mistake",
                "severity": "error",
                "message": "m",
                **place,
                "label": "l",
                "others": [{**other, "label": "o"}],
                "help": "h",
                "fix": {**place, "replacement": "x", "safe": False},
            }
        ],
    }
