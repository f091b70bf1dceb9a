"""A box has all of its graph, and no symbol stands for two values."""

import re
from xml.etree import ElementTree

import pytest
from boxes import OPTIMIZERS, box_from, box_of, complete, distinct, graph_from, graph_of
from hypothesis import Phase, given, settings
from specimens import SPECIMENS
from specs_at_random import specs

from optc.compiler.graphs import lowered_graph, optimised
from optc.compiler.locate import find
from optc.compiler.notation.build import build
from optc.compiler.notation.html import html
from optc.compiler.notation.latex import latex
from optc.compiler.notation.markdown import markdown
from optc.compiler.notation.text import columns, text


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_box_has_all_of_its_graph(name):
    complete(box_of(name), graph_of(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_symbol_stands_for_two_values(name):
    distinct(box_of(name))


@settings(max_examples=15, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(specs())
def test_a_random_spec_has_a_box(spec):
    graph = graph_from(spec)
    for shown in (graph, optimised(graph)):
        box = build(shown)
        complete(box, shown)
        distinct(box)
        assert max(map(columns, text(box).splitlines())) <= 100
        assert latex(box)
        assert markdown(box)
        well_formed(html(box))


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_box_has_whatever_the_language_has(name):
    graph = graph_from(SPECIMENS[name])
    complete(build(graph), graph)
    distinct(build(graph))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_text_is_narrow_and_shows_every_line_of_the_spec(name):
    shown = text(box_of(name))
    assert max(map(columns, shown.splitlines())) <= 100
    for stage in graph_of(name).stages:
        assert f"{stage.line} | {stage.text.split('(')[0]}" in shown


def well_formed(page):
    """That a page is XML, but for what HTML alone has."""
    page = page.replace("&nbsp;", " ").replace("<!DOCTYPE html>", "")
    ElementTree.fromstring(re.sub(r"(<meta [^>]*)>", r"\1/>", page))


def test_pages_are_well_formed():
    for name in OPTIMIZERS:
        well_formed(html(box_of(name)))


def test_the_mathematics_of_markdown_has_nothing_that_markdown_reads(odd):
    for box in (*map(box_of, OPTIMIZERS), odd):
        formulas = re.findall(r"\$\$\n(.*?)\n\$\$", markdown(box), re.DOTALL)
        assert formulas
        assert not [f for f in formulas if re.search(r"\\[^a-zA-Z]|operatorname|\n *\n|[`|*~]", f)]


def test_the_graph_that_is_executed_has_a_box_too():
    for name in OPTIMIZERS[::7]:
        graph = optimised(lowered_graph(find(name))[0])
        complete(build(graph), graph)


def test_an_iteration_by_a_gram_matrix_shows_what_becomes_of_singular_values():
    executed = {
        name: text(build(optimised(lowered_graph(find(name))[0])))
        for name in ("muon", "muon_polar_express")
    }
    assert "iterate(y, 5, s ↦ 3.4445 s − 4.775 s³ + 2.0315 s⁵)" in executed["muon"]
    assert "and others, rounds ≤ iterations)" in executed["muon_polar_express"]


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


MANY = """
func twice(x) { return x * x + x }
func much(x) { return twice(twice(twice(twice(twice(twice(twice(twice(twice(twice(x)))))))))) }
func very(x) { return much(much(much(x))) }
rule precondition deep(n: int = 3) {
  state s = very(norm(w))
  var x = norm(g) + s
  repeat n while very(x) < 5 { x <- very(x) }
  return x * g
}
rule perturb each() { return per_example_mean(e => very(norm(e)) * e) }
optimizer exponential(lr = 0.1) { perturb each()  precondition deep()  tune step lr }
"""


def test_what_would_be_written_out_without_end_has_lines_of_its_own():
    shown = text(box_from(MANY))
    assert len(shown) < 20_000
    begin, step = shown.split("to begin")[1].split("step t = 1, 2, ...")
    assert "x₂ ← x x + x" in re.sub(" +", " ", begin)
    assert "    for the gradient e of each example:\n" in step
    assert "        stop unless " in step
