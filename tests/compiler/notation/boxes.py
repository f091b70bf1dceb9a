"""What the tests of boxes share: the box of each optimizer of the library, made once."""

from collections import Counter
from dataclasses import replace
from functools import cache

from optc.compiler import library
from optc.compiler.check import chosen, lowered
from optc.compiler.freeze import freeze
from optc.compiler.graph import Graph
from optc.compiler.graphs import lowered_graph, simplified
from optc.compiler.locate import Located, find
from optc.compiler.notation.box import (
    Assign,
    Box,
    If,
    Let,
    Repeat,
    Report,
    Turns,
    parts,
    statements,
)
from optc.compiler.notation.build import build
from optc.compiler.notation.plain import TextWriter
from optc.compiler.notation.tree import Symbol
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.source import Source

OPTIMIZERS = library.names("optimizer")


@cache
def graph_of(name: str) -> Graph:
    """The graph of an optimizer of the library that people are shown."""
    graph, _ = lowered_graph(find(name))
    return simplified(graph)


@cache
def box_of(name: str) -> Box:
    """The box of an optimizer of the library."""
    return build(graph_of(name))


def graph_from(text: str) -> Graph:
    """The simplified graph of a spec's text."""
    report = Diagnostics()
    located = Located(Source("own.opt", text))
    draft = chosen(located, lowered(located, report), report)
    assert draft is not None, report
    assert not report.has_errors
    return simplified(freeze(draft))


def box_from(text: str) -> Box:
    """The box of a spec's text."""
    return build(graph_from(text))


def symbols_given(box):
    """Every symbol that gets a value, with how often; a choice or loop gives one several times."""
    every = (*statements(box.step), *statements(box.evaluation))
    counts = Counter(t for each in every if isinstance(each, Assign) for t in each.targets)
    counts.update(s for each in every if isinstance(each, Let) for s, _ in each.constants)
    counts.update(each.symbol for each in (*box.inputs, *box.states))
    return counts


def repeated(box):
    """The symbols that a choice, a turn or a loop may give a value more than once."""
    every = (*statements(box.step), *statements(box.evaluation))
    bodies = [b for e in every if isinstance(e, If) for b in (e.then, e.otherwise)]
    bodies += [b for e in every if isinstance(e, Turns) for b in (e.body, e.otherwise)]
    bodies += [e.body for e in every if isinstance(e, Repeat)]
    found = (each for body in bodies for each in statements(body))
    return {target for each in found if isinstance(each, Assign) for target in each.targets}


def complete(box, graph):
    """That a box has every hyperparameter, slot, stage and observation of its graph."""
    assert [each.name for each in box.inputs] == [h.name for h in graph.hyperparameters]
    assert [(s.stage, s.name) for s in box.states] == [(s.stage, s.name) for s in graph.slots]
    assert {part.stage for part in parts(box.step)} >= set(graph.stages)
    reports = [each.name for each in statements(box.step) if isinstance(each, Report)]
    observed = [output.name for output in graph.outputs if output.is_reported]
    assert sorted(reports) == sorted(observed)
    counts = symbols_given(box)
    for each in box.states:
        assert each.symbol.time == "" or replace(each.symbol, time="t") in counts
    assert Symbol("theta", time="t") in counts


def distinct(box):
    """That no symbol gets a value twice, but in sides of a choice, and no two look the same."""
    counts, write = symbols_given(box), TextWriter().write
    again = repeated(box)
    assert not [write(symbol) for symbol, n in counts.items() if n > 1 and symbol not in again]
    assert len({write(symbol) for symbol in counts}) == len(counts)
