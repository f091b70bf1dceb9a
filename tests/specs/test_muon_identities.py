"""What the orthogonal steps of Muon and its relatives are, by identities, in float64.

Singular values that went through some rounds of quintics carry a few dozen roundings of 2^-53, and
the steep slope at 0 multiplies those of the smallest by some hundreds: 1e-12.
"""

import jax
import numpy as np
import pytest
from interpreted import Run, signal, stages
from shipped import program

import optc
from optc.benchmarks.spectra import POLAR_EXPRESS, normed, of_spectrum, singular_values

TOLERANCE = 1e-12
RNG = np.random.default_rng(0)
UNGUARDED = "x => newton_schulz(x, 5, 0)"


def keller(x):
    """Five rounds of Muon's quintic on a number."""
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


def express(x, rounds):
    """Rounds of Polar Express on a number, with a safety of 1.01 in the first seven."""
    x = x / 1.01
    for a, b, c in (POLAR_EXPRESS + 2 * POLAR_EXPRESS[-1:])[:rounds]:
        s = 1.0 if (a, b, c) == POLAR_EXPRESS[-1] else 1.01
        x = a * x / s + b * (x / s) ** 3 + c * (x / s) ** 5
    return x


def orthogonalised(x, function=UNGUARDED):
    """What a function makes of a gradient, without momentum or scale."""
    stage = f"precondition muon(0, nesterov = false, orthogonalize = {function}, scale = x => 1)"
    return signal(stage, [x], [x])[0]


@pytest.mark.parametrize(
    "name", ["muon", "muon_polar_express", "muon_optax_dion", "muon_equinox", "normuon", "scion"]
)
def test_the_iteration_is_one_operation_of_the_runtime(name):
    source = program(name).source
    assert source.count("rt.gram_loop(") == 1
    assert ".mT" not in source


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_singular_vectors_stay_and_values_go_through_the_quintic(shape):
    values = 10.0 ** -np.arange(6.0)
    x, u, v = of_spectrum(values, shape, RNG)
    expected = u * keller(normed(values)) @ v.T
    np.testing.assert_allclose(orthogonalised(x), expected, atol=TOLERANCE)


@pytest.mark.parametrize("rounds", [1, 5, 7, 10])
def test_singular_values_go_through_the_quintics_of_polar_express(rounds):
    values = 10.0 ** -np.arange(5.0)
    x, u, v = of_spectrum(values, (5, 7), RNG)
    expected = u * express(normed(values), rounds) @ v.T
    found = orthogonalised(x, f"x => polar_express(x, {rounds}, eps = 0)")
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("function", "least", "low", "high"),
    [
        ("newton_schulz", 0.002, 0.68, 1.21),
        ("newton_schulz_dion", 0.01, 0.97, 1.04),
        ("polar_express", 0.001, 0.84, 1.13),
        ("x => polar_express(x, 6)", 0.001, 0.99, 1.01),
        ("x => polar_express(x, 8)", 0.001, 1 - TOLERANCE, 1 + TOLERANCE),
        ("polar", 1e-6, 1 - TOLERANCE, 1 + TOLERANCE),
    ],
)
def test_singular_values_from_a_stated_size_on_come_near_to_one(function, least, low, high):
    values = np.maximum(normed(np.geomspace(1, least, 12)), 1.1 * least)
    assert least <= normed(values).min() < 2 * least
    found = singular_values(orthogonalised(of_spectrum(values, (12, 20), RNG)[0], function))
    assert low <= found.min() <= found.max() <= high


def test_a_gaussian_of_one_to_four_comes_near_to_one():
    found = singular_values(orthogonalised(RNG.normal(size=(32, 128))))
    assert 0.68 <= found.min() <= found.max() <= 1.135


def test_scale_and_transposition_pass_through():
    x = RNG.normal(size=(5, 8))
    once = orthogonalised(x)
    np.testing.assert_allclose(orthogonalised(1e6 * x), once, atol=TOLERANCE)
    np.testing.assert_allclose(orthogonalised(x.T), once.T, atol=TOLERANCE)
    guarded = orthogonalised(x, "newton_schulz")
    np.testing.assert_allclose(guarded, once, atol=1e3 * 1e-7 / np.linalg.norm(x))


def test_rotations_of_rows_and_columns_pass_through():
    x = RNG.normal(size=(5, 8))
    left, right = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for n in x.shape)
    turned = left @ orthogonalised(x) @ right
    np.testing.assert_allclose(orthogonalised(left @ x @ right), turned, atol=TOLERANCE)


def test_rank_one_gives_one_singular_value_and_no_others():
    x, u, v = of_spectrum([3.0], (6, 4), RNG)
    np.testing.assert_allclose(orthogonalised(x), keller(1.0) * u @ v.T, atol=TOLERANCE)
    assert abs(keller(1.0) - 0.6964) < 5e-5  # on the orbit .7010, 1.1136, .7207, 1.0900
    np.testing.assert_allclose(orthogonalised(x, "polar_express"), u @ v.T, atol=0.13)


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1)])
def test_one_row_or_column_is_normalised(shape):
    x = RNG.normal(size=shape)
    expected = keller(1.0) * x / np.linalg.norm(x)
    np.testing.assert_allclose(orthogonalised(x), expected, atol=TOLERANCE)


def test_each_place_of_axes_before_the_last_two_is_a_matrix():
    x = RNG.normal(size=(2, 3, 4, 5))
    alone = [[orthogonalised(matrix) for matrix in row] for row in x]
    np.testing.assert_allclose(orthogonalised(x), alone, atol=TOLERANCE)


@pytest.mark.parametrize("function", ["newton_schulz", "polar_express", "newton_schulz_dion"])
def test_zero_gives_zero(function):
    np.testing.assert_array_equal(orthogonalised(np.zeros((3, 4)), function), 0)


def test_the_exact_factor_is_the_first_step_of_shampoo():
    """The roots of GG' and G'G to the power -1/4 leave the singular vectors of G alone."""
    x = RNG.normal(size=(5, 5))
    rule = """
    rule precondition first() {
      when g is [rows, cols] {
        return inverse_root(g @ g.T, 4) @ g @ inverse_root(g.T @ g, 4)
      } else {
        return g
      }
    }
    """
    run = Run(rule + stages("precondition first()", "..."), [np.zeros((5, 5))])
    run.step([x])
    exact = orthogonalised(x, "polar")
    np.testing.assert_allclose(exact, -run.weights[0], atol=1e-9)  # the square of a condition
    u, _, vt = np.linalg.svd(x)
    np.testing.assert_allclose(exact, u @ vt, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(96, 96), (64, 256), (256, 64), (96, 192)])
def test_steps_of_a_gaussian_have_the_root_mean_square_of_adamw(shape):
    found = signal(
        "precondition muon(scale = rms_scale)", [RNG.normal(size=shape)], [np.zeros(shape)]
    )
    assert 0.165 <= np.sqrt(np.mean(found[0] ** 2)) <= 0.19


@pytest.mark.parametrize(
    ("scale", "factor"),
    [
        ("keller_scale", lambda i, o: max(1, o / i) ** 0.5),
        ("spectral_scale", lambda i, o: (o / i) ** 0.5),
        ("rms_scale", lambda i, o: 0.2 * max(i, o) ** 0.5),
    ],
)
def test_a_scale_is_that_of_outputs_and_inputs(scale, factor):
    for shape in ((4, 9), (9, 4)):
        x = RNG.normal(size=shape)
        stage = f"precondition muon(0, orthogonalize = {UNGUARDED}, scale = {scale})"
        found = signal(stage, [x], [x])[0]
        np.testing.assert_allclose(found, factor(*shape) * orthogonalised(x), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("ball", "size"),
    [
        ("column_ball", lambda x: 2 * np.linalg.norm(x, axis=0, keepdims=True)),
        ("row_ball", lambda x: np.linalg.norm(x, axis=1, keepdims=True) / 3),
        ("rms_ball", lambda x: np.linalg.norm(x, keepdims=True) / 6),
    ],
)
def test_a_point_of_a_ball_is_the_average_over_its_size(ball, size):
    """Four inputs, nine outputs: roots 2 and 3."""
    x = RNG.normal(size=(4, 9))
    found = signal(f"precondition scion(0, 1, ball = {ball})", [x], [x])[0]
    np.testing.assert_allclose(found, x / size(x), rtol=1e-7)  # eps is 1e-8


def test_a_flattened_kernel_has_the_scale_of_the_matrix_it_is():
    """A convolution of one channel, [3, 3, 1, 128], maps 9 inputs to 128 outputs."""
    spec = """
    optimizer one() {
      group kernels where ndim == 4 view "h w i o -> (h w i) o" {
        precondition muon(0, orthogonalize = polar)
        tune step    1
      }
      group rest { tune step 1 }
    }
    """
    x = RNG.normal(size=(3, 3, 1, 128))
    run = Run(spec, [np.zeros(x.shape)])
    run.step([x])
    values = singular_values(run.weights[0].reshape(9, 128))
    np.testing.assert_allclose(values, np.sqrt(128 / 9), rtol=TOLERANCE)


def test_the_first_units_of_normuon_are_equally_long():
    x = RNG.normal(size=(7, 4))
    stage = f"precondition normuon(0, 0, 0, orthogonalize = {UNGUARDED})"
    found = signal(stage, [x], [x])[0]
    lengths = np.linalg.norm(found, axis=0)
    whole = np.linalg.norm(orthogonalised(x))
    np.testing.assert_allclose(lengths, whole / 2, rtol=TOLERANCE)  # four columns
    alike = found / orthogonalised(x)
    np.testing.assert_allclose(alike, alike[:1].repeat(7, axis=0), rtol=1e-9)


HOSTILE = {
    "zero": 0.0,
    "tiny": 1e-25,
    "huge": 1e25,
    "plain": 1.0,
}


@pytest.mark.parametrize(
    "rule",
    [
        "muon()",
        *(
            pytest.param(rule, marks=pytest.mark.rest)
            for rule in (
                "muon(orthogonalize = polar_express)",
                "muon(orthogonalize = polar)",
                "normuon()",
                "dion(rank = 2)",
                "galore_adam(rank = 2)",
            )
        ),
    ],
)
def test_in_float32_no_gradient_gives_a_step_that_is_not_finite_or_large(rule):
    """A norm whose square is no float32 gives no step, or a small one; NaN stays in its tensor."""
    x = RNG.normal(size=(6, 8)).astype(np.float32)
    grads = {name: np.float32(size) * x for name, size in HOSTILE.items()}
    grads |= {"rank one": np.outer(x[:, 0], x[0]), "row": x[:1], "column": x[:, :1]}
    grads["nan"] = np.where(x == x[0, 0], np.float32(np.nan), x)
    tx = optc.compile(f"optimizer one() {{ precondition {rule}  tune step 1 }}")().transform()
    run = jax.jit(lambda g, w: tx.update(g, tx.init(w), w)[0])
    found = run(grads, jax.tree.map(np.zeros_like, grads))
    sizes = {name: singular_values(x).max() for name, x in found.items() if name != "nan"}
    largest = 1.3 * np.sqrt(8)  # of the scale of a row
    assert all(np.isfinite(size) and size < largest for size in sizes.values()), sizes
    assert sizes["zero"] == 0
    assert sizes["plain"] > 0.5


def test_spectral_descent_has_the_nuclear_norm_as_its_size():
    x = RNG.normal(size=(5, 8))
    found = signal("precondition spectral_descent()", [x], [x])[0]
    nuclear = singular_values(x).sum()
    np.testing.assert_allclose(singular_values(found), nuclear, rtol=TOLERANCE)
    np.testing.assert_allclose(np.vdot(x, found), nuclear**2, rtol=TOLERANCE)


def first_draw(op, site, rounds, like):
    return [np.random.default_rng(site).normal(size=np.shape(x)) for x in like]


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_what_the_rank_of_dion_holds_leaves_the_momentum_but_for_beta(shape):
    """A gradient of rank 2 is all taken up by the first step of rank 2, whatever the basis."""
    x, u, v = of_spectrum([2.0, 1.0], shape, RNG)
    spec = stages("precondition dion(0.9, rank = 2)", "tune step 0.1")
    run = Run(spec, [np.zeros(shape)], draw=first_draw)
    run.step([x])
    np.testing.assert_allclose(run.slot("trace")[0], 0.9 * x, atol=TOLERANCE)
    step = -run.weights[0] / 0.1
    inside = u @ (u.T @ step @ v) @ v.T
    np.testing.assert_allclose(step, inside, atol=1e-9)
    # Unit columns of one side and orthonormal ones of the other, times the root of the scale.
    np.testing.assert_allclose(np.sum(step**2), 2 * shape[1] / shape[0], rtol=1e-7)


def test_a_basis_of_dion_that_gets_nothing_stays():
    shape = (6, 4)
    run = Run(
        stages("precondition dion(rank = 2)", "tune step 0.1"), [np.zeros(shape)], draw=first_draw
    )
    run.step([np.zeros(shape)])
    np.testing.assert_array_equal(run.weights[0], 0)
    start = first_draw("normal", 1, (), [np.zeros(shape)])[0].T[:, :2]
    np.testing.assert_array_equal(run.slot("basis")[0], start)
    x, _, _ = of_spectrum([1.0, 0.5], shape, RNG)
    for _ in range(30):
        run.step([x])
    values = singular_values(run.weights[0])
    assert values[1] > 0.5 * values[0] > 1e9 * values[2]


def test_a_matrix_that_is_smaller_than_its_rank_is_taken_whole():
    x = RNG.normal(size=(3, 5))
    run = Run(
        stages("precondition dion(0.9, rank = 4)", "tune step 1"),
        [np.zeros((3, 5))],
        draw=first_draw,
    )
    run.step([x])
    expected = -np.sqrt(5 / 3) * orthogonalised(x, "polar")
    np.testing.assert_allclose(run.weights[0], expected, atol=TOLERANCE)
    run.step([x])
    np.testing.assert_allclose(run.slot("trace")[0], 0.9 * 1.9 * x, atol=TOLERANCE)


def test_constrained_weights_stay_in_their_balls():
    """Convex combinations of what is in the ball; the iteration's values are at most 1.21."""
    shapes = {"embed": (7, 4), "head/kernel": (4, 7), "layer/kernel": (4, 6), "layer/bias": (6,)}
    spec = "scion"
    weights = [np.zeros(shape) for shape in shapes.values()]
    run = Run(spec, weights, list(shapes), lr=0.3, radius=2.0, last_radius=3.0)
    for _ in range(20):
        run.step([RNG.normal(size=w.shape) for w in weights])
    embed, head, kernel, bias = run.weights
    assert np.abs(embed).max() <= 3.0 / 4
    assert np.abs(head).max() <= 3.0 / 4
    assert singular_values(kernel).max() <= 1.21 * 2.0 * np.sqrt(6 / 4)
    assert np.sqrt(np.mean(bias**2)) <= 2.0


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_galore_steps_in_the_leading_singular_vectors_of_the_last_refresh(shape):
    spec = stages(
        "precondition galore_adam(rank = 2, period = 3, eps = 0, scale = 0.5)", "tune step 1"
    )
    run = Run(spec, [np.zeros(shape)])
    for number in range(5):
        gradient, before = RNG.normal(size=shape), run.weights[0]
        if number % 3 == 0:
            u, _, vt = np.linalg.svd(gradient)
            inside = (
                (lambda x, v=vt[:2]: x @ v.T @ v)
                if shape[0] > shape[1]
                else (lambda x, u=u[:, :2]: u @ u.T @ x)
            )
        run.step([gradient])
        step = before - run.weights[0]
        np.testing.assert_allclose(inside(step), step, atol=TOLERANCE)
        if number == 0:
            # Adam's first step is the sign of each number of the projection.
            np.testing.assert_allclose(np.sum(step**2), 0.25 * 2 * max(shape), rtol=TOLERANCE)
