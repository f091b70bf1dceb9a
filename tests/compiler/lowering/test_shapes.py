"""Choices by the shape of a field, its dimensions as numbers, and one number for each axis."""

import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, graph_of, mistakes
from tried import bowl

SCALED = """
rule precondition scaled() {
  when g is [rows, cols] {
    return sqrt(max(1, rows / cols)) * g
  } else when g is [.., k, n] {
    when n >= 3 and ndim < 4 { return k * g } else { return n * g }
  } else {
    return g
  }
}
optimizer one() { precondition scaled()  tune step 0.1 }
"""


def test_dimensions_are_numbers_of_each_tensor():
    def update(t, w, g):
        match w.shape:
            case (rows, cols):
                scale = np.sqrt(max(1, rows / cols))
            case (*_, k, n):
                scale = k if n >= 3 and w.ndim < 4 else n
            case _:
                scale = 1
        return w - 0.1 * scale * g

    assert_weights(agree(SCALED, bowl(), steps=2), by_hand(bowl(), update)[:2])


OF_PARTS = """
rule precondition own() {
  when g is [.., rows, cols] {
    R = g @ g.T
    u = norm(R, per = row) * g
    v = norm(g, per = column) / (1 + norm(R, per = row))
    return u @ (g.T @ g) + v * (norm(R, per = row) + norm(g, per = row))
  } else {
    return g
  }
}
optimizer one() { precondition own()  tune step 0.1 }
"""


def test_numbers_of_rows_and_columns_broadcast_against_what_has_as_many():
    def update(t, w, g):
        if g.ndim < 2:
            return w - 0.1 * g
        r = g @ np.swapaxes(g, -1, -2)
        rows, own = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (r, g))
        v = np.linalg.norm(g, axis=-2, keepdims=True) / (1 + rows)
        return w - 0.1 * (rows * g @ np.swapaxes(g, -1, -2) @ g + v * (rows + own))

    assert_weights(agree(OF_PARTS, bowl(), steps=2), by_hand(bowl(), update, steps=2))


SM3 = """
rule precondition sm3(eps = 1e-8) {
  when g is [rows, cols] {
    state row = zeros(max(g, per = 0))
    tallest = max(g, per = 1)
    state col = zeros(tallest)
    nu = min(row, col) + g^2
    row <- max(nu, per = 0)
    col <- max(nu, per = 1)
    return g / sqrt(nu + eps)
  } else {
    state nu = zeros(g)
    nu <- nu + g^2
    return g / sqrt(nu + eps)
  }
}
optimizer one() { precondition sm3()  tune step 0.1 }
"""


def test_reductions_per_axis_keep_one_number_for_each_place():
    kept = {}

    def update(t, w, g):
        if w.ndim == 2:
            row, col = kept.get(w.shape, (np.zeros((w.shape[0], 1)), np.zeros((1, w.shape[1]))))
            nu = np.minimum(row, col) + g**2
            kept[w.shape] = nu.max(1, keepdims=True), nu.max(0, keepdims=True)
        else:
            nu = kept[w.shape] = kept.get(w.shape, 0) + g**2
        return w - 0.1 * g / np.sqrt(nu + 1e-8)

    trace = agree(SM3, bowl())
    assert_weights(trace, by_hand(bowl(), update))
    shapes = [None if x is None else x.shape for x in trace.last.slots["precondition", "row"]]
    assert shapes == [None, None, (1, 1), None, (3, 1)]


def test_a_side_that_refuses_makes_the_other_sure_of_its_axes():
    text = """
    rule precondition one() {
      when ndim < 2 { error "not a matrix" } else { return g / max(norm(g, per = 1), 1e-9) }
    }
    optimizer o() { group a where ndim == 2 { precondition one()  tune step 1 } }
    """
    graph_of(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return sum(g, per = 0)", "no-axis: `sum` per axis 0, where a tensor may have no axes"),
        (
            "when g is [n] { return g / sum(g, per = 1) } else { return g }",
            "no-axis: `sum` per axis 1, where a tensor may have one axis",
        ),
        (
            "when g is [.., n] { return sum(g, per = -1) } else { return g }",
            "type-mismatch: `per` takes one of tensor, unit, row, column, matrix, or an axis: "
            "0, 1, ...",
        ),
        (
            "x = norm(g)  when x is [rows, cols] { return g } else { return g / x }",
            "type-mismatch: only a field has a shape; this is a scalar",
        ),
        (
            "when g is [n, n] { return g * n } else { return g }",
            "duplicate-name: `n` already has a meaning here",
        ),
        (
            "when g is [a, b, c] { when a > 2 { return b * c * g } else { return g } }"
            " else { return g }",
            "type-mismatch: a condition is needed; this is a field of conditions",
        ),
        (
            "when g is [a, b] { return norm(g @ g.T, per = row) * g @ g } else { return g }",
            "shape-mismatch: `@` cannot multiply [a, b] by [a, b]",
        ),
        (
            "when g is [a, b] { r = norm(g, per = row) return where(r > 1, g @ g.T, g) }"
            " else { return g }",
            "shape-mismatch: `where` takes equal shapes; these are [a, a] and [a, b]",
        ),
        (
            "when g is [a, b] { return g.T } else { return g }",
            "shape-mismatch: both sides of `when` return equal shapes; these are [b, a] and [a, b]",
        ),
        (
            "when g is [a, b] { return norm(arange(a)) * g } else { return g }",
            "type-mismatch: `norm` takes numbers; this is a vector of indices",
        ),
    ],
)
def test_a_wrong_shape_is_a_mistake(body, message):
    found = mistakes(
        f"rule precondition p() {{ {body} }} optimizer o() {{ precondition p() tune step 1 }}"
    )
    assert message in found


def test_a_parameter_may_have_the_name_of_a_dimension():
    text = """
    rule precondition p(rows: int = 3) { when rows > 2 { return 2 * g } else { return g } }
    optimizer one() { precondition p()  tune step 0.1 }
    """
    assert_weights(agree(text, bowl(), steps=1), by_hand(bowl(), lambda t, w, g: w - 0.2 * g)[:1])


def test_a_shape_that_the_group_has_leaves_no_choice():
    """In a group for matrices there is no other side, and in the rest no first: nothing is kept."""
    spec = """
optimizer one() {
  group matrices where ndim == 2 { precondition two_sided()  tune step 0.1 }
  group rest { precondition two_sided()  tune step 0.1 }
}
rule precondition two_sided() {
  when g is [rows, cols] {
    state matrix = zeros(g)
    matrix <- matrix + rows * g
    return matrix
  } else {
    state other = zeros(g)
    other <- other + g
    return other
  }
}
"""
    graph = graph_of(spec)
    kept = {(slot.stage, slot.name) for slot in graph.slots}
    assert kept == {("matrices.precondition", "matrix"), ("rest.precondition", "other")}
    agree(spec, bowl(), steps=2)


def test_a_function_that_nothing_calls_may_be_for_matrices():
    function = """
func first_row(a) {
  probe = normal(w)
  return take(probe @ probe.T @ a, arange(1), axis = 0)
}
"""
    assert mistakes(f"{function}optimizer one() {{ tune step 0.1 }}") == []
    called = "rule precondition own() { return norm(first_row(g @ g.T)) * g }"
    found = mistakes(f"{function}{called}\noptimizer one() {{ precondition own()  tune step 1 }}")
    assert {each.partition(":")[0] for each in found} == {"no-matrix"}
