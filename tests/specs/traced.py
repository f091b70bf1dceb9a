"""Optimizers on gradients that are given, by the reference interpreter: float64, and no JAX."""

from functools import cache
from itertools import pairwise

import numpy as np

from optc.compiler.check import chosen, lowered
from optc.compiler.freeze import freeze
from optc.compiler.interpret import Interpreter, Tensors
from optc.compiler.locate import Located, find
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.source import Source


class Given:
    """An objective that answers with one given gradient wherever it is asked."""

    def __init__(self, gradient):
        self.gradient = gradient

    def loss(self, at):
        return 0.0

    def grad(self, at):
        return self.gradient


@cache
def graph(spec):
    """The graph of an optimizer of the library, or of stages, before any pass."""
    where = find(spec) if spec.isidentifier() else Located(Source("<test>", spec), None)
    report = Diagnostics()
    draft = chosen(where, lowered(where, report), report)
    assert draft is not None, spec
    assert not report.has_errors, spec
    return freeze(draft)


def trace(spec, gradients, weights, draw=None, **values):
    """The weights before the first step and after each, as lists of tensors.

    `spec` is a name of the library or the text of an optimizer, `gradients` one list for each
    step, and the keywords are other values for its hyperparameters.
    """
    program = graph(spec)
    defaults = {h.name: h.default for h in program.hyperparameters}
    assert values.keys() <= defaults.keys(), "no such hyperparameter"
    weights = [np.asarray(w, float) for w in weights]
    tensors = Tensors([str(i) for i in range(len(weights))], ["float64"] * len(weights))
    runner = Interpreter(program, tensors, defaults | values, draw=draw)
    visited = [weights]
    with np.errstate(all="ignore"):
        slots = runner.start(weights)
        for count, gradient in enumerate(gradients, 1):
            runner.oracles = Given([np.asarray(g, float) for g in gradient])
            outcome = runner.step(visited[-1], slots, count)
            slots = outcome.slots
            visited.append(outcome.weights)
    return visited


def steps(spec, gradients, weights, draw=None, **values):
    """What is subtracted at each step: one flat vector each."""
    visited = [flat(w) for w in trace(spec, gradients, weights, draw, **values)]
    return np.stack([before - after for before, after in pairwise(visited)])


def flat(tensors):
    """All numbers of a list of tensors."""
    return np.concatenate([np.ravel(x) for x in tensors])
