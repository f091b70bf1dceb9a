"""What Shampoo, its square and its grafts are in closed form, by the interpreter in float64.

A root of a factor with the condition c errs by c^exponent roundings; where a factor lacks rank, its
least eigenvalues are taken for 2^-52 of the greatest, and what is multiplied by them is zero but
for rounding: (2^-52)^(1 - exponent). With exponent 1/4 that leaves 2e-12 where one
factor lacks rank, and 2e-8 where both do.
"""

import numpy as np
import pytest
from interpreted import Given, Run, signal, stages, steps

TIGHT, SINGULAR, BOTH_SINGULAR = 1e-11, 1e-10, 1e-7


def gradients(*shape, count=1, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape))


def rotation(n, seed):
    return np.linalg.qr(gradients(n, n, seed=seed)[0])[0]


def direction(rule, *given):
    """What a rule makes of one matrix after another: the last."""
    run = Run(stages(f"precondition {rule}", "..."), [np.zeros_like(given[0])])
    for g in given:
        before = run.weights[0]
        run.step([g])
    return before - run.weights[0]


def within(found, expected, tolerance):
    return np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-300)


# ---- one step


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (1, 6)])
def test_the_first_step_has_the_singular_vectors_and_singular_values_of_one(shape):
    (g,) = gradients(*shape)
    u, _, v = np.linalg.svd(g, full_matrices=False)
    assert within(direction("shampoo(eps = 0)", g), u @ v, SINGULAR)


def test_with_exponent_one_half_singular_values_are_inverted():
    (g,) = gradients(4, 4)
    u, s, v = np.linalg.svd(g)
    assert within(direction("shampoo(eps = 0, exponent = 0.5)", g), u / s @ v, TIGHT)


def test_a_gradient_of_rank_one_keeps_its_direction():
    g = np.outer([1.0, -2.0, 0.5], [3.0, 1.0])
    assert within(direction("shampoo(eps = 0)", g), g / np.linalg.norm(g), BOTH_SINGULAR)


@pytest.mark.parametrize("size", [1e-100, 1.0, 1e100])
def test_the_squares_step_is_that_of_its_svd_and_does_not_grow_with_the_gradient(size):
    (g,) = gradients(4, 4)
    u, s, v = np.linalg.svd(g)
    expected = np.linalg.norm(g) * (u / s @ v)
    assert within(direction("shampoo_squared(eps = 0)", size * g), expected, TIGHT)
    damped = direction("shampoo_squared(eps = 0.1)", g)
    assert within(direction("shampoo_squared(eps = 0.1)", size * g), damped, TIGHT)


def test_the_released_trace_scaling_is_the_squares_step():
    given = gradients(3, 3, count=4)
    released = "distributed_shampoo(0, 0.95, 0, exponent = 0.5, trace_scaling = true)"
    squared = direction("shampoo_squared(0.95, 0)", *given)
    assert within(direction(released, *given), squared, TIGHT)


# ---- streams


def test_of_diagonal_matrices_it_is_adagrad():
    given = [np.diag(d) for d in gradients(4, count=5)]
    total = np.sqrt(sum(g @ g for g in given)).diagonal()
    assert within(
        direction("shampoo(eps = 0)", *given), np.diag(given[-1].diagonal() / total), TIGHT
    )


@pytest.mark.parametrize(
    "rule",
    [
        "shampoo(0.1)",
        "shampoo_squared(eps = 0.1)",
        "shampoo_capped(3, eps = 0.1)",
        "shampoo_one_sided(eps = 0.1)",
        'distributed_shampoo(b2 = 0.9, eps = 0.1, graft = "sgd")',
    ],
)
def test_rotated_gradients_have_rotated_steps(rule):
    given = gradients(3, 5, count=4)
    left, right = rotation(3, 1), rotation(5, 2)
    rotated = direction(rule, *(left @ g @ right for g in given))
    assert within(rotated, left @ direction(rule, *given) @ right, TIGHT)


def test_a_transposed_matrix_has_the_transposed_step():
    given = gradients(3, 5, count=4)
    for rule in (
        "shampoo()",
        "shampoo_squared(eps = 0.1)",
        "shampoo_adam(damping = 0.1, refresh = 2)",
        "shampoo_one_sided(eps = 0.1)",
        "shampoo_capped(4, eps = 0.1)",
        "shampoo_capped(5, eps = 0.1)",
    ):
        transposed = direction(rule, *(g.T for g in given))
        assert within(transposed, direction(rule, *given).T, TIGHT)


@pytest.mark.parametrize(
    ("rule", "exponent"),
    [
        ("shampoo_one_sided(eps = 0.1)", 0.5),
        ("shampoo_capped(4, eps = 0.1)", 0.5),
        ("shampoo_capped(5, eps = 0.1)", 0.25),
        ("shampoo_squared(eps = 0.1)", 0.5),
        ("shampoo_adam(b1 = 0, damping = 0.1)", 0.25),
    ],
)
def test_damping_counts_in_mean_eigenvalues(rule, exponent):
    """The first step, up to its length: its factors are g g' and g' g, debiased."""
    (g,) = gradients(3, 5)

    def root(a):
        values, vectors = np.linalg.eigh(a + 0.1 * np.trace(a) / len(a) * np.eye(len(a)))
        return vectors * values**-exponent @ vectors.T

    expected = root(g @ g.T) @ g
    if "one_sided" not in rule and "(4" not in rule:
        expected = expected @ root(g.T @ g)
    found = direction(rule, g)
    assert within(found / np.linalg.norm(found), expected / np.linalg.norm(expected), TIGHT)


def test_the_factors_are_the_power_iteration_of_the_second_moment():
    """For row-major vec and H = mean vec(g) vec(g)', its rearrangement takes I to L, and I to R."""
    given = gradients(4, 3, count=6)
    run = Run(stages("precondition shampoo_squared(0.8)", "..."), [np.zeros((4, 3))])
    moment = np.zeros((12, 12))
    for g in given:
        run.step([g])
        moment = 0.8 * moment + 0.2 * np.outer(g.ravel(), g.ravel())
    rearranged = moment.reshape(4, 3, 4, 3).transpose(0, 2, 1, 3).reshape(16, 9)
    left, right = run.slot("L")[0], run.slot("R")[0]
    assert within(rearranged @ np.eye(3).ravel(), left.ravel(), TIGHT)
    assert within(rearranged.T @ np.eye(4).ravel(), right.ravel(), TIGHT)
    assert np.isclose(np.trace(left), np.trace(moment), rtol=TIGHT)

    def cosine(kronecker):
        return np.sum(kronecker * moment) / np.linalg.norm(kronecker) / np.linalg.norm(moment)

    best = np.linalg.svd(rearranged)[1][0] / np.linalg.norm(rearranged)
    assert cosine(np.kron(left, right)) <= best + TIGHT


def test_of_a_kronecker_product_the_square_finds_it():
    """H = A (x) B is L (x) R / tr L, so that its root divides exactly."""
    a, b = (x @ x.T for x in (gradients(3, 3, seed=4)[0], gradients(2, 2, seed=5)[0]))
    roots = [np.linalg.cholesky(x) for x in (a, b)]
    columns = np.kron(*roots).T
    given = [np.sqrt(6) * column.reshape(3, 2) for column in columns]
    left = sum(g @ g.T for g in given) / 6
    right = sum(g.T @ g for g in given) / 6
    assert within(np.kron(left, right) / np.trace(left), np.kron(a, b), TIGHT)


def test_roots_are_those_of_the_last_renewal():
    given = gradients(3, 3, count=5)
    stale = direction("shampoo(0.1, refresh = 4)", *given)
    fresh = Run(stages("precondition shampoo(0.1)", "..."), [np.zeros((3, 3))])
    for g in given:
        fresh.step([g])
    assert within(stale, direction("shampoo(0.1)", *given), TIGHT), "renewed at the fifth step"
    four = direction("shampoo(0.1, refresh = 4)", *given[:4])
    one = given[0]
    left, right = one @ one.T + 0.1 * np.eye(3), one.T @ one + 0.1 * np.eye(3)
    expected = root(left) @ given[3] @ root(right)
    assert within(four, expected, TIGHT), "those of the first step"


def root(a):
    values, vectors = np.linalg.eigh(a)
    return vectors * values**-0.25 @ vectors.T


# ---- grafts


GRAFTS = {
    "sgd": "identity()",
    "sqrt_n": "sign()",
    "adagrad": "adagrad_torch(eps = 0.1)",
    "rmsprop": "rmsprop_torch(0.9, 0.1)",
    "adam": "adam(0, 0.9, 0.1)",
}


@pytest.mark.parametrize("graft", GRAFTS)
def test_a_step_has_the_length_of_its_graft_and_is_the_graft_before_it_starts(graft):
    given = gradients(3, 4, count=3)
    rule = (
        f'distributed_shampoo(0, graft = "{graft}", graft_b2 = 0.9, graft_eps = 0.1, start = START)'
    )
    alone = direction(GRAFTS[graft], *given)
    grafted = direction(rule.replace("START", "1"), *given)
    assert np.isclose(np.linalg.norm(grafted), np.linalg.norm(alone), rtol=1e-14)
    assert within(direction(rule.replace("START", "4"), *given), alone, 1e-14)
    plain = direction("distributed_shampoo(0)", *given)
    parallel = np.sum(plain * grafted) / np.linalg.norm(plain) / np.linalg.norm(grafted)
    assert np.isclose(parallel, 1, rtol=TIGHT)


def test_normalized_grafts_do_not_know_the_size_of_the_gradient():
    given = gradients(3, 4, count=3)
    for graft in ("rmsprop_normalized", "adagrad_normalized"):
        rule = f'scalable_shampoo(graft = "{graft}", start = 9)'
        assert within(direction(rule, *(1e3 * given)), direction(rule, *given), TIGHT)


def test_shampoo_adam_is_adams_length_along_the_momentum_between_its_roots():
    """By hand, on two matrices of one tensor, whose only turns are the odd steps."""
    given = gradients(2, 3, 2, count=4)
    mu, nu, left, right = np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), 0.0, 0.0
    for t, g in enumerate(given, 1):
        mu, nu = 0.8 * mu + 0.2 * g, 0.9 * nu + 0.1 * g**2
        left = 0.9 * left + 0.1 * g @ g.swapaxes(1, 2)
        right = 0.9 * right + 0.1 * g.swapaxes(1, 2) @ g
        if t % 2:
            roots = [
                [root((a + 0.1 * np.trace(a) / len(a) * np.eye(len(a))) / (1 - 0.9**t)) for a in s]
                for s in (left, right)
            ]
        adam = mu / (1 - 0.8**t) / (np.sqrt(nu / (1 - 0.9**t)) + 1e-3)
        along = np.array(roots[0]) @ mu @ np.array(roots[1])
        lengths = [np.linalg.norm(x, axis=(1, 2), keepdims=True) for x in (adam, along)]
        expected = lengths[0] / lengths[1] * along
    found = direction("shampoo_adam(0.8, 0.9, 1e-3, 0.1, refresh = 2)", *given)
    assert within(found, expected, TIGHT)


def test_shampoo_capped_adam_has_adams_length():
    given = gradients(3, 4, count=3)
    adam = direction("adam(0.8, 0.9)", *given)
    capped = direction("shampoo_capped(3, 0.9)", *given)
    expected = np.linalg.norm(adam) / np.linalg.norm(capped) * capped
    assert within(direction("shampoo_capped_adam(3, 0.8, 0.9)", *given), expected, TIGHT)


class Drawn(Given):
    """Four examples, and a gradient under labels that are drawn."""

    def __init__(self, gradient, drawn):
        super().__init__([gradient])
        self.drawn = drawn

    def sampled_outputs_grad(self, at, site, rounds):
        return self.drawn

    def pullback(self, at, cotangent):
        return [cotangent]

    def per_example_grad(self, at):
        return [None] * 4


def test_shampoo_fisher_divides_by_the_moment_of_drawn_gradients():
    """With two labels for each of four examples a mean gradient is taken times the root of 8."""
    g, drawn = gradients(3, 3, count=2)
    run = Run(stages("precondition shampoo_fisher(eps = 0.1, labels = 2)", "..."), [0 * g])
    run.ask(Drawn(g, drawn))
    sides = (drawn @ drawn.T, drawn.T @ drawn)
    damped = [8 * (a + 0.1 * np.trace(a) / 3 * np.eye(3)) for a in sides]
    inverse = [root(a) @ root(a) for a in damped]
    expected = np.sqrt(8) * np.linalg.norm(drawn) * inverse[0] @ g @ inverse[1]
    assert within(-run.weights[0], expected, TIGHT)


# ---- sides and blocks


def test_a_long_side_has_no_factor_and_doubles_the_exponent_of_the_other():
    (g,) = gradients(3, 5)
    values, vectors = np.linalg.eigh(g @ g.T)
    inverse = vectors / np.sqrt(values) @ vectors.T
    assert within(direction("shampoo_capped(4, eps = 0)", g), inverse @ g, TIGHT)
    assert within(direction("shampoo_capped(4, eps = 0)", g.T), g.T @ inverse, TIGHT)
    assert within(direction("shampoo_capped(2)", g), g, 0)
    both = direction("shampoo_capped(5, eps = 0)", g)
    assert within(both, direction("shampoo(eps = 0)", g), SINGULAR)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_with_one_side_the_first_step_is_that_of_two(shape):
    (g,) = gradients(*shape)
    both = direction("shampoo(eps = 0)", g)
    assert within(direction("shampoo_one_sided(eps = 0)", g), both, SINGULAR)


def test_blocks_are_the_whole_only_where_the_factors_have_blocks():
    whole, blocked = "distributed_shampoo", "distributed_shampoo_blocked"
    values = {"lr": 1.0, "b1": 0.0, "b3": 0.0, "eps": 0.1}
    block = np.zeros((4, 6))
    block[:2, :3], block[2:, 3:] = gradients(2, 3, count=2)
    found = [
        steps(n, [[block]], [np.zeros((4, 6))], **values, **more)
        for n, more in ((whole, {}), (blocked, {"limit": 3}))
    ]
    assert within(found[1], found[0], TIGHT)
    full = gradients(4, 6)
    apart = [
        steps(n, [full], [np.zeros((4, 6))], **values, **more)
        for n, more in ((whole, {}), (blocked, {"limit": 3}))
    ]
    assert not within(apart[1], apart[0], 0.1)


def test_blocks_that_do_not_divide_are_the_parts_by_themselves():
    """Of 5 x 7 in blocks of at most 3: 3 and 2 rows by 3, 3 and 1 columns, filled up with zeros."""
    given = gradients(5, 7, count=3)
    values = {"b1": 0.5, "b3": 0.5, "b2": 0.9, "graft": "adam", "start": 2}
    values |= {"lr": 1.0, "eps": 0.1, "refresh": 2}
    found = steps(
        "distributed_shampoo_blocked",
        [[g] for g in given],
        [np.zeros((5, 7))],
        limit=3,
        **values,
    ).reshape(3, 5, 7)
    for rows in (slice(0, 3), slice(3, 5)):
        for cols in (slice(0, 3), slice(3, 6), slice(6, 7)):
            part = given[:, rows, cols]
            alone = steps(
                "distributed_shampoo", [[g] for g in part], [np.zeros(part.shape[1:])], **values
            )
            assert within(found[:, rows, cols], alone.reshape(part.shape), TIGHT)


# ---- gradients that are none


@pytest.mark.parametrize(
    "rule",
    [
        "shampoo()",
        "shampoo_squared()",
        "shampoo_capped()",
        "shampoo_one_sided()",
        "shampoo_adam()",
        'distributed_shampoo(graft = "adam")',
        "scalable_shampoo()",
    ],
)
def test_zero_and_extreme_gradients_have_finite_steps(rule):
    for size in (0.0, 1e-60, 1e60):
        for shape in ((3, 2), (1, 4), (4, 1)):
            given = size * gradients(*shape)[0]
            found = signal(f"precondition {rule}", [given], [np.ones(shape)])[0]
            assert np.isfinite(found).all(), (size, shape)
            assert size or not found.any()


def test_a_root_that_is_not_finite_leaves_the_old():
    (g,) = gradients(2, 2)
    run = Run(stages("precondition shampoo()", "..."), [np.zeros((2, 2))])
    run.step([g])
    kept = run.slot("PL")[0]
    run.step([np.full((2, 2), np.nan)])
    assert np.isnan(run.slot("L")[0]).any()
    np.testing.assert_array_equal(run.slot("PL")[0], kept)
