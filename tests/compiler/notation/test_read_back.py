"""A text box says what is computed: read by a reader of its own, it gives the same numbers."""

import numpy as np
import pytest
from boxes import OPTIMIZERS, box_of, graph_of
from read_back import Identity, Reader

from optc.compiler.environment import Tensors
from optc.compiler.graph import walk
from optc.compiler.graphs import lowered_graph, optimised
from optc.compiler.interpret import Interpreter
from optc.compiler.locate import find
from optc.compiler.notation.build import build
from optc.compiler.notation.text import text
from optc.compiler.ops import OPS

STEPS = 3
ARITHMETIC = ("elementwise", "reduction", "leaf", "fill")
ASKED = ("point", "grad", "loss", "if", "loop")
# The same float64 operations in an order that brackets may change: a few roundings a step, in
# values that a difference of like numbers may leave with fewer digits.
TOLERANCE = 1e-10


def is_arithmetic(name):
    """Whether a box speaks of nothing but numbers, the loss and its gradient, for all tensors."""
    graph = graph_of(name)
    nodes = [node for region in graph.regions() for node in walk(region)]
    plain = all(OPS[n.op].op_class in ARITHMETIC or n.op in ASKED for n in nodes)
    whole = all(n.get("per") in (None, "tensor") for n in nodes)
    counted = not any(output.role == "applied" for output in graph.outputs)
    stored = all(slot.dtype is None for slot in graph.slots)
    return plain and whole and counted and stored and len(graph.domains) == 1


ALGEBRA = {*ARITHMETIC, "matrix", "local"}


def is_algebra(name):
    """Whether a box speaks of matrices, and beside them of nothing but arithmetic."""
    graph = graph_of(name)
    nodes = [node for region in graph.regions() for node in walk(region)]
    plain = all(
        OPS[n.op].op_class in ALGEBRA or n.op in (*ASKED, "stagger", "extent") for n in nodes
    )
    whole = all(n.get("per") in (None, "tensor", "matrix") for n in nodes)
    counted = not any(output.role == "applied" for output in graph.outputs)
    stored = all(slot.dtype is None for slot in graph.slots)
    seen = all(domain.view is None for domain in graph.domains)
    multiplies = any(n.op == "matmul" for n in nodes)
    return multiplies and plain and whole and counted and stored and seen


MATRICES = [name for name in OPTIMIZERS if is_algebra(name)]
READ = [name for name in OPTIMIZERS if is_arithmetic(name)]


class Bowl:
    """A loss with a minimum, whose gradient has zeros and both signs."""

    def __init__(self, shape=(4,)):
        numbers = np.arange(np.prod(shape)).reshape(shape)
        self.scale = np.array([1.0, 0.5, 2.0, 0.0])[numbers % 4]
        self.centre = np.array([0.3, -1.0, 0.25, 0.0])[numbers % 4] * (1 + numbers // 4)

    def loss(self, at):
        (w,) = at
        return float(np.sum(self.scale * (w - self.centre) ** 2 / 2)) + 0.1

    def grad(self, at):
        (w,) = at
        return [self.scale * (w - self.centre)]


def test_most_of_the_library_is_read_back():
    assert len(READ) + len(MATRICES) > 2 / 3 * len(OPTIMIZERS)


@pytest.mark.parametrize("name", READ)
def test_a_box_that_is_read_gives_the_numbers_of_the_graph(name):
    follow(name, text(box_of(name)))


@pytest.mark.parametrize("name", MATRICES)
def test_a_box_of_matrices_gives_the_numbers_of_the_graph(name):
    weights = np.cos(np.arange(12.0)).reshape(4, 3)
    follow(name, text(box_of(name)), weights)


@pytest.mark.rest  # the passes are held to keep every value by tests of their own
@pytest.mark.parametrize("name", READ)
def test_the_box_of_what_is_executed_gives_the_same_numbers(name):
    follow(name, text(build(optimised(lowered_graph(find(name))[0]))))


def follow(name, shown, start=np.array([0.5, -0.75, 1.0, 2.0])):  # noqa: B008  # never written to
    """Three steps of a box that is read, beside three of the graph as it was written."""
    graph, bowl = graph_of(name), Bowl(start.shape)
    settings = {h.name: h.default for h in graph.hyperparameters}
    weights = [start]
    interpreter = Interpreter(graph, Tensors(["w"], ["float32"]), settings, bowl)
    objective = {"∇L": lambda w: bowl.grad([w])[0], "L": lambda w: bowl.loss([w])}
    objective |= {name.replace("L", "ℒ"): oracle for name, oracle in objective.items()}
    slots = interpreter.start(weights)
    groups = [g.name for g in graph.groups if interpreter.masks[g.domain][0]]
    rows, cols = (1, 1, *start.shape)[-2:]
    facts = {"ndim": start.ndim, "size": start.size, "rows": rows, "cols": cols, "path": "w"}
    reader = Reader(shown, objective, facts={**settings, **facts, "groups": groups})

    reader.start(weights[0])
    for count in range(1, STEPS + 1):
        with np.errstate(all="ignore"):  # what a choice leaves out
            outcome = interpreter.step(weights, slots, count)
            reader.step()
        weights, slots = outcome.weights, outcome.slots
        close(reader.values["θₜ"], weights[0])
        for slot, value in zip(graph.slots, slots, strict=True):
            close(reader.slot(f"{slot.stage}.{slot.name}"), value)
        for observed, number in outcome.observed.items():
            close(reader.observed[observed], number)
        close(reader.evaluate(), interpreter.evaluate(weights, slots, count)[0])
        reader.turn()


def close(found, expected):
    expected = expected[0] if isinstance(expected, list) else expected
    if expected is None:
        return  # it is of no tensor that there is
    found = found.of(len(expected)) if isinstance(found, Identity) else found
    found = np.broadcast_to(np.asarray(found, float), np.shape(expected))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
