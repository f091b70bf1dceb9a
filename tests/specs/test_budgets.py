"""The bytes of a plan are those of `init`, to the last one, for every optimizer of the library.

And so are the groups: what `optimizer.groups` finds of a program, a plan finds of its graph.
"""

import jax
import jax.numpy as jnp
import pytest
from shipped import program

import optc
from optc.cli.train.tasks import make
from optc.compiler import library
from optc.compiler.budget.budget import budget
from optc.compiler.budget.models import model
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import Located, find
from optc.grammar.source import Source

TENSORS = (
    Tensor("block/0/kernel", (6, 4), "bfloat16"),
    Tensor("block/0/bias", (4,), "float32"),
    Tensor("block/1/kernel", (3, 2, 2, 8), "float32"),
    Tensor("embed", (10, 4), "float16"),
    Tensor("row", (1, 7), "float32"),
    Tensor("cube", (2, 3, 5), "bfloat16"),
    Tensor("scale", (), "float32"),
    Tensor("half", (), "bfloat16"),
    Tensor("nothing", (0, 3), "float32"),
)
TREE = Tree.of("tree", TENSORS)
RESNET = model("resnet-50")
WEIGHTS = {t.path: jax.ShapeDtypeStruct(t.shape, jnp.dtype(t.dtype)) for t in TENSORS}


def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def measured(program, weights=WEIGHTS):
    """What `init` would allocate: all of it, and each slot."""
    state = jax.eval_shape(program().init, weights)
    slots = state.slots.items()
    return size(state), {(stage, name): size(x) for stage, s in slots for name, x in s.items()}


def agrees(planned, program, weights=WEIGHTS):
    total, slots = measured(program, weights)
    assert {(slot.stage, slot.name): slot.bytes for slot in planned.state.slots} == slots
    assert planned.state_bytes == total


@pytest.mark.parametrize("name", library.names("optimizer"))
@pytest.mark.filterwarnings("ignore::optc.GroupWarning")
def test_the_bytes_are_those_of_init_and_the_groups_those_of_the_program(name):
    graph = lowered_graph(find(name))[0]
    planned = budget(graph, TREE)
    agrees(planned, program(name))
    same_groups(planned, program(name)().groups(WEIGHTS))
    has_a_plan_for_a_real_model(graph)


def has_a_plan_for_a_real_model(graph):
    found = budget(graph, RESNET)
    assert found.flops_per_weight >= 2
    assert found.oracles.keys() & {"grad", "per_example_grad"}
    assert all(line.rate is not None for line in found.table)
    assert found.to_dict()["schema"] == 1
    head = f"{graph.name} for resnet-50: 161 tensors, 25,557,032 weights\n"
    assert str(found).startswith(head)


def same_groups(planned, table):
    """Rows and findings of a plan are those of a table of groups, but for their order."""

    def found(findings):
        known = ("leftover", "misfit", "hidden", "empty")
        return sorted((f.kind, f.group, *sorted(f.tensors)) for f in findings if f.kind in known)

    rows = {r.path: (r.shape, r.dtype, r.group, r.view, r.stages) for r in table.rows}
    assert rows == {
        line.tensor.path: (
            line.tensor.shape,
            line.tensor.dtype,
            line.row.group,
            line.row.view,
            line.row.stages,
        )
        for line in planned.table
    }
    assert found(planned.findings) == found(table.findings)


GROUPED = """
optimizer grouped(lr = 0.02, heads: int = 2 in [1, inf)) {
  clip adaptive(0.1) where ndim >= 2
  group heads where path matches "kernel$" and ndim == 2 view "a (h k) -> h a k" with (h = heads) {
    precondition counted()
    decay weights(0.1) where rows >= 3
    tune step lr
  }
  group never where path == "no" { precondition adam() tune step lr }
  group again where path matches "0/kernel$" { tune step lr }
  group rest { precondition lowered() where size > 4 tune step lr }
  guard finite()
}
rule precondition counted() {
  state seen = false
  state steps = 0
  state rows = zeros(norm(g, per = row))
  state cols = zeros(norm(g, per = column))
  state share = norm(w, per = row) / max(norm(w, per = matrix), 1)
  state signs: i8 = zeros(g)
  state exact: f64 = zeros(g)
  state marks = g > 0
  state times = where(g > 0, 1, 0)
  state ups = w > 0
  seen <- true
  steps <- steps + 1
  rows <- norm(g, per = row)
  cols <- norm(g, per = column)
  signs <- sign(g)
  exact <- g
  marks <- g > 1
  times <- times + where(marks and ups, 1, 2)
  ups <- g > 0
  return where(seen, g + signs + exact, g * times) * steps * share + rows * cols
}
rule precondition lowered() {
  state mean: bf16 stochastic = zeros(g)
  state part = norm(g, per = unit)
  mean <- 0.9 * mean + g + 0 * normal(w)
  part <- norm(g, per = unit)
  return mean / max(part, 1)
}
"""


def grouped(text=GROUPED):
    located = Located(Source("<string>", text))
    return lowered_graph(located)[0], optc.compile(text)


@pytest.mark.filterwarnings("ignore::optc.GroupWarning", "ignore:Explicitly requested dtype")
def test_states_of_every_sort_in_groups_with_views_are_counted():
    graph, program = grouped()
    planned = budget(graph, TREE)
    agrees(planned, program)
    same_groups(planned, program().groups(WEIGHTS))
    assert [finding.kind for finding in planned.findings] == ["empty", "hidden"]
    assert planned.ok


@pytest.mark.filterwarnings("ignore::optc.GroupWarning")
def test_bytes_follow_the_width_of_the_floats_of_jax():
    with jax.enable_x64(True):
        graph, program = grouped()
        agrees(budget(graph, TREE, scalar=8), program)


@pytest.mark.filterwarnings("ignore::optc.GroupWarning")
@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("rest {", "few where ndim == 1 {", "leftover"),
        ("h = heads", "h = 3", "misfit"),
        ("return mean / max(part, 1)", 'when ndim >= 3 { return mean } else { error "no" }', None),
    ],
)
def test_what_init_refuses_is_a_fatal_finding(before, after, kind):
    graph, program = grouped(GROUPED.replace(before, after))
    planned = budget(graph, TREE)
    with pytest.raises(ValueError, match=r"."):
        jax.eval_shape(program().init, WEIGHTS)
    assert not planned.ok
    assert [f.kind for f in planned.findings if f.fatal] == [kind or "refused"]
    if kind:
        same_groups(planned, program().groups(WEIGHTS))


EXTERN = """
extern precondition shrunk(b1 = 0.9) = optax.scale_by_yogi(b1 = b1)
optimizer lent() { precondition shrunk() where ndim >= 2  precondition adam()  tune step 0.1 }
"""


def test_python_has_the_same_numbers_and_asks_optax_for_its_own_states(tmp_path):
    file = tmp_path / "lent.opt"
    file.write_text(EXTERN, encoding="utf-8")
    planned = optc.plan(file, WEIGHTS)
    agrees(planned, optc.load(file))
    assert planned.work.uncounted == ("precondition",)
    arrays = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), WEIGHTS)
    assert optc.plan(file, arrays) == planned
    assert optc.plan(file, {"a": {"b": [jnp.ones(3)]}}).table[0].tensor.path == "a/b/0"


def test_the_trees_of_the_tasks_are_those_of_the_tasks():
    for name in ("digits", "text"):
        params = jax.eval_shape(make(name).init, jax.random.key(0))
        leaves = jax.tree_util.tree_flatten_with_path(params)[0]
        expected = {jax.tree_util.keystr(k, simple=True, separator="/"): x.shape for k, x in leaves}
        assert {t.path: t.shape for t in model(name).tensors} == expected
