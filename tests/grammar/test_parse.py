"""What a text means: trees, spans, and the words that are free as names."""

import ast
import threading
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark
from strategies import files, law

from optc import grammar
from optc.grammar import syntax as s
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.format import format
from optc.grammar.layout import inline
from optc.grammar.parse import parse
from optc.grammar.render import render_text
from optc.grammar.source import Source

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.opt"))


def read(text):
    report = Diagnostics()
    file = parse(Source("<string>", text), report)
    assert not len(report), render_text(report)
    return file


def item(text):
    (only,) = read(text).items
    return only


def value(text):
    return item(f"schedule f() = {text}").value


def statements(text):
    return item(f"func f() {{ {text} }}").body.statements


def bracketed(expr):
    """An expression with brackets around each operation."""
    match expr:
        case s.Binary():
            return f"({bracketed(expr.left)} {expr.op} {bracketed(expr.right)})"
        case s.Unary():
            return f"({expr.op} {bracketed(expr.operand)})"
        case _:
            return inline(expr)


def nodes(node):
    """A node and all nodes in it."""
    yield node
    for field in fields(node):
        part = getattr(node, field.name)
        for child in part if isinstance(part, tuple) else (part,):
            if isinstance(child, s.Node):
                yield from nodes(child)


def test_the_grammar_has_no_conflicts():
    """LALR conflicts and terminals that match the same text are errors in Lark's strict mode."""
    text = Path(grammar.__file__).with_name("opt.lark").read_text(encoding="utf-8")
    Lark(text, parser="lalr", start="item", keep_all_tokens=True, strict=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_parse(path):
    assert read(path.read_text(encoding="utf-8")).items


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a - b - c", "((a - b) - c)"),
        ("a + b * c", "(a + (b * c))"),
        ("a @ b * c % d / e", "((((a @ b) * c) % d) / e)"),
        ("-x^2", "(- (x ^ 2))"),
        ("2^-1", "(2 ^ (- 1))"),
        ("2^-x^2", "(2 ^ (- (x ^ 2)))"),
        ("a^b^c", "(a ^ (b ^ c))"),
        ("-a * b", "((- a) * b)"),
        ("--a", "(- (- a))"),
        ("a < b and c > d or not e == f", "(((a < b) and (c > d)) or (not (e == f)))"),
        ("not not a", "(not (not a))"),
        ('not path matches "a" + b', '(not (path matches ("a" + b)))'),
        ("a + b <-c", "((a + b) < (- c))"),
        ("g.T @ g.T^2", "(g.T @ (g.T ^ 2))"),
        ("(a + b).T", "(a + b).T"),
        ("f(x).scale", "f(x).scale"),
    ],
)
def test_operators_bind_as_on_paper(text, meaning):
    assert bracketed(value(text)) == meaning


OPERATORS = {"+": "+", "-": "-", "*": "*", "/": "/", "%": "%", "@": "@", "^": "**"}


@law
@given(st.lists(st.sampled_from(sorted(OPERATORS)), min_size=1, max_size=6), st.randoms())
def test_arithmetic_groups_as_python_does(operators, random):
    """Python's parser is the oracle: `**` for `^`, and everything else the same."""
    text = "a"
    for operator in operators:
        sign = "-" if random.random() < 0.3 else ""
        text = f"{sign}{text}" if random.random() < 0.2 else text
        text += f" {operator} {sign}b"
    python = ast.unparse(ast.parse(text.replace("^", "**")))
    ours = bracketed(value(text)).replace("^", "**")
    assert ast.unparse(ast.parse(ours)) == python


@pytest.mark.parametrize(
    ("text", "number"),
    [("10_000", 10_000), ("1e-3", 1e-3), ("0.50", 0.5), ("007", 7), ("1E+2", 100.0)],
)
def test_numbers_mean_what_they_say_and_keep_their_spelling(text, number):
    found = value(text)
    assert (found.value, found.text) == (number, text)
    assert type(found.value) is type(number)


def test_strings_have_four_escapes():
    assert value(r'"a \"b\" \\ \n \t # {"').value == 'a "b" \\ \n \t # {'


def test_a_choice_in_an_else_is_the_same_as_an_else_with_a_block():
    chained = statements("if a { } else if b { } else when c { }")
    nested = statements("if a { } else { if b { } else { when c { } } }")
    assert chained == nested


def test_shapes_bind_names():
    assert inline(value("g is []")) == "g is []"
    found = value("g is [.., rows, cols]")
    assert ([name.id for name in found.dimensions], found.leading) == (["rows", "cols"], True)


def test_an_argument_can_be_named_or_be_a_function():
    call = value("cg(d => ggn(d), g, n = 3,)")
    assert [argument.name and argument.name.id for argument in call.arguments] == [None, None, "n"]
    assert isinstance(call.arguments[0].value, s.Lambda)


def test_a_docstring_stands_before_an_item_or_opens_its_body():
    before = item('"""  Text.\n\n    More.\n"""\nfunc f() { }').doc
    inside = item('func f() { """Text.\n\n  More.""" }').doc
    assert (before.text, before.inside) == ("Text.\n\nMore.", False)
    assert (inside.text, inside.inside) == ("Text.\n\nMore.", True)


WORDS = [
    *("where", "clip", "decay", "step", "rest", "total", "min", "max", "trace", "view", "as"),
    *(
        "in",
        "with",
        "group",
        "observe",
        "request",
        "assert",
        "before",
        "after",
        "while",
        "rule",
        "use",
        "optimizer",
    ),
    *("func", "schedule", "extern", "edition", "tune", "accumulate", "guard", "drop", "insert"),
    *("replace", "from", "equals", "stochastic", "inf", "lambda", "class", "def", "T"),
    *("state", "every", "if", "return", "error"),
]
STATEMENT_WORDS = {"state", "every", "if", "return", "error"}


@pytest.mark.parametrize("word", WORDS)
def test_words_of_the_language_are_free_as_names(word):
    read(
        f"""
        rule clip {word}({word}: {word} = 1 in [0, {word}]) equals {word}.{word}({word} = {word}) {{
          x = {word} + {word}.{word} * {word}({word} = {word}, {word} => {word})
          state {word} = {word}
          return {word}
        }}
        """
    )


@pytest.mark.parametrize("word", [word for word in WORDS if word not in STATEMENT_WORDS])
def test_words_that_begin_no_statement_are_free_at_its_start(word):
    found = statements(f"{word} = w  x = {word}  {word} <- x\n{word} = {word} == w")
    assert [type(statement) for statement in found] == [s.Let, s.Let, s.Update, s.Let]


@settings(law, max_examples=20)
@given(files())
def test_a_span_covers_exactly_the_text_of_its_node(file):
    """Expressions, names and statements can be cut out by their spans and read alone."""
    parsed = read(format(file))
    for node in (node for item in parsed.items for node in nodes(item)):
        text = node.span.text
        assert text == text.strip()
        match node:
            case s.Name():
                assert text == node.id
            case s.Number() | s.String() | s.Unary() | s.Binary() | s.Call() | s.IsShape():
                assert value(text) == node
            case s.Let() | s.Update() | s.State() | s.Var() | s.If() | s.When() | s.Repeat():
                assert statements(text) == (node,)


def test_threads_do_not_see_each_other():
    found = {}

    def work(number):
        texts = [f"func f{number}(x) {{ return x + {each} }}" for each in range(30)]
        found[number] = [item(text).span.text == text for text in texts]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(all(results) for results in found.values())
    assert len(found) == 4
