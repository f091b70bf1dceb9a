"""Normal forms of matrix algebra: what is one map has one, and what has one is one map."""

import pytest
from agreement import graph_of
from hypothesis import HealthCheck, Phase, given, settings
from specs_at_random import specs_of_matrices

from optc.compiler.meaning.normal import normal_form, same_map
from optc.compiler.passes import PIPELINE
from optc.compiler.records import Term


def own(body: str):
    """The graph of an optimizer whose rule has this body for matrices."""
    return graph_of(f"""
    rule precondition own(c) {{
      when g is [m, n] {{ {body} }} else {{ return g }}
    }}
    optimizer one(lr = 0.1, c = 0.5 in (0, inf)) {{ precondition own(c)  tune step lr }}
    """)


def agree(left: str, right: str) -> bool:
    """Whether digests say that they are one map; the test of a pair that nobody wrote agrees."""
    equal = normal_form(own(left)).digest == normal_form(own(right)).digest
    assert same_map(own(left), own(right)) == equal
    return equal


SAME = {
    "brackets": ("return g @ (g.T @ w)", "return (g @ g.T) @ w"),
    "a sum on the left": ("return (g @ w.T + eye(m)) @ g", "return g @ (w.T @ g) + g"),
    "a sum on the right": ("return g @ w.T @ (g - w)", "return g @ w.T @ g - g @ w.T @ w"),
    "scalars": ("return c * g @ (2 * w.T) @ g", "return g @ w.T @ g * (c + c)"),
    "the transpose of a product": ("return (g @ w.T).T @ g", "return w @ g.T @ g"),
    "the transpose of a transpose": ("return g.T.T", "return g"),
    "the transpose of a sum": (
        "return ((c * g + w).T).T @ g.T @ g",
        "return c * g @ g.T @ g + w @ g.T @ g",
    ),
    "the identity": ("return eye(m) @ g @ eye(n)", "return g"),
    "the transpose of the identity": ("return (2 * eye(m)).T @ g", "return 2 * g"),
    "a polynomial": (
        "a = g @ g.T return 3 * g + (2 * a + c * a @ a) @ g",
        "a = g.T @ g return g @ (3 * eye(n) + 2 * a + a @ (c * a))",
    ),
    "a trace of a product": ("return trace(g @ w.T) * g", "return trace(g.T @ w) * g"),
    "a trace is linear": (
        "return trace(c * g @ g.T + eye(m)) * g",
        "return (trace(eye(m)) + c * trace(g @ g.T)) * g",
    ),
    "a diagonal of a transpose": (
        "return diag(diag(g @ w.T)) @ g",
        "return diag(diag(w @ g.T)) @ g",
    ),
    "a symmetric root": (
        "p = inverse_root(g @ g.T, 4) return p.T @ g",
        "return inverse_root(g @ g.T, 4) @ g",
    ),
    "a root of a multiple": (
        "return inverse_root(c * (g @ g.T), 2) @ g",
        "return inverse_root(g @ g.T, 2) @ g / sqrt(c)",
    ),
    "a basis of a multiple": (
        "return eigenbasis(c * g @ g.T) @ g",
        "return eigenbasis(g @ g.T) @ g",
    ),
    "a polar factor of a multiple": ("return polar(g / c)", "return polar(g)"),
    "a solution of a sum": (
        "a = g @ g.T return solve(a, c * g + w)",
        "return solve(g @ g.T, g) * c + solve(g @ g.T, w)",
    ),
    "names of states": (
        "state L = zeros(m, m) L <- c * L + g @ g.T return L @ g",
        "state other = 0 * eye(m) other <- g @ g.T + other * c return other @ g",
    ),
}


@pytest.mark.parametrize("bodies", SAME.values(), ids=SAME)
def test_one_map_has_one_normal_form(bodies):
    assert agree(*bodies)


NOT_SAME = {
    "the order of a product": ("return g @ (g.T @ w)", "return w @ (g.T @ g)"),
    "a transpose": ("return g @ g.T @ w", "return g @ w.T @ g"),
    "products of elements": ("return eye(m) * (g @ g.T) @ w", "return g @ g.T @ w"),
    "what is not symmetric": ("return (g @ w.T).T @ g", "return g @ w.T @ g"),
    "another exponent": (
        "return inverse_root(g @ g.T, 2) @ g",
        "return inverse_root(g @ g.T, 4) @ g",
    ),
    "a negative multiple": ("return polar(-g)", "return polar(g)"),
    "what stands otherwise": (
        "return cholesky(g @ g.T) @ g",
        "return cholesky(g @ g.T, otherwise = eye(m)) @ g",
    ),
    "halves": ("return triu(g @ g.T) @ g", "return tril(g @ g.T) @ g"),
    "the side of a matrix": ("return trace(eye(m)) * g", "return trace(eye(n)) * g"),
    "sides of ones": ("return ones(m, m) @ g", "return g @ ones(n, n)"),
    "the order of what is taken": (
        "return take(g, argsort(diag(g @ g.T)), axis = 0)",
        "return take(g, argsort(diag(g @ g.T), descending = true), axis = 0)",
    ),
    "the sum of a matrix": ("return sum(ones(m, m)) * g", "return sum(ones(n, n)) * g"),
    "the shape of what numbers broadcast to": (
        "a = norm(g, per = matrix) + trace(g @ g.T) x = a + zeros(m, m) return x @ x.T @ g",
        "a = norm(g, per = matrix) + trace(g @ g.T) x = a + zeros(m, n) return x @ x.T @ g",
    ),
}


@pytest.mark.parametrize("bodies", NOT_SAME.values(), ids=NOT_SAME)
def test_what_is_not_one_map_has_two_normal_forms(bodies):
    assert not agree(*bodies)


@pytest.mark.parametrize(
    "body",
    [
        "state L = zeros(m, m) L <- L + eye(m) return g * norm(L @ L)",
        "state v = zeros(m) v <- v + 1 return g * norm(v)",
        "var x = ones(m, m) repeat 5 { x <- tanh(x @ x) } return g * norm(x)",
        "return g * sum(ones(m, 2) @ ones(2, m))",
    ],
)
def test_a_matrix_of_lengths_is_as_large_as_its_arrangement_says(body):
    def seen(view: str):
        return graph_of(f"""
        rule precondition own() {{ when g is [.., m, n] {{ {body} }} else {{ return g }} }}
        optimizer one(k: int = 2) {{
          group matrices where ndim == 2 {view} {{ precondition own()  tune step 0.1 }}
          group rest {{ tune step 0.1 }}
        }}
        """)

    views = ("", 'view "a b -> b a"', "blocks of 2", "blocks of k")
    assert len({normal_form(seen(view)).digest for view in views}) == len(views)


def test_lengths_are_compared_by_what_they_are():
    def wide(length: str, default: int = 3):
        return graph_of(f"""
        rule precondition own(k: int) {{
          when g is [m, n] {{ return ones(m, k) @ ones(k, n) }} else {{ return g }}
        }}
        optimizer one(k: int = {default}) {{ precondition own({length})  tune step 0.1 }}
        """)

    three, five = (Term("literal", (number,)) for number in (3, 5))
    assert same_map(wide("3"), wide("k"), {"k": three})
    assert not same_map(wide("3"), wide("k"), {"k": five})
    assert same_map(wide("k"), wide("k", 5))


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(specs_of_matrices())
def test_passes_keep_the_normal_form_of_random_matrices(text):
    graph = graph_of(text)
    before = normal_form(graph)
    for run in PIPELINE:
        graph = run(graph)
    assert normal_form(graph) == before
