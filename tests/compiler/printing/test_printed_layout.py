"""Laying out Python text: a formatter agrees with every choice, whatever the pieces are."""

import ast
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optc.compiler.printing.layout import (
    WIDTH,
    Labelled,
    call,
    comment,
    docstring,
    flat,
    lines,
    mapping,
    signature,
    tuple_of,
)
from optc.compiler.quoting import quoted, worded

words = st.sampled_from(("a", "gradient", "one_minus_b1_to_t", "1.0", "x + y"))
pieces = st.recursive(
    words,
    lambda inner: st.one_of(
        st.builds(lambda xs: call("rt.function", *xs), st.lists(inner, max_size=4)),
        st.builds(tuple_of, st.lists(inner, min_size=1, max_size=4)),
        st.builds(
            lambda xs: mapping([(f"key_{i}", x) for i, x in enumerate(xs)]),
            st.lists(inner, max_size=3),
        ),
    ),
    max_leaves=12,
)


def parsed(text):
    return ast.dump(ast.parse(text))


@given(pieces)
def test_lines_say_what_the_flat_text_says(piece):
    assert parsed("\n".join(lines(piece, 0, "x = "))) == parsed(f"x = {flat(piece)}")


@given(pieces)
def test_only_what_cannot_be_exploded_is_too_long(piece):
    for row in lines(piece, 1, "result = "):
        assert len(row) <= WIDTH or not any(c in row for c in "([{")


@settings(derandomize=True)
@given(st.data())
def test_a_formatter_changes_nothing(data):
    made = [data.draw(pieces) for _ in range(3)]
    text = "\n".join(row for piece in made for row in lines(piece, 0, "name = ")) + "\n"
    texts.append(text)


texts: list[str] = []


def test_a_formatter_changes_none_of_them():
    # One run of the formatter for all texts of the test above.
    text = "".join(texts)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert done.stdout == text


@given(st.text(max_size=40))
def test_a_quoted_text_is_itself_on_one_line(text):
    literal = quoted(text)
    assert "\n" not in literal
    assert literal.startswith('"')
    assert ast.literal_eval(literal) == text


@given(st.text(max_size=60))
def test_a_comment_stays_on_one_line(text):
    assert len(comment(text).splitlines()) == 1
    ast.parse(comment(text))


@given(st.text(alphabet=st.sampled_from('a "\\\n\u2028é'), max_size=30))
def test_a_docstring_is_one_string_whatever_it_holds(text):
    body = ast.parse("\n".join(docstring(f"Says {text}"))).body
    assert len(body) == 1
    assert ast.get_docstring(ast.parse("\n".join(docstring(f"Says {text}")))).startswith("Says")


def test_a_signature_explodes_where_it_must():
    assert signature("f", ["a", "b"]) == ["def f(a, b):"]
    long = signature("kernel", [f"parameter_{i}" for i in range(9)])
    assert long[0] == "def kernel("
    assert long[-1] == "):"


def test_labels_stay_with_what_they_label():
    piece = call("f", Labelled("slots=", mapping([("a" * 40, "x"), ("b" * 40, "y")])))
    assert lines(piece, 0)[1] == "    slots={"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("ndim >= 2", '"ndim >= 2"'),
        ('path == "a"', "'path == \"a\"'"),
        ("it's", '"it\'s"'),
        ('"it\'s"', "'\"it\\'s\"'"),
        ('a\\"b', "'a\\\\\"b'"),
    ],
)
def test_words_of_a_spec_are_quoted_as_a_formatter_would(text, printed):
    assert worded(text) == printed
    assert eval(printed) == text
