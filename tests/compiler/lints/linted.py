"""What the tests of lints share: specs as texts, what is found in them, and runs of them.

`followed` runs a spec in the interpreter and hands out every value of each step, by the id of its
node, which is the id that an analysis of the draft uses.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from optc.compiler import library
from optc.compiler.check import check, resolved
from optc.compiler.environment import Tensors
from optc.compiler.freeze import freeze
from optc.compiler.histories import History
from optc.compiler.interpret import Interpreter
from optc.compiler.lints.subject import Subject
from optc.compiler.locate import Located, find
from optc.compiler.lowering.pipeline import lower
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.source import Source

OPTIMIZERS = library.names("optimizer")
OF_EXAMPLES = {"dpsgd"}
"""Those that ask for the gradient of each example, of which whole gradients say nothing."""

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.opt"))


def located(text: str) -> Located:
    """A text, or an optimizer of the library."""
    return Located(Source("<test>", text)) if "{" in text else find(text)


def codes(text: str) -> list[str]:
    """The codes of all that is found in a spec, in the order of the text."""
    return [diagnostic.code for diagnostic in check(located(text)).sorted()]


@cache
def subject(text: str) -> Subject:
    """The last optimizer of a text, as lints see it."""
    report = Diagnostics()
    spec = resolved(located(text), report)[-1]
    draft = lower(spec, report)
    assert not report.has_errors, [d.message for d in report]
    return Subject(spec, draft)


def in_a_pipeline(kind: str, name: str) -> str:
    """An optimizer that has one rule at its defaults, and nothing else."""
    rule = f"{kind} {name}()"
    above = rule if kind in ("perturb", "clip", "precondition", "decay") else ""
    size = f"{name}()" if kind == "tune" else "0.1"
    below = rule if kind in ("constrain", "average", "guard") else ""
    return f"optimizer one() {{ {above} tune step {size} {below} }}"


WEIGHTS = [
    np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]),
    np.array([0.3, -0.6]),
    np.array(1.25),
]


class Noise:
    """An objective whose gradients are given numbers times `scale`, wherever it is asked."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self._examples = [[scale * random.normal(size=w.shape) for w in WEIGHTS] for _ in range(3)]

    def grad(self, at):
        return [np.mean(xs, axis=0) for xs in zip(*self._examples, strict=True)]

    def loss(self, at):
        return 0.5 + sum(float(np.sum(x * x)) for x in at)

    def hvp(self, at, vector):
        return [2 * x for x in vector]

    ggn = hvp

    def outputs(self, at):
        return np.concatenate([np.ravel(x) for x in at])

    def outputs_grad(self, at):
        return self.outputs(self.grad(at))

    def sampled_outputs_grad(self, at, site, rounds):
        # Of labels of the model's own: it does not grow with the gradient.
        return -self.outputs(at)

    def fisher_factors(self, at, axis, rounds):
        # Of labels of the model's own, too.
        sides = (x if axis == 0 else x.T for x in at)
        return [x @ x.T + np.eye(len(x)) if np.ndim(x) == 2 else None for x in sides]

    def pullback(self, at, cotangent):
        return self.grad(at)

    def per_example_grad(self, at):
        return self._examples

    def measured(self, at, name, axis, like):
        return [None for _ in like]


def draw(op: str, site: int, rounds: tuple[int, ...], like: list[Any] | None) -> Any:
    """Random fields and numbers, the same for the same question."""
    random = np.random.default_rng([site, *rounds])
    kinds = {"normal": random.normal, "uniform": random.random}
    kinds["rademacher"] = lambda size: random.choice([-1.0, 1.0], size)
    if like is None:
        return float(kinds[op](size=()))
    return [None if x is None else np.asarray(kinds[op](size=np.shape(x))) for x in like]


def followed(
    text: str, steps: int = 4, scale: float = 1.0, **others: float
) -> Iterator[dict[int, Any]]:
    """Every value of each step of a run on noise, with other values for hyperparameters."""
    graph = freeze(subject(text).draft)
    values = {h.name: others.get(h.name, h.default) for h in graph.hyperparameters}
    paths, dtypes = ["layers/kernel", "layers/bias", "head"], ["float32"] * 3
    run = Interpreter(graph, Tensors(paths, dtypes), values, draw=draw)
    weights = WEIGHTS
    with np.errstate(all="ignore"):
        slots = run.start(weights)
        for t in range(1, steps + 1):
            run.oracles = Noise(t, scale)
            outcome = run.step(weights, slots, t)
            weights, slots = outcome.weights, outcome.slots
            yield dict(run._values)


def numbers(value: Any) -> np.ndarray | None:
    """All numbers of a value, or None for a value that is none of numbers."""
    if isinstance(value, list) and all(
        x is None or isinstance(x, np.ndarray | np.generic) for x in value
    ):
        parts = [np.ravel(x) for x in value if x is not None]
        return np.concatenate(parts).astype(float) if parts else np.zeros(0)
    if isinstance(value, str | list | dict | tuple | History):
        return None
    return np.ravel(np.asarray(value, float))
