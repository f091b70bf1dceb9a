"""Compiling: from a spec that was found to the text of a Python module.

The way to the graph is in `graphs`; then come plan and print.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import metadata

from ..grammar.diagnostic import Diagnostic, Diagnostics, SpecError
from .chain import chain_text
from .check import chosen, resolved
from .graph import Graph
from .graphs import Summary, lowered_graph, optimised, summary
from .locate import Located
from .plan import plan
from .printing.module import module_text
from .records import Scalar


@dataclass(frozen=True)
class Compiled:
    """A program as text, the graph that it was printed from, and the warnings on the way."""

    name: str
    source: str
    graph: Graph
    summary: Summary
    diagnostics: tuple[Diagnostic, ...] = ()


def compile_spec(
    located: Located,
    settings: Mapping[str, Scalar] | None = None,
    observe: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> Compiled:
    """The program of a spec, as text. Raises SpecError with all diagnostics if any is an error.

    `settings` are other defaults for hyperparameters, `observe` further observations by name,
    `without` names passes that are left out.
    """
    graph, warnings = lowered_graph(located, settings, observe)
    return print_program(graph, warnings, without)


def print_program(
    graph: Graph, diagnostics: tuple[Diagnostic, ...] = (), without: Collection[str] = ()
) -> Compiled:
    """The module of a lowered graph, verified at each border, `without` some of the passes."""
    graph = optimised(graph, without)
    text = module_text(plan(graph), version(), without)
    return Compiled(graph.name, text, graph, summary(graph), diagnostics)


def version() -> str:
    """The version of this package."""
    return metadata.version("optc")


def optax_chain(located: Located, settings: Mapping[str, Scalar] | None = None) -> str:
    """The spec as a chain of optax's own transformations.

    Raises SpecError where the spec has a mistake, or a stage without a twin in optax.
    """
    compiled = compile_spec(located, settings)
    report = Diagnostics()
    spec = chosen(located, resolved(located, report), report)
    assert spec is not None  # it was compiled
    spec = replace(spec, hyperparameters=compiled.graph.hyperparameters)
    text = chain_text(spec, report)
    if text is None:
        raise SpecError(report.sorted())
    return text
