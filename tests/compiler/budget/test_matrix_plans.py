"""Plans of matrices: shapes are those of NumPy's, and bytes those of `init`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import specimen

from optc.compiler import matrices
from optc.compiler.budget import algebra
from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.driver import compile_spec
from optc.compiler.graph import Node
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import Located
from optc.compiler.turns import turns
from optc.compiler.types import FIELD
from optc.grammar.source import Source

TALL, SQUARE, VECTOR = np.ones((2, 5, 3)), np.stack([np.eye(3)] * 2), np.ones((2, 3))

CALLS = {
    "matmul": (TALL, SQUARE),
    "matvec": (TALL, VECTOR),
    "transpose": (TALL,),
    "trace": (SQUARE,),
    "diagonal": (SQUARE,),
    "diagonal_matrix": (VECTOR,),
    "triu": (TALL,),
    "tril": (TALL,),
    "orthonormal": (TALL,),
    "polar": (TALL,),
    "eigenbasis": (SQUARE,),
    "eigenvalues": (SQUARE,),
    "cholesky": (SQUARE,),
    "solve": (SQUARE, np.swapaxes(TALL, 1, 2)),
    "onto_matrix": (VECTOR,),
    "onto_vector": (TALL,),
}


@pytest.mark.parametrize("op", CALLS)
def test_the_shape_of_a_value_is_that_which_numpy_makes(op):
    node = Node(id=0, op=op, inputs=(), type=FIELD)
    shapes = [np.shape(x) for x in CALLS[op]]
    assert algebra.shape(node, shapes, ()) == np.shape(getattr(matrices, op)(*CALLS[op]))


SPEC = """
optimizer made(lr = 0.1, n: int = 4, rank: int = 2) {
  group grid where ndim == 2 VIEW { precondition factored(n, rank)  tune step lr }
  group rest { tune step lr }
}
rule precondition factored(n: int, rank: int) {
  when g is [.., rows, cols] {
    state L = zeros(rows, rows)
    state V: bf16 = ones(cols, rank)
    state weight = zeros(cols)
    L <- 0.9 * L + g @ g.T
    V <- orthonormal(g.T @ (g @ V))
    weight <- diag(g.T @ g)
    state P = eye(rows)
    every n STAGGERED { P <- inverse_root(L, 4, otherwise = P) }
    return P @ g + g @ V @ V.T * norm(weight, per = tensor)
  } else { return g }
}
"""
TENSORS = (Tensor("a", (6, 5)), Tensor("b", (6, 5)), Tensor("c", (3, 7)), Tensor("d", (4,)))
TREE = Tree.of("tree", TENSORS)
WEIGHTS = {t.path: jax.ShapeDtypeStruct(t.shape, jnp.dtype(t.dtype)) for t in TENSORS}


def spec(view="", staggered=""):
    return SPEC.replace("VIEW", view).replace("STAGGERED", staggered)


def planned(text):
    return budget(lowered_graph(Located(Source("<string>", text)))[0], TREE)


@pytest.mark.parametrize("view", ["", "blocks of 4", 'view "a b -> b a"'])
def test_the_bytes_of_matrices_are_those_of_init(view):
    state = jax.eval_shape(specimen(spec(view)).program().init, WEIGHTS)
    found = planned(spec(view)).state
    sizes = {
        (stage, name): sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(value))
        for stage, slots in state.slots.items()
        for name, value in slots.items()
    }
    assert {(slot.stage, slot.name): slot.bytes for slot in found.slots} == sizes


def test_a_summary_has_the_bytes_of_matrices_beside_those_of_weights():
    found = compile_spec(Located(Source("<string>", spec()))).summary
    assert found.state == "0"
    assert found.matrices == "8 rows^2 + 2 cols * rank + 4 cols"


def test_staggered_work_costs_what_it_costs_all_at_once():
    # But for (t - 1) % n == 0, which is one question for all tensors.
    assert planned(spec(staggered="staggered")).work.total == planned(spec()).work.total - 3


def test_a_root_is_a_basis_and_two_products_once_in_a_period():
    without = SPEC.replace("inverse_root(L, 4, otherwise = P)", "L")
    more = (
        planned(spec()).work.total
        - planned(without.replace("VIEW", "").replace("STAGGERED", "")).work.total
    )
    assert more == 11 * (2 * 6**3 + 3**3) / 4


def test_a_plan_knows_the_turns_that_the_interpreter_takes():
    text = spec(staggered="staggered")
    (found,) = planned(text).staggered
    # P is 6 x 6 for two tensors, a class of two chunks, and 3 x 3 for one.
    assert (found.stage, found.period) == ("grid.precondition", 4)
    assert (
        found.turns == tuple(turns([((6, 6),), ((6, 6),), ((3, 3),), None], 4)) == (0, 1, 2, None)
    )
    assert (found.tensors, found.together) == (3, (0, 1))
    # A root is a basis and two products, for each tensor at its turn and for nobody at the last.
    roots = [11 * n**3 for n in (6, 6, 3)]
    assert found.flops[:3] == pytest.approx(roots)
    assert found.operations == pytest.approx((0, max(roots)))


@pytest.mark.parametrize("shape", [(6, 5), (5, 60)])
def test_rounds_by_a_gram_matrix_are_products_on_the_smaller_side(shape):
    text = """
    optimizer made(n: int = 3) { precondition polar_by(n) where ndim == 2  tune step 1 }
    rule precondition polar_by(n: int) {
      when g is [rows, cols] {
        var y = g
        repeat n {
          a = y @ y.T
          y <- 3 * y + (-3 * a + a @ a) @ y
        }
        return y
      } else { return g }
    }
    """
    graph = lowered_graph(Located(Source("<string>", text)))[0]
    found = budget(graph, Tree.of("tree", [Tensor("w", shape)]))
    small, large = sorted(shape)
    gram, power, product = 2 * small**2 * large, 2 * small**3, 2 * small**2 * large
    assert found.work.flops["precondition"] == 3 * (gram + power + product)


def test_what_only_the_first_step_does_counts_nothing():
    late = spec().replace("every n", "if t == 1")
    never = spec().replace("every n", "if 1 > 2")
    # But for the comparison itself.
    assert planned(late).work.total == planned(never).work.total + 1
