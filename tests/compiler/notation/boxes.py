"""What the tests of boxes share: the box of each optimizer of the library, made once."""

from functools import cache

from optc.compiler import library
from optc.compiler.check import chosen, lowered
from optc.compiler.freeze import freeze
from optc.compiler.graph import Graph
from optc.compiler.graphs import lowered_graph, simplified
from optc.compiler.locate import Located, find
from optc.compiler.notation.box import Box
from optc.compiler.notation.build import build
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
