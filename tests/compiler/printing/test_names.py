"""Names for values, and when a name may be bound again."""

import ast
import keyword

from agreement import agree, graph_of, print_program
from hypothesis import given
from hypothesis import strategies as st

from optc.compiler.graph import walk
from optc.compiler.printing.hints import LOCAL, RESERVED, hint, identifier
from optc.compiler.printing.statements import Inner, Names, Statement


def hints(value):
    graph = graph_of(
        f"rule precondition own() {{ return {value} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )
    nodes = {n.id: n for n in walk(graph.step)}
    return {hint(n, nodes) for n in nodes.values()}


def test_a_value_without_a_name_is_called_after_its_formula():
    found = hints("g * (1 - norm(w)) / max(norm(g), 2) + hvp(g)")
    assert {"w_norm", "one_minus_w_norm", "at_w"} <= found


def test_a_formula_that_is_too_long_is_called_after_its_op():
    found = hints("g * ((norm(w) - norm(g)) - (norm(g) - norm(w)) - norm(w - g - w))")
    assert "difference" in found


@given(st.sampled_from(sorted(RESERVED)))
def test_what_is_printed_is_never_a_reserved_word(name):
    assert identifier(name, RESERVED) not in RESERVED
    assert not keyword.iskeyword(identifier(name, LOCAL))


def names(statements, end, words, given_=()):
    made = Names(words, set())
    made.assign(statements, end, given_)
    return made


def test_a_name_is_bound_again_only_where_the_old_value_is_dead():
    words = dict.fromkeys((1, 2, 3), "x")
    chain = [Statement((1,), set()), Statement((2,), {1}), Statement((3,), {2})]
    made = names(chain, {3}, words)
    assert [made(i) for i in (1, 2, 3)] == ["x", "x", "x"]
    both = [Statement((1,), set()), Statement((2,), {1}), Statement((3,), {1, 2})]
    made = names(both, {3}, words)
    assert [made(i) for i in (1, 2, 3)] == ["x", "x_2", "x"]


def test_a_nested_function_binds_no_name_that_it_uses_from_outside():
    words = {1: "x", 2: "x", 3: "y"}
    inner = Inner("do", (), [Statement((2,), {1})], (2,), {1})
    made = names([Statement((1,), set()), Statement((3,), {1}, inner=[inner])], {3}, words)
    assert made(2) == "x_2"


def test_a_side_of_a_static_choice_binds_no_name_that_is_still_needed():
    words = {1: "x", 2: "x", 3: "y", 4: "z"}
    inner = Inner("do", (), [Statement((2,), set())], (2,), set(), inline=True)
    choice = Statement((3,), set(), inner=[inner])
    made = names([Statement((1,), set()), choice, Statement((4,), {1, 3})], {4}, words)
    assert made(2) == "x_2"


# Each of these was printed wrong once.


def test_static_choices_inside_branches_and_with_an_empty_side():
    agree(
        """
        rule precondition own(flag: bool) {
          state n = norm(w)
          var a = 1
          var b = 2
          if norm(g) > 0.2 { when flag { n <- 2 } else { state m = g } }
          when flag { state k = w } else { n <- n + 1 }
          when flag { a <- b  b <- a + norm(g) } else { b <- a  a <- n }
          return g * n * a + b * w
        }
        optimizer one(flag: bool = true) { precondition own(flag)  tune step 0.1 }
        """,
        steps=3,
        flag=False,
    )


def test_values_that_are_exchanged_are_exchanged():
    text = """
    rule precondition own(flag: bool) {
      state a = 1
      state b = 2
      var x = a
      var y = b
      when flag { x <- b  y <- a }
      if t > 1 { a <- y  b <- x }
      repeat 3 { var_ = x  x <- y  y <- var_ }
      return g * x + w * y * a
    }
    optimizer one(flag: bool = true) { precondition own(flag)  tune step 0.01 }
    """
    for flag in (True, False):
        agree(text, steps=3, flag=flag)


def test_two_sides_of_a_choice_by_tensor_that_were_made_for_all_tensors():
    for body in (
        "x = 2 * g  y = 3 * g  when ndim >= 2 { return x } else { return y }",
        "x = 2 * g  y = sin(x)  z = cos(x)  when ndim >= 2 { return y } else { return z }",
    ):
        agree(
            f"""
            rule precondition own() {{ {body} }}
            optimizer one() {{ precondition own()  tune step 0.1 }}
        """,
            steps=2,
        )


def test_sets_of_tensors_have_names_of_their_own():
    text = """
    rule precondition own() {
      when ndim == 1 { return g } else when ndim == 2 { return 2 * g } else { return 3 * g }
    }
    optimizer one() {
      clip value(1.0) where size > 3
      clip value(0.1) where size > 4
      precondition own()
      tune step 0.1
    }
    """
    module = print_program(graph_of(text)).source
    heads = [row for row in module.splitlines() if row.startswith("def ")]
    assert len(heads) == len(set(heads))


NESTED = """
rule precondition own() {
  var u = g
  repeat 2 {
    repeat 3 {
      repeat 4 {
        u <- u / 2
      }
    }
  }
  body_precondition = norm(u)
  return body_precondition * u + body_precondition^2 * g
}
optimizer one() { precondition own() tune step 0.1 }
"""


def test_a_nested_function_is_called_neither_as_one_around_it_nor_as_a_variable():
    module = ast.parse(print_program(graph_of(NESTED)).source)

    def look(node, around):
        inside = around
        if isinstance(node, ast.FunctionDef):
            assert node.name not in around
            inside = around | {node.name}
        for child in ast.iter_child_nodes(node):
            look(child, inside)

    look(module, frozenset())
    inner = {x.name for x in ast.walk(module) if isinstance(x, ast.FunctionDef)}
    inner = {name for name in inner if name.startswith("body_")}
    assert len(inner) == 3
    bound = (
        x for x in ast.walk(module) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
    )
    assert inner.isdisjoint(name.id for name in bound)
