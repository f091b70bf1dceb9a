"""The operations of a plan are those that the interpreter does, counted while it does them.

For every optimizer of the library that neither chooses nor loops nor asks more than the gradient.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from optc.compiler import library
from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.environment import Tensors
from optc.compiler.graph import walk
from optc.compiler.graphs import lowered_graph
from optc.compiler.interpret import Interpreter
from optc.compiler.locate import Located, find
from optc.compiler.ops import ASKED, OPS
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.settle import settle
from optc.grammar.source import Source

TENSORS = (
    Tensor("kernel", (6, 4)),
    Tensor("cube", (2, 3, 5)),
    Tensor("bias", (4,)),
    Tensor("s", ()),
)
TREE = Tree.of("tree", TENSORS)

VIEWED = """
optimizer viewed(lr = 0.1) {
  clip adaptive(0.1) where ndim >= 2
  group cubes where ndim == 3 view "a b c -> (a b) c" {
    precondition adam()
    clip         rows() where rows >= 4
    tune step    lr * width_scale(base = 8)
  }
  group rest { precondition adam() tune step lr }
}
rule clip rows() { return g / max(norm(g, per = row), 1) }
"""
MULTIPLIED = """
optimizer multiplied(lr = 0.1, rank: int = 3) {
  group matrices where ndim >= 2 blocks of 4 {
    precondition sketched(rank)
    tune step lr
  }
  group rest { tune step lr }
}
rule precondition sketched(rank: int) {
  when g is [.., rows, cols] {
    state basis = ones(cols, rank)
    basis <- 0.9 * basis + g.T @ (g @ basis)
    v = diag(basis.T @ basis)
    return g @ basis @ basis.T / trace(g @ g.T) + ones(rows, rank) @ diag(v) @ basis.T
  } else { return g }
}
"""
PLAIN = {"elementwise", "reduction", "shape", "matrix", "local", "fill", "leaf"}
FACTORS = {
    *("inverse_root", "matrix_power", "orthonormal", "polar", "eigenbasis", "eigenvalues"),
    *("cholesky", "solve", "gram_loop"),
}
"""What the interpreter leaves to functions of its own."""

PRODUCTS = {2: 1, 3: 2}
"""What the whole powers of the library are made of."""


@dataclass
class Counting(Interpreter):
    """An interpreter that counts: for each value, its op's operations for each of its numbers."""

    counted: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.literals = {node.id for node in walk(self.graph.step) if node.op == "const"}

    def _elementwise(self, node, inputs):
        value = super()._elementwise(node, inputs)
        is_literal = node.op == "pow" and node.inputs[1] in self.literals
        return self._noted(node, value, PRODUCTS.get(inputs[1]) if is_literal else None)

    def _reduction(self, node, inputs):
        masked = node.type.is_field
        seen = zip(inputs[0], self._mask(node), strict=True) if masked else ()
        self._noted(node, [x for x, inside in seen if inside] if masked else inputs[0])
        return super()._reduction(node, inputs)

    def _matrix(self, node, inputs):
        values = super()._matrix(node, inputs)
        for place, value in enumerate(values):
            if value is not None:
                here = [x[place] if isinstance(x, list) else x for x in inputs]
                self._on_one_tensor(node, here, value)
        return values

    def _on_one_tensor(self, node, inputs, value):
        """Counts a matrix op on one tensor of its inputs."""
        if node.op in ("matmul", "matvec"):
            self.counted.append(2 * np.size(inputs[0]) * np.size(value) / inputs[0].shape[-2])
            if inputs[0].ndim > 2:
                self.counted[-1] /= np.prod(inputs[0].shape[:-2])
        if node.op == "gram_loop":
            small, large = sorted(inputs[0].shape[-2:])
            places = np.size(inputs[0]) / (small * large)
            left = inputs[-1] if node.get("first") else np.inf
            given = iter(inputs[1:])
            for size in map(int, str(node["sizes"]).split()):
                times = min(next(given), left)
                left -= times
                [next(given) for _ in range(size)]
                one = 4 * small**2 * large + 2 * (size - 2) * small**3
                self.counted.append(times * places * one)
        if node.op == "trace":
            self.counted.append(np.size(value) * inputs[0].shape[-1])

    def _noted(self, node, value, flops=None):
        tensors = value if isinstance(value, list) else [value]
        size = sum(np.size(x) for x in tensors if x is not None)
        self.counted.append((OPS[node.op].flops if flops is None else flops) * size)
        return value


class Answers:
    """An objective that is a sum of cubes."""

    def loss(self, at):
        return float(sum(np.sum(x**3) for x in at))

    def grad(self, at):
        return [3 * x**2 for x in at]


def simplified(graph):
    for run in PIPELINE:
        graph = graph if run is settle else run(graph)
    return graph


def is_plain(graph):
    asked = {node.op for node in walk(graph.step) if OPS[node.op].op_class not in PLAIN}
    factors = {node.op for node in walk(graph.step)} & FACTORS
    return asked <= {"point", "loss", "grad"} and not factors


def count(graph):
    """The operations of a step as the interpreter does them, and the subtraction of the step."""
    values = {h.name: h.default for h in graph.hyperparameters}
    tensors = Tensors([t.path for t in TENSORS], [t.dtype for t in TENSORS])
    interpreter = Counting(graph, tensors, values, Answers())
    weights = [np.linspace(0.5, 1.5, t.size).reshape(t.shape) for t in TENSORS]
    slots = interpreter.start(weights)
    interpreter.counted.clear()
    interpreter.step(weights, slots, 1)
    step = any(output.role == "step" for output in graph.outputs)
    return sum(interpreter.counted) + step * sum(t.size for t in TENSORS)


LIBRARY = {name: find(name) for name in library.names("optimizer")}
OWN = {
    "viewed": Located(Source("<string>", VIEWED)),
    "multiplied": Located(Source("<string>", MULTIPLIED)),
}


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.rest), 4])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_operations_are_those_that_the_interpreter_does(stride):
    """Of each `stride`-th optimizer, and of two that have what those of the library have not."""
    compared = 0
    for name, located in [*list(LIBRARY.items())[::stride], *OWN.items()]:
        graph, _ = lowered_graph(located)
        executed = simplified(graph)
        if is_plain(executed):
            planned = budget(graph, TREE)
            assert planned.work.total == count(executed), name
            assert not planned.work.at_most
            compared += 1
    assert compared > 80 / stride


def test_all_that_is_counted_as_a_question_is_an_oracle():
    oracles = {op.name for op in OPS.values() if op.op_class == "oracle"}
    assert oracles - set(ASKED) == {"point", "examples", "per_example_mean", "measured"}
