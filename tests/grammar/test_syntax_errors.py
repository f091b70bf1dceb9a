"""Whatever the text is: no exception, bounded work, and the mistakes that are in it."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from optc.grammar.bounds import MAX_CHARACTERS, MAX_DEPTH
from optc.grammar.diagnostic import MAX_DIAGNOSTICS, Diagnostics
from optc.grammar.format import format
from optc.grammar.parse import parse
from optc.grammar.render import render_text
from optc.grammar.source import Source

EXAMPLES = [
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*.opt"))
]
PIECES = sorted({word for text in EXAMPLES for word in text.split()})


def mistakes(text):
    """The findings in a text, after a look at what must hold for every text."""
    report = Diagnostics()
    source = Source("<string>", text)
    file = parse(source, report)
    for finding in report:
        assert 0 <= finding.span.start <= finding.span.end <= len(text)
        assert finding.span.source is source
    render_text(report)
    again = Diagnostics()
    assert parse(Source("<string>", format(file)), again).items == file.items
    return report.sorted()


def codes(text):
    return [finding.code for finding in mistakes(text)]


@law
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_raises(text):
    mistakes(text)


@law
@given(st.lists(st.sampled_from([*PIECES, "{", "}", "(", ")", '"', '"""', "\n"]), max_size=60))
def test_no_row_of_words_raises(words):
    mistakes(" ".join(words))


@law
@given(st.sampled_from(EXAMPLES), st.data())
def test_no_damage_to_a_spec_raises(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    put = data.draw(st.text(max_size=5) | st.sampled_from(PIECES))
    mistakes(text[:start] + put + text[end:])


@law
@given(st.sampled_from(EXAMPLES), st.data())
def test_a_missing_character_leaves_the_other_items_alone(text, data):
    """Damage to one item is reported there and in no item that begins after it at column one."""
    offset = data.draw(st.integers(0, len(text) - 1))
    following = text.find("\nrule ", offset)
    broken = text[:offset] + text[offset + 1 :]
    quotes = '"' in text[offset]
    for finding in mistakes(broken):
        assert quotes or following < 0 or finding.span.start <= following


@pytest.mark.parametrize(
    "text",
    [
        "(" * 30_000,
        "func f() { return " + "(" * 5000 + ")" * 5000 + " }",
        "func f() { return " + "-" * 20_000 + "x }",
        "func f() { return " + "not " * 20_000 + "x }",
        "func f() { return " + "x + " * 20_000 + "x }",
        "func f() { return " + "x^" * 20_000 + "x }",
        "func f() { return x" + ".x" * 20_000 + " }",
        "func f() { " + "if a { } else " * 10_000 + "{ } }",
        "func f() { " + "if a { " * 5000 + "}" * 5000 + " }",
        "func f() { return " + "f(" * 5000 + ")" * 5000 + " }",
        "func f() { return " + "g(d => " * 5000 + "d" + ")" * 5000 + " }",
    ],
    ids=lambda text: text[10:30],
)
def test_depth_is_bounded(text):
    assert "nested-too-deeply" in codes(text)


def test_what_is_not_too_deep_is_read():
    depth = MAX_DEPTH - 10
    assert codes("func f(x) { return " + "x + " * depth + "x }") == []
    assert codes("func f(x) { return " + "(" * 90 + "x" + ")" * 90 + " }") == []


def test_a_file_of_more_than_a_mebibyte_is_refused_unread():
    assert codes("#" * (MAX_CHARACTERS + 1)) == ["file-too-large"]
    assert codes("#" * MAX_CHARACTERS) == []


@pytest.mark.parametrize(
    "text",
    [
        ";" * 60_000,
        "\x00" * 60_000,
        '"' * 60_000,
        "}" * 60_000,
        "{" * 60_000,
        "{}" * 30_000,
        'use "" ' * 9_000,
        "rule " * 12_000,
        "x = " * 15_000,
        "func f() { " + "x = = 3\n" * 8_000 + "}",
        "func f() { x = 1 }\n" * 3_000 + "}",
        "func f() { x = }\n" * 3_000,
        "# " * 30_000 + "\n" + '"""' * 3_001,
        "rule clip f() {\n" * 4_000,
    ],
    ids=lambda text: text[:20].replace("\x00", "NUL"),
)
def test_hostile_texts_take_time_in_proportion_to_their_length(text):
    """60 kB in a fraction of what anything quadratic, or worse, would take."""
    start = time.process_time()
    report = Diagnostics()
    parse(Source("<string>", text), report)
    assert len(report) <= MAX_DIAGNOSTICS
    assert time.process_time() - start < 10


def test_all_mistakes_of_a_file_are_found():
    found = mistakes(
        """
        rule clip one() {
          x = 2x
          y = (g
          if y = 1 { z = 1 }
          z += 1
          return max(x y)
        }
        optimizer two() {
          tune lr
          observe norm(g)
        }
        rule three() { return g }
        func four() { return "a }
        """
    )
    assert [finding.span.text for finding in found] == (
        ["2x", "(", "=", "+=", "y", "tune", "}", "three", '"a']
    )


def test_items_without_mistakes_are_in_the_file():
    report = Diagnostics()
    source = Source("<string>", "func f() { return }\nfunc g(x) { return x }\nuse 3\nuse 'a'")
    assert [item.name.id for item in parse(source, report).items] == ["g"]


def test_a_file_without_items_is_a_file():
    for text in ("", "\n", "# only this", "\r\n# and this\r\n"):
        assert codes(text) == []
