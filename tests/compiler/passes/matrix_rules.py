"""Rules on matrices, before and after a pass."""

from agreement import assert_same, graph_of, interpret
from tried import bowl

from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.verify import verify

ROUNDING = 1e-13
"""Sums of at most five products, a few scalars."""


def source(result, *lines):
    """A rule of these lines that returns this of a matrix."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"""
rule precondition own(c = 0.3) {{
  when g is [rows, cols] {{
{body}
    return {result}
  }} else {{
    return g
  }}
}}
optimizer one(lr = 0.1) {{
  precondition own()
  tune step lr
}}
"""


def before_and_after(run, text):
    """The graphs before and after a pass, which keeps what is computed and leaves no more to do."""
    graph = verify(dead_code(cse(graph_of(text))))
    after = verify(run(graph), lean=True)
    assert verify(run(after)) == after
    one, other = (interpret(g, bowl(), 2) for g in (graph, after))
    assert_same(other, one, rtol=ROUNDING, atol=ROUNDING)
    return graph, after
