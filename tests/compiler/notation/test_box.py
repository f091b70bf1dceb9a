"""A box has all of its graph, and no symbol stands for two values."""

from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from boxes import OPTIMIZERS, box_from, box_of, graph_of

from optc.compiler.graphs import lowered_graph, optimised
from optc.compiler.locate import find
from optc.compiler.notation.box import Assign, If, Let, Repeat, Report, parts, statements
from optc.compiler.notation.build import build
from optc.compiler.notation.html import html
from optc.compiler.notation.latex import latex
from optc.compiler.notation.markdown import markdown
from optc.compiler.notation.plain import TextWriter
from optc.compiler.notation.text import columns, text
from optc.compiler.notation.tree import Symbol


def given(box):
    """Every symbol that gets a value, with how often; a choice or loop gives one several times."""
    every = (*statements(box.step), *statements(box.evaluation))
    counts = Counter(t for each in every if isinstance(each, Assign) for t in each.targets)
    counts.update(s for each in every if isinstance(each, Let) for s, _ in each.constants)
    counts.update(each.symbol for each in (*box.inputs, *box.states))
    return counts


def again(box):
    """The symbols that a choice or a loop may give a value more than once."""
    every = (*statements(box.step), *statements(box.evaluation))
    bodies = [b for e in every if isinstance(e, If) for b in (e.then, e.otherwise)]
    bodies += [e.body for e in every if isinstance(e, Repeat)]
    found = (each for body in bodies for each in statements(body))
    return {target for each in found if isinstance(each, Assign) for target in each.targets}


def complete(box, graph):
    """That a box has every hyperparameter, slot, stage and observation of its graph."""
    assert [each.name for each in box.inputs] == [h.name for h in graph.hyperparameters]
    assert [(s.stage, s.name) for s in box.states] == [(s.stage, s.name) for s in graph.slots]
    assert {part.stage for part in parts(box.step)} >= set(graph.stages)
    reports = [each.name for each in statements(box.step) if isinstance(each, Report)]
    observed = [output.name for output in graph.outputs if output.role == "observed"]
    assert sorted(reports) == sorted(observed)
    counts = given(box)
    for each in box.states:
        assert each.symbol.time == "" or replace(each.symbol, time="t") in counts
    assert Symbol("theta", time="t") in counts


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_box_has_all_of_its_graph(name):
    complete(box_of(name), graph_of(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_symbol_stands_for_two_values(name):
    box, write = box_of(name), TextWriter().write
    counts = given(box)
    repeated = again(box)
    assert not [write(symbol) for symbol, n in counts.items() if n > 1 and symbol not in repeated]
    assert len({write(symbol) for symbol in counts}) == len(counts)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_text_is_narrow_and_shows_every_line_of_the_spec(name):
    shown = text(box_of(name))
    assert max(map(columns, shown.splitlines())) <= 100
    for stage in graph_of(name).stages:
        assert f"{stage.line} | {stage.text.split('(')[0]}" in shown


def test_pages_are_well_formed():
    for name in OPTIMIZERS:
        page = html(box_of(name)).replace("&nbsp;", " ").replace("<!DOCTYPE html>", "")
        page = page.replace('<meta charset="utf-8">', "").replace(
            'initial-scale=1">', 'initial-scale=1"/>'
        )
        ElementTree.fromstring(page)


def test_the_graph_that_is_executed_has_a_box_too():
    for name in OPTIMIZERS[::7]:
        graph = optimised(lowered_graph(find(name))[0])
        complete(build(graph), graph)


HOSTILE = '''
"""
\\\\input{/etc/passwd} $$ \\\\end{document} <script>alert(1)</script> | [x](y) `a|b`.
Second $line$ & more --- <b>bold</b> #1 %2 _x_ *y* ~z^
"""
optimizer odd(lr = 0.1, script_: str = "a</script>$\\\\x") {
  precondition own(script_) where path matches "</?[^a-z_$&%#~]*|\\\\\\\\"
  tune step lr
}
rule precondition own(kind: str) {
  when kind == "<&>_$" { return 2 * g } else { return g }
}
'''


@pytest.fixture(scope="module")
def odd():
    return box_from(HOSTILE)


def test_hostile_texts_are_escaped_in_latex(odd):
    shown = latex(odd)
    assert "\\input" not in shown
    assert shown.count("\\begin{document}") == shown.count("\\end{document}") == 0
    assert "\\end{document}" in latex(odd, standalone=True)
    assert "textbackslash{}input\\{/etc/passwd\\}" in shown
    assert "\\$\\$" in shown


def test_hostile_texts_are_escaped_in_html(odd):
    shown = html(odd)
    assert "<script" not in shown.lower()
    assert "&lt;script&gt;" in shown
    assert "<b>bold" not in shown


def test_hostile_texts_are_escaped_in_markdown(odd):
    outside = markdown(odd)
    assert "<script" not in outside.replace("\\<script", "")
    assert "[x](y)" not in outside
    assert "\\$\\$" in outside
