"""Offsets, lines and columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from optc.grammar.source import Source, Span


@law
@given(st.text(alphabet="ab\n\r\té漢", max_size=30), st.integers(0, 30))
def test_a_position_counts_the_line_breaks_before_it(text, offset):
    offset = min(offset, len(text))
    before = text[:offset]
    line, column = Source("<string>", text).position(offset)
    assert line == before.count("\n") + 1
    assert column == len(before) - (before.rfind("\n") + 1) + 1


@law
@given(st.text(alphabet="ab\n\r", max_size=30))
def test_lines_are_those_of_split(text):
    source = Source("<string>", text)
    lines = [source.line(number + 1) for number in range(text.count("\n") + 1)]
    assert lines == [line.rstrip("\r") for line in text.split("\n")]


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_may_end_with_or_without_a_line_break(number):
    assert Source("<string>", "one\none").line(number) == "one"
    assert Source("<string>", "one\none\n").line(number) == "one"


def test_a_span_knows_its_text_and_place():
    source = Source("a.opt", "edition 1\nuse x")
    span = Span(source, 14, 15)
    assert (span.text, span.line, span.column, span.place) == ("x", 2, 5, "a.opt:2")
    assert Span(source, 10, 13).to(span).text == "use x"


def test_equal_texts_are_different_sources():
    assert Source("a.opt", "") != Source("a.opt", "")


def test_a_list_over_several_lines_is_said_in_one():
    text = 'scaled(\n  a,  # why, (so)\n  "# ,) (",\n) *  other'
    assert Span(Source("<string>", text), 0, len(text)).in_one_line == 'scaled(a, "# ,) (") * other'
