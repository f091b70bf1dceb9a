"""What is free beside its use has a value for each use."""

from collections import Counter

from agreement import assert_same, graph_of, interpret

from optc.compiler.graph import index
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.spread import spread
from optc.compiler.verify import verify

SPEC = """
rule precondition own() {
  when g is [rows, cols] {
    state L = zeros(rows, rows)
    turned = w.T
    unit = ones(rows, rows)
    L <- 0.5 * L + g @ g.T + eye(rows)
    if t > 1 { L <- L + 0.1 * (g @ turned + w @ g.T) + eye(rows) + unit }
    return solve(L, g + turned.T) @ (g.T @ g) + unit @ g
  } else {
    return g
  }
}
optimizer one() { precondition own()  tune step 0.1 }
"""


def test_each_use_has_its_own_and_a_name_is_kept():
    merged = dead_code(cse(graph_of(SPEC)))
    nodes = index(verify(spread(merged)))
    uses = Counter(source for node in nodes.values() for source in set(node.inputs))
    free = [n for n in nodes.values() if n.op in ("transpose", "eye")]
    assert len(free) == 8
    assert all(uses[node.id] == 1 for node in free)
    (unit,) = (node for node in nodes.values() if node.name == "unit")
    assert uses[unit.id] == 2
    assert spread(cse(spread(merged))) == spread(merged)


def test_every_bit_is_kept():
    merged = dead_code(cse(graph_of(SPEC)))
    assert_same(interpret(spread(merged)), interpret(merged), rtol=0, atol=0)
