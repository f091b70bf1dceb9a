"""Edges of stability: where steps settle on a net, and at which eigenvalue they begin to diverge.

A direction of curvature h under plain steps is unstable from lr h = 2 on. USAM follows the gradient
of curvature h (1 + radius h), and momentum moves the edge to 2 (1 + beta).
"""

from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives import Asking, Quadratic, followed
from shipped import SPLIT, loss, make_batch, make_params, program, staged

import optc


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def edge(lr, radius, room=2.0):
    """The root of lr h (1 + radius h) = room: without a radius, room / lr."""
    if radius == 0:
        return room / lr
    return (np.sqrt(1 + 4 * room * radius / lr) - 1) / (2 * radius)


# ---- on a net


INPUTS, WIDTHS = 4, (4, 12, 12, 1)


def examples():
    """40 examples of sin(2 x'v), v of length 1."""
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(40, INPUTS)), rng.normal(size=INPUTS)
    return jnp.asarray(x), jnp.sin(2 * jnp.asarray(x @ (v / np.linalg.norm(v))))


def net():
    """A net of two hidden layers with 228 weights: the last has no bias."""
    rng = np.random.default_rng(1)
    kernels = [jnp.asarray(rng.normal(size=s) / np.sqrt(s[0])) for s in pairwise(WIDTHS)]
    return {"kernels": kernels, "biases": [jnp.zeros(width) for width in WIDTHS[1:-1]]}


def half_mean_square(params, batch):
    h, y = batch
    for kernel, bias in zip(params["kernels"][:-1], params["biases"], strict=True):
        h = jnp.tanh(h @ kernel + bias)
    return 0.5 * jnp.mean((h @ params["kernels"][-1] - y[:, None]) ** 2)


TABLE = [
    (0.3, 0.0, 6.67),
    (0.3, 0.05, 5.28),
    (0.3, 0.2, 3.79),
    (0.15, 0.1, 7.58),
    (0.3, 0.02, 5.96),
    (0.3, 0.1, 4.57),
    (0.15, 0.05, 9.15),
    (0.15, 0.2, 6.04),
]
"""Rates, radii, and the eigenvalues at the edge. CI takes the first four."""


@pytest.mark.parametrize("rows", [TABLE[:4], pytest.param(TABLE[4:], marks=pytest.mark.rest)])
def test_the_top_eigenvalue_of_a_net_settles_at_the_edge_of_unnormalised_sam(rows):
    batch, start = examples(), net()
    optimizer = staged("perturb usam(radius = rho)", "tune step lr", lr=0.1, rho=0.0)()
    objective = optc.Objective(loss=half_mean_square)
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    assert flat.size == 228

    def top(params):
        x, _ = jax.flatten_util.ravel_pytree(params)
        return jnp.linalg.eigvalsh(jax.hessian(lambda x: half_mean_square(unravel(x), batch))(x))[
            -1
        ]

    @jax.jit
    @jax.vmap
    def settled(lr, rho):
        def step(carry, _):
            params, state, _ = optimizer.update(*carry, batch, objective)
            return (params, state), None

        def steps(carry, _):
            carry, _ = jax.lax.scan(step, carry, length=100)
            return carry, top(carry[0])

        state = optimizer.set(optimizer.init(start), lr=lr, rho=rho)
        carry, _ = jax.lax.scan(step, (start, state), length=1500)
        _, found = jax.lax.scan(steps, carry, length=6)
        return jnp.median(found)

    rates, radii, expected = map(np.array, zip(*rows, strict=True))
    predicted = [edge(lr, rho) for lr, rho in zip(rates, radii, strict=True)]
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=0.006)  # as they are printed
    found = settled(jnp.asarray(rates), jnp.asarray(radii))
    np.testing.assert_allclose(found, predicted, rtol=0.02)


# ---- on a quadratic


@pytest.mark.parametrize(
    ("stages", "x"),
    [
        (("tune step lr",), 2),
        (("precondition momentum(0.9)", "tune step lr"), 3.8),
        (("precondition average_gradient(0.9)", "tune step lr"), 38),
        (("precondition nesterov(0.9)", "tune step lr"), 1.357),
        (("perturb usam(radius = 0.1)", "tune step lr"), 1),
        (("perturb usam(radius = 0.05)", "tune step lr"), 1.2361),
        (("perturb usam(radius = 0.1)", "precondition momentum(0.9)", "tune step lr"), None),
    ],
)
def test_weights_shrink_below_the_edge_and_grow_above_it(stages, x):
    """`x` is the edge times the rate 0.1; each weight has an eigenvalue of its own."""
    if x is None:
        x = 0.1 * edge(0.1, 0.1, room=3.8)
    lines = "\n  ".join(stages)
    h = x / 0.1 * np.array([0.98, 1.02])
    running = Asking(f"optimizer one(lr = 0.1) {{\n  {lines}\n}}\n", [np.ones(2)])
    sizes = []
    for _ in range(600):
        running.follow(Quadratic(np.diag(h)))
        sizes.append(np.abs(running.weights[0]))
    early, late = np.max(sizes[100:150], axis=0), np.max(sizes[550:], axis=0)
    assert late[0] < 0.9 * early[0]
    assert late[1] > 1.1 * early[1]


def test_on_small_batches_each_example_damps_by_its_own_gradient_in_the_mean():
    """Least squares, 2 of 4 examples: E M P M P = M (b2 M + (b - b2) diag M), M = J J'.

    b = B / D and b2 = b (B - 1) / (D - 1): what unnormalised SAM adds, over all batches.
    """
    rng = np.random.default_rng(2)
    jacobian, targets, x = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3)
    steps = []
    for chosen in combinations(range(4), 2):
        rows = jacobian[list(chosen)]
        objective = Quadratic(rows.T @ rows, -rows.T @ targets[list(chosen)])
        steps.append(followed("usam(radius = 0.3)", objective, x))
    m, z = jacobian @ jacobian.T, jacobian @ x - targets
    b = 2 / 4
    b2 = b / 3
    expected = m @ (b * np.eye(4) + 0.3 * (b2 * m + (b - b2) * np.diag(np.diag(m)))) @ z
    np.testing.assert_allclose(jacobian @ np.mean(steps, axis=0), expected, rtol=0, atol=1e-13)


# ---- beside optax


@pytest.mark.parametrize("ascents", [1, 2])
def test_sam_is_that_of_optax_step_by_step(ascents):
    """Opaque, over momentum: each call of both is one whole step."""
    lr, rho, momentum = 0.05, 0.1, 0.9
    ours = program("sam")(lr=lr, rho=rho, momentum=momentum)
    if ascents > 1:
        rule = f"perturb ascending_sam({rho}, {ascents})"
        ours = staged(rule, f"precondition momentum({momentum})", f"tune step {lr}")()
    theirs = optax.contrib.sam(
        optax.sgd(lr, momentum),
        optax.chain(optax.contrib.normalize(), optax.sgd(rho)),
        sync_period=ascents + 1,
        opaque_mode=True,
    )
    batch, start = make_batch(float), make_params(float)
    gradient = jax.grad(loss)

    @jax.jit
    def followed(params):
        def step(carry, _):
            (mine, state), (other, memory) = carry
            mine, state, _ = ours.update(mine, state, batch, SPLIT)
            at = gradient(other, batch)
            change, memory = theirs.update(
                at, memory, other, grad_fn=lambda p, _: gradient(p, batch)
            )
            other = optax.apply_updates(other, change)
            return ((mine, state), (other, memory)), (mine, other)

        carry = ((params, ours.init(params)), (params, theirs.init(params)))
        return jax.lax.scan(step, carry, length=20)[1]

    mine, other = followed(start)
    for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
        # Some twenty steps of some ten roundings each, of numbers below 10.
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-12)
