"""SOAP and its family: their authors' trajectories, and what must hold of them in closed form.

Gradients are in the order of 1 and steps some hundredths. A factor of a matrix of condition c is
found up to 2^-53 c in float64; c is below 1e3 here after the first gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreted import Run, flat, stages, steps, trace
from references import deviation, recorded
from shipped import program

import optc

ROUNDING = 1e-12
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def late(*lines, step="tune step lr", decay=0.01):
    """An optimizer as SOAP's code has it: decay after the step, and none in the first."""
    body = "\n".join(f"  {line}" for line in (*lines, step))
    return (
        f"optimizer late(lr = 0.02, decay = {decay}) {{\n{body}\n"
        "  constrain shrink(where(t > 1, decay, 0))\n}\n"
    )


OFTEN = {"lr": 0.02, "b1": 0.9, "b2": 0.99, "shampoo_beta": 0.8, "eps": 1e-6, "decay": 0.1}
REFERENCES = {
    "soap defaults": ("soap", {}),
    "soap often": ("soap", OFTEN | {"refresh": 1}),
    "soap one_sided": ("soap", {"lr": 0.02, "refresh": 4, "limit": 4}),
    "soap normalised": ("soap", {"lr": 0.02, "refresh": 5, "normalize": True}),
    "soap uncorrected": ("soap", {"lr": 0.02, "refresh": 5, "bias_correction": False}),
    "kl_shampoo kl_shampoo_defaults": ("kl_shampoo", {}),
    "kl_shampoo kl_shampoo": (
        late(
            "precondition kl_shampoo(b1 = 0.8, b2 = 0.95, eps = 1e-3, refresh = 4, initial = 0.5)",
            decay=0.1,
        ),
        {},
    ),
    "kl_shampoo kl_shampoo_clamped": (
        late("precondition kl_shampoo(b2 = 0.5, initial = 1e-3)"),
        {},
    ),
    "kl_shampoo kl_soap": (
        "kl_soap",
        {"lr": 0.02, "b1": 0.8, "b2": 0.9, "refresh": 4},
    ),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_a_trajectory_is_that_of_the_authors_code(case):
    spec, values = REFERENCES[case]
    assert deviation(*case.split(), spec, **values) < ROUNDING


def test_every_recorded_trajectory_is_held():
    held = {tuple(case.split()) for case in REFERENCES}
    for name in ("soap", "kl_shampoo"):
        cases = {case for case, found in recorded(name).items() if "after" in found}
        assert cases == {case for file, case in held if file == name}


# ---- SOAP


def gradients(*shape, number=24, seed=3):
    """Gradients of one matrix."""
    return list(np.random.default_rng(seed).normal(size=(number, *shape)))


def moved(rule, given, **values):
    """What each step subtracts from one matrix that starts at zero."""
    spec = stages(f"precondition {rule}", "tune step 0.02")
    rows = steps(spec, [[g] for g in given], [np.zeros_like(given[0])], **values)
    return rows.reshape(len(given), *np.shape(given[0]))


TINY = 1e-300
"""An eps that is none in float64."""


def test_in_its_own_axes_soap_is_adam_one_gradient_late():
    """The first gradient is diagonal, so its bases are the axes, and they are never refreshed."""
    given = gradients(3, 3)
    given[0] = np.diag([3.0, 2.0, 1.0])
    found = moved(f"soap(eps = {TINY}, refresh = 1000)", given)
    adam = moved("adam(b1 = 0.95, b2 = 0.95, eps = 0)", given[1:])
    assert not found[0].any()
    np.testing.assert_allclose(found[1:], adam, atol=ROUNDING)


def test_without_bases_soap_is_adam_one_gradient_late():
    given = gradients(3, 5)
    found = moved(f"soap(eps = {TINY}, limit = 2)", given)
    adam = moved("adam(b1 = 0.95, b2 = 0.95, eps = 0)", given[1:])
    np.testing.assert_allclose(found[1:], adam, atol=ROUNDING)


ROTATED = ["soap(refresh = 3)", "soap_factored(refresh = 3)", "kl_shampoo(refresh = 3)"]


@pytest.mark.parametrize("rule", [*ROTATED, "kl_soap(refresh = 3)"])
def test_rotated_gradients_give_rotated_steps(rule):
    """On a square matrix, where the first gradient has no null space."""
    given = gradients(4, 4)
    u, v = (np.linalg.qr(each)[0] for each in gradients(4, 4, number=2, seed=8))
    found = moved(rule, [u @ g @ v for g in given])
    np.testing.assert_allclose(found, u @ moved(rule, given) @ v, atol=1e-10)


@pytest.mark.parametrize("rule", ["soap(", "soap(one_sided = true, ", "soap_factored("])
def test_the_scale_of_all_gradients_does_not_matter(rule):
    given = gradients(4, 4)
    rule = f"{rule}eps = {TINY}, refresh = 3)"
    found = moved(rule, [1e-3 * g for g in given])
    np.testing.assert_allclose(found, moved(rule, given), atol=1e-10)


def test_the_first_step_that_moves_has_a_size_of_one_in_each_rotated_coordinate():
    found = moved(f"soap(eps = {TINY})", gradients(3, 5, number=2))
    assert np.linalg.norm(found[1]) == pytest.approx(0.02 * np.sqrt(15), abs=ROUNDING)


def test_the_rotated_momentum_is_the_average_of_the_gradients_across_refreshes():
    given = gradients(4, 3)
    run = Run(stages("precondition soap(refresh = 3)", "tune step 1.0"), [np.zeros((4, 3))])
    average = np.zeros((4, 3))
    for t, g in enumerate(given):
        run.step([g])
        average = 0.95 * average + 0.05 * g * (t > 0)
        (left,), (mu,), (right,) = (run.slot(name) for name in ("QL", "mu", "QR"))
        np.testing.assert_allclose(left @ mu @ right.T, average, atol=ROUNDING)
        np.testing.assert_allclose(left.T @ left, np.eye(4), atol=ROUNDING)


def test_refreshes_of_one_matrix_converge_to_its_eigenvectors_by_eigenvalue():
    """Each takes the off-diagonal part down by a ratio of eigenvalues, here at most 1/2."""
    p, _ = np.linalg.qr(gradients(4, 4, number=1)[0])
    matrix = p @ np.diag([8.0, 4.0, 2.0, 1.0]) @ p.T
    rule = """
rule precondition refreshed() {
  when g is [rows, cols] {
    state Q = eye(rows)
    Q <- improved_basis(g @ g.T, Q)
    return Q @ zeros(g)
  } else {
    return g
  }
}
"""
    run = Run(rule + stages("precondition refreshed()", "tune step 1.0"), [np.zeros((4, 4))])
    root = np.linalg.cholesky(matrix)
    for _ in range(60):
        run.step([root])
    (found,) = run.slot("Q")
    left = found.T @ matrix @ found
    np.testing.assert_allclose(np.sort(np.diag(left)), [1, 2, 4, 8], atol=1e-10)
    np.testing.assert_allclose(left, np.diag(np.diag(left)), atol=1e-10)


def test_a_capped_side_has_no_basis_whichever_it_is():
    given = gradients(3, 5)
    for rule in ("soap(limit = 4, refresh = 3)", "soap(one_sided = true, refresh = 3)"):
        found = moved(rule, given)
        turned = moved(rule, [g.T for g in given])
        np.testing.assert_allclose(found, np.swapaxes(turned, 1, 2), atol=ROUNDING)
        np.testing.assert_allclose(found, moved("soap(limit = 3, refresh = 3)", given), atol=0)


def test_a_factored_moment_of_one_row_is_no_other():
    given = gradients(1, 4)
    found = moved("soap_factored(refresh = 3)", given)
    np.testing.assert_allclose(found, moved("soap(refresh = 3)", given), atol=1e-10)


def test_an_eigenvalue_of_kl_shampoo_is_at_least_one_over_a_squared_length_of_ten_or_more():
    run = Run(stages("precondition kl_shampoo(b2 = 0.5)", "tune step 1.0"), [np.zeros((4, 12))])
    for g in [*gradients(4, 12, number=1), *(12 * [np.zeros((4, 12))])]:
        run.step([g])
    np.testing.assert_allclose(run.slot("left")[0], 1 / 10**2, rtol=ROUNDING)
    np.testing.assert_allclose(run.slot("right")[0], 1 / 12**2, rtol=ROUNDING)


@pytest.mark.parametrize("rule", ["soap(", "soap(one_sided = true, ", "kl_shampoo(", "kl_soap("])
def test_axes_before_the_last_two_are_matrices_of_their_own(rule):
    given = gradients(2, 3, 3)
    found = moved(f"{rule}refresh = 3)", given)
    for place in range(2):
        alone = moved(f"{rule}refresh = 3)", [g[place] for g in given])
        np.testing.assert_allclose(found[:, place], alone, atol=1e-10)


@pytest.mark.parametrize("name", ["soap", "soap_factored", "kl_shampoo", "kron"])
def test_no_gradient_that_is_finite_makes_weights_that_are_not(name):
    """Zero, rank one, huge and tiny, each for some steps, in matrices down to one row or column."""
    weights = [np.ones(shape) for shape in ((3, 2), (1, 4), (4, 1), (2,), ())]
    rng = np.random.default_rng(5)
    one = [np.outer(*(rng.normal(size=n) for n in w.shape)) if w.ndim > 1 else w for w in weights]
    full = [rng.normal(size=w.shape) for w in weights]
    kinds = [(0, one), (1, one), (1e60, one), (1e-60, full), (1, full), (0, full)]
    given = [[size * g for g in now] for size, now in kinds for _ in range(3)]
    values = {} if name == "kron" else {"refresh": 2}

    def draw(op, site, rounds, like):
        return 1.0 if like is None else [rng.normal(size=np.shape(x)) for x in like]

    visited = trace(name, given, weights, draw=draw, **values)
    assert np.isfinite(np.concatenate([flat(now) for now in visited])).all()


@pytest.mark.parametrize(
    ("name", "shape", "grown"),
    [
        ("soap", (8, 8), False),
        ("soap_factored", (8, 8), False),
        ("soap", (4, 8), True),
        ("soap_factored", (4, 8), True),
        ("soap_one_sided", (4, 8), False),
    ],
)
def test_rounding_grows_where_a_statistic_of_the_first_gradients_lacks_rank(name, shape, grown):
    """One part in 10^7, as of float32, stays small but for bases of a null space, which are any."""
    given = np.random.default_rng(0).normal(size=(4, *shape))
    rounded = given * (1 + 1e-7 * np.random.default_rng(9).normal(size=given.shape))
    start = [np.zeros(shape)]
    (one,), (other,) = (trace(name, [[g] for g in gs], start)[-1] for gs in (given, rounded))
    apart = np.abs(one - other).max() / np.abs(one).max()
    assert apart > 1e-2 if grown else apart < 1e-5


def test_a_statistic_that_is_not_finite_keeps_the_bases():
    run = Run(stages("precondition soap(refresh = 1)", "tune step 1.0"), [np.zeros((2, 2))])
    for g in (*gradients(2, 2, number=2), np.full((2, 2), np.nan)):
        before = run.slot("QL")[0] if run.count else None
        run.step([g])
    np.testing.assert_array_equal(run.slot("QL")[0], before)


def test_bases_of_narrow_weights_are_kept_in_32_bits():
    """A basis of bfloat16 is orthogonal up to 2^-9 only, and its next refresh starts from that."""
    weights = {"w": jax.ShapeDtypeStruct((3, 2), jnp.bfloat16)}
    slots = jax.eval_shape(program("soap")().init, weights).slots["precondition"]
    kept = {name: str(slots[name]["w"].dtype) for name in ("L", "QL", "R", "QR", "mu", "nu")}
    assert kept == dict.fromkeys(("L", "QL", "R", "QR"), "float32") | dict.fromkeys(
        ("mu", "nu"), "bfloat16"
    )


@pytest.mark.parametrize("name", ["soap", "soap_factored"])
def test_staggered_matrices_renew_their_bases_at_steps_of_their_own(name):
    """Two of one shape, in turns of four steps; a matrix alone has the turn that plain SOAP has."""
    given = gradients(3, 3, number=9)
    rule = f"{name}(refresh = 4, staggered = true)"
    np.testing.assert_array_equal(moved(rule, given), moved(f"{name}(refresh = 4)", given))
    run = Run(stages(f"precondition {rule}", "tune step 1.0"), [np.zeros((3, 3))] * 2)
    run.step([given[0], given[0].T])
    renewed = [[], []]
    for t, g in enumerate(given[1:], 2):
        before = run.slot("QL")
        run.step([g, g.T])
        for place, turns in enumerate(renewed):
            turns += [t] * bool((before[place] != run.slot("QL")[place]).any())
    assert renewed == [[5, 9], [2, 6]]


@pytest.mark.parametrize(
    "name",
    ["soap", *(pytest.param(n, marks=pytest.mark.rest) for n in ("kl_soap", "soap_factored"))],
)
def test_float32_takes_gradients_that_are_zero_singular_huge_or_tiny(name):
    """Squares of squares of 1e15 are beyond float32, and those of 1e-15 are zero in it."""
    rng = np.random.default_rng(6)
    weights = {"a": jnp.ones((3, 2)), "row": jnp.ones((1, 4)), "b": jnp.ones(2)}
    ones = {"a": np.outer([1, 2, 3], [1, -1]), "row": np.ones((1, 4)), "b": np.ones(2)}
    full = {key: rng.normal(size=w.shape) for key, w in weights.items()}
    sizes = [(0, ones), (1, ones), (1e15, ones), (1e-15, full), (1e-30, full), (1, full), (0, full)]
    given = [
        jax.tree.map(lambda g, s=s: jnp.float32(s * g), now) for s, now in sizes for _ in "123"
    ]
    tx = optc.load(name)(refresh=2).transform()

    def step(carry, gradient):
        updates, state = tx.update(gradient, carry[1], carry[0])
        return (jax.tree.map(jnp.add, carry[0], updates), state), None

    start = (weights, tx.init(weights))
    gradients = jax.tree.map(lambda *x: jnp.stack(x), *given)
    run = jax.jit(lambda c, g: jax.lax.scan(step, c, g))
    (found, state), _ = run.lower(start, gradients).compile(FAST)(start, gradients)
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves((found, state)))
