"""What counts only where a guard says yes reads what it keeps."""

import pytest
from agreement import assert_same, graph_of, interpret
from tried import spiked

from optc.compiler.graph import index
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.held import held
from optc.compiler.verify import verify

RULES = """
rule guard settled() { return isfinite(norm(w_next)) and isfinite(loss) }
rule precondition sign_of_mean() { state m = zeros(w)  m <- 0.9 * m + g  return sign(m) }
rule precondition own() {
  state a = zeros(w)
  state b = ones(w)
  c = norm(g) < 1e3
  a <- where(c, a + g, 0)
  b <- where(c, b + a, b)
  return where(t > 2, a, b)
}
"""

CASES = {
    # stages: how many values read a state that is kept, where they read what may not count
    "guard finite() precondition adam() tune step 0.1": 2,
    "guard finite() precondition momentum() tune step 0.1 average ema(0.9)": 2,
    "guard finite() precondition sign_of_mean() tune step 0.1": 1,
    "accumulate 2 guard finite() precondition adam() tune step 0.1": 2,
    # The guard asks the weights that the moments lead to.
    "guard settled() precondition adam() tune step 0.1": 0,
    # What is observed is observed in a step that is held back too.
    "guard finite() precondition adam() tune step 0.1 observe norm(u) as size": 0,
    "precondition adam() tune step 0.1": 0,
    # A rule may choose by conditions of its own.
    "guard finite() precondition own() tune step 0.1": 2,
}


@pytest.mark.parametrize("stages", CASES)
def test_what_counts_is_the_same_to_the_last_bit(stages):
    plain = cse(dead_code(graph_of(f"{RULES} optimizer one() {{ {stages} }}")))
    after = verify(held(plain))
    for model in (None, spiked()):
        one, other = (interpret(graph, model, steps=4) for graph in (after, plain))
        assert_same(one, other, rtol=0, atol=0)
    old, new = index(plain), index(after)
    assert old.keys() == new.keys()
    assert sum(node.inputs != old[id].inputs for id, node in new.items()) == CASES[stages]
    assert held(after) == after
