"""Observations that are added to an optimizer from outside its spec."""

from collections.abc import Mapping
from dataclasses import replace

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics
from ..grammar.parse import parse
from ..grammar.source import Source
from .declarations import Declarations
from .records import Stage
from .spec import Spec, SpecObserve

NORMS = {"grad_norm_l1": "sum(abs(g))", "grad_norm_l2": "norm(g)"}
"""The L1 and the L2 norm of the gradient at the weights, before any stage."""


def recorded(spec: Spec, values: Mapping[str, str]) -> Spec:
    """The spec with these observations too; names that it observes already stay its own."""
    known = {observe.name for observe in spec.observes}
    wanted = {name: text for name, text in values.items() if name not in known}
    lines = [f"observe {text} as {name}" for name, text in wanted.items()]
    source = Source("recorded", "optimizer recorded() {\n" + "\n".join(lines) + "\n}\n")
    (decl,) = parse(source, Diagnostics()).items
    assert isinstance(decl, syntax.OptimizerDecl)
    stages, observes = list(spec.stages), list(spec.observes)
    for line in decl.body:
        assert isinstance(line, syntax.Observe)
        place = len(stages)
        label = f"{line.word} {line.name.id}"
        stages.append(Stage(label, line.span.text, source.name, line.span.line))
        observes.append(SpecObserve(line.name.id, line, "", place, Declarations()))
    return replace(spec, stages=tuple(stages), observes=tuple(observes))
