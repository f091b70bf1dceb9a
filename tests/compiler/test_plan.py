"""Phases: kernels between the reductions and oracles, each with just what it needs."""

import pytest
from agreement import agree, graph_of
from specimens import SPECIMENS

from optc.compiler.graph import index
from optc.compiler.passes import PIPELINE
from optc.compiler.plan import Kernel, free_values, is_constant, is_kernel_work, plan


def planned(text):
    graph = graph_of(text)
    for run in PIPELINE:
        graph = run(graph)
    return plan(graph)


def direction(body):
    return planned(
        f"rule precondition own() {{ {body} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )


def kernels(block):
    return [step for step in block.steps if isinstance(step, Kernel)]


def blocks(made):
    tops = [made.start, made.step, *([made.evaluation] if made.evaluation else [])]
    return [*tops, *(inner for sides in made.inner.values() for inner in sides)]


def test_every_node_runs_exactly_once(specimen_name):
    made = planned(SPECIMENS[specimen_name])
    run = []
    for block in blocks(made):
        for step in block.steps:
            run += step.nodes if isinstance(step, Kernel) else [step]
    lengths = {i for i in run if made.nodes[i].op == "extent"}
    once = [i for i in run if i not in lengths]
    assert len(once) == len(set(once))
    arguments = {i for block in blocks(made) for i in block.arguments}
    literals = {i for i, node in made.nodes.items() if is_constant(node, made.nodes)}
    assert set(run) | arguments | literals == set(made.nodes)


def test_every_step_runs_after_what_it_needs(specimen_name):
    made = planned(SPECIMENS[specimen_name])

    def check(block, known):
        known = set(known) | set(block.arguments)
        for step in block.steps:
            if isinstance(step, Kernel):
                assert {*step.fields, *step.scalars} <= known
                known |= set(step.results)
                continue
            node = made.nodes[step]
            needed = {i for i in node.inputs if not is_constant(made.nodes[i], made.nodes)}
            needed |= {
                i
                for region in node.regions
                for i in free_values(region)
                if not is_constant(made.nodes[i], made.nodes)
            }
            inputs = {i for i in needed if made.nodes[i].op in ("input", "parameter", "state")}
            assert needed - inputs <= known
            for inner in made.inner.get(step, ()):
                check(inner, known)
            known.add(step)

    for top in (made.start, made.step, *([made.evaluation] if made.evaluation else [])):
        check(top, set())


def test_a_kernel_takes_what_it_reads_and_gives_what_is_read_elsewhere(specimen_name):
    made = planned(SPECIMENS[specimen_name])
    nodes = index(made.graph)
    for block in blocks(made):
        for kernel in kernels(block):
            inside = set(kernel.nodes)
            reads = {i for id in inside for i in nodes[id].inputs} - inside
            assert set(kernel.fields) == {i for i in reads if nodes[i].type.is_field}
            assert kernel.results
            assert set(kernel.results) <= inside
            assert all(is_kernel_work(nodes[i]) for i in inside)


def test_work_without_a_reduction_between_is_one_kernel():
    made = planned("""
        optimizer one() {
          clip value(1.0)
          precondition adam()
          decay weights(0.1) where ndim >= 2
          tune step 0.1
          decay weights(0.01)
        }
    """)
    assert len(kernels(made.step)) == 1


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return g / norm(g)", 1),
        ("u = sin(g)  return u / norm(u)", 2),
        ("u = sin(g)  v = u / norm(u)  return v / norm(cos(v))", 3),
        ("return hvp(sin(g)) + cos(w)", 2),
    ],
)
def test_a_reduction_or_an_oracle_of_derived_fields_begins_a_phase(body, count):
    assert len(kernels(direction(body).step)) == count


def test_work_on_weights_and_states_waits_for_its_use():
    made = direction("late = exp(w) * sin(w)  u = g / norm(sin(g))  return u + late")
    first, last = kernels(made.step)
    names = {made.nodes[i].name for i in first.nodes}
    assert "late" not in names
    assert "late" in {made.nodes[i].name for i in last.nodes}


@pytest.mark.parametrize("view", ["", 'view "a b -> b a" '])
def test_each_kernel_asks_for_the_lengths_that_it_needs(view):
    text = f"""
    rule precondition own() {{
      when g is [rows, cols] {{
        state L = zeros(rows, rows)
        u = g / rows
        every 2 {{
          L <- L + u @ u.T * cols / norm(u)
        }}
        return rows * cols / norm(L) * g
      }} else {{
        return g
      }}
    }}
    optimizer one() {{
      group flat where ndim == 2 {view}{{ precondition own() }}
      group rest {{ precondition own() }}
      tune step 0.1
    }}
    """
    made = planned(text)
    every = [kernel for block in blocks(made) for kernel in kernels(block)]
    lengths = {i for i, node in made.nodes.items() if node.op == "extent"}
    assert len([i for kernel in every for i in kernel.nodes if i in lengths]) > len(lengths)
    for kernel in every:
        assert not lengths & {*kernel.fields, *kernel.results}
    agree(text, steps=3)


def test_a_length_that_is_reduced_is_a_field_like_others():
    agree("""
    rule precondition own() {
      when g is [rows, cols] { return g / sum(rows) } else { return g }
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """)


def test_a_probe_that_is_not_due_computes_nothing_before_its_branch():
    made = planned("""
        optimizer one() { tune step 0.1  observe norm(sin(g) * cos(w)) as probe every 10 }
    """)
    ops = {made.nodes[i].op for k in kernels(made.step) for i in k.nodes}
    assert not ops & {"sin", "cos"}


def test_norms_of_norms_of_derived_fields_run_as_the_graph_says():
    agree("""
        rule precondition own() {
          a = g / norm(g)
          b = a + w / norm(a + w)
          c = b * norm(b - a) + a / (1 + norm(b + a, per = tensor))
          state m = zeros(g)
          m <- 0.5 * m + c / norm(c - m)
          return m / norm(hvp(m) + grad(w + m))
        }
        optimizer one() { precondition own()  tune step 0.1 / norm(u - g) }
    """)
