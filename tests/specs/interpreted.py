"""Stages and schedules through the interpreter, on weights and gradients that a test gives."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from optc.compiler.check import chosen, lowered
from optc.compiler.environment import Draw, Oracles, Tensors
from optc.compiler.freeze import freeze
from optc.compiler.graph import Graph
from optc.compiler.interpret import Interpreter, Outcome
from optc.compiler.locate import Located, find
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.render import render_text
from optc.grammar.source import Source

Arrays = list[np.ndarray]


class Given:
    """An objective that is nothing but a gradient, and a loss where one is needed."""

    def __init__(self, gradient: Arrays, loss: float = 0.0) -> None:
        self._gradient = gradient
        self._loss = loss

    def grad(self, at: Arrays) -> Arrays:
        return [np.asarray(x, float) for x in self._gradient]

    def loss(self, at: Arrays) -> float:
        return self._loss

    def per_example_grad(self, at: Arrays) -> list[Arrays]:
        """Two examples that agree."""
        return [self.grad(at)] * 2


class Run:
    """An optimizer on its way: weights, slots and the step count.

    `spec` is a text, or the name of an optimizer of the library; the keywords are other values
    for its hyperparameters.
    """

    def __init__(
        self,
        spec: str,
        weights: Sequence[np.ndarray | float],
        paths: Sequence[str] = (),
        draw: Draw | None = None,
        **values,
    ) -> None:
        graph = graph_of(spec)
        self.weights = [np.asarray(x, float) for x in weights]
        paths = paths or [f"w{i}" for i in range(len(self.weights))]
        settings = {h.name: h.default for h in graph.hyperparameters} | values
        assert len(settings) == len(graph.hyperparameters), "no such hyperparameter"
        tensors = Tensors(paths, ["float32"] * len(paths))
        self._names = [(slot.stage, slot.name) for slot in graph.slots]
        self._interpreter = Interpreter(graph, tensors, settings, draw=draw)
        self._slots = self._interpreter.start(self.weights)
        self.count = 0

    def step(self, gradient: Sequence[np.ndarray | float], loss: float = 0.0) -> Outcome:
        """One step along a gradient; the weights after it are in `weights`."""
        return self.ask(Given(list(gradient), loss))

    def ask(self, objective: Oracles) -> Outcome:
        """One step of an objective that answers what the stages ask."""
        self._interpreter.oracles = objective
        with np.errstate(divide="ignore", invalid="ignore"):  # what a `where` leaves out
            outcome = self._interpreter.step(self.weights, self._slots, self.count + 1)
        self.weights, self._slots = outcome.weights, outcome.slots
        self.count += outcome.applied
        return outcome

    def evaluate(self) -> Arrays:
        """The weights to evaluate with."""
        return self._interpreter.evaluate(self.weights, self._slots, self.count)

    def slot(self, name: str):
        """A slot by its name, which is that of one stage only."""
        (found,) = (x for (_, n), x in zip(self._names, self._slots, strict=True) if n == name)
        return found


def stages(*lines: str, step: str = "tune step 1.0") -> str:
    """An optimizer of a few lines; `step` is put where a line says `...`."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"optimizer staged() {{\n{body.replace('...', step)}\n}}\n"


def signal(stage: str, gradient: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Arrays:
    """What one `clip`, `precondition` or `decay` makes of a gradient."""
    run = Run(stages(stage, "..."), weights)
    run.step(gradient)
    return [w - new for w, new in zip(weights, run.weights, strict=True)]


def observed(calls: Sequence[str], times: Iterable[int]) -> dict[str, np.ndarray]:
    """Scalar expressions, such as schedules, at some steps."""
    lines = [f"observe {call} as value{i}" for i, call in enumerate(calls)]
    graph = graph_of(stages("tune step 0.0", *lines))
    runner = Interpreter(graph, Tensors(["w"], ["float32"]), {}, Given([np.zeros(1)]))
    rows = [runner.step([np.zeros(1)], [], t).observed for t in times]
    return {call: np.array([row[f"value{i}"] for row in rows]) for i, call in enumerate(calls)}


def trace(spec: str, gradients: Iterable[Arrays], weights: Arrays, **how) -> list[Arrays]:
    """The weights before the first step along these gradients, and after each."""
    with np.errstate(all="ignore"):
        run = Run(spec, weights, **how)
        visited = [run.weights]
        for gradient in gradients:
            run.step(gradient)
            visited.append(run.weights)
    return visited


def steps(spec: str, gradients: Iterable[Arrays], weights: Arrays, **how) -> np.ndarray:
    """What is subtracted at each step: one row each."""
    visited = [flat(now) for now in trace(spec, gradients, weights, **how)]
    return np.stack([before - after for before, after in pairwise(visited)])


def flat(tensors: Arrays) -> np.ndarray:
    """All numbers of a list of tensors."""
    return np.concatenate([np.ravel(x) for x in tensors])


@cache
def graph_of(spec: str) -> Graph:
    """The graph before any pass of a text, or of an optimizer of the library."""
    where = Located(Source("<test>", spec), None) if "{" in spec else find(spec)
    report = Diagnostics()
    draft = chosen(where, lowered(where, report), report)
    assert draft is not None, render_text(report.sorted())
    assert not report.has_errors, render_text(report.sorted())
    return freeze(draft)
