"""Every optimizer of the library that works on matrices, on gradients that are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreted import Run, graph_of
from shipped import OPTIMIZERS, program

from optc.compiler.graph import walk

FACTORS = {"matmul", "matrix_power", "inverse_root", "orthonormal", "polar", "eigenbasis", "solve"}
KINDS = (
    *("dion", "galore_adamw", "kl_shampoo", "kl_soap", "kron", "muon", "muon_optax", "normuon"),
    *("distributed_shampoo", "scalable_shampoo", "scion", "shampoo", "shampoo_adamw"),
    *("shampoo_capped", "shampoo_squared", "soap_factored", "soap", "soap_one_sided"),
    "spectral_descent",
)
"""One of each rule."""

RELATIVES = (
    *("distributed_shampoo_blocked", "distributed_shampoo_corrected", "distributed_shampoo_l2"),
    *("distributed_shampoo_independent", "distributed_shampoo_momentum", "muon_equinox"),
    *("muon_flax", "muon_moonlight", "muon_optax_dion", "muon_optax_rms", "muon_polar_express"),
    *("muon_spectral", "scion_unconstrained", "shampoo_adamw_flax", "soap_adamw"),
    "soap_adamw_flax",
)
"""The same rules with other groups and values."""

MATRICES = (*KINDS, *(pytest.param(name, marks=pytest.mark.rest) for name in RELATIVES))
ORACLES = {"shampoo_fisher"}
"""What asks for more than a gradient has tests of its own."""

WEIGHTS = {
    **{"wide": (3, 5), "tall": (5, 3), "square": (4, 4), "row": (1, 4), "column": (4, 1)},
    **{"vector": (3,), "scalar": (), "convolution": (2, 2, 3, 2)},
}
SPOILT = "wide"
"""The tensor whose gradient becomes NaN."""

FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def hostile(huge, tiny, shapes):
    """Gradients for two steps each: zero, rank one, huge, tiny, plain, and zero again."""
    rng = np.random.default_rng(5)

    def full():
        return {name: rng.normal(size=shape) for name, shape in shapes.items()}

    def rank_one():
        return {n: g[..., :1] * g[..., :1, :] if g.ndim > 1 else g for n, g in full().items()}

    kinds = [(0, full), (1, rank_one), (huge, rank_one), (tiny, full), (1, full), (0, full)]
    return [{n: size * g for n, g in make().items()} for size, make in kinds for _ in range(2)]


def spoilt(gradient):
    """The same with one number of `SPOILT` that is NaN."""
    found = np.array(gradient[SPOILT])
    found[1, 2] = np.nan
    return gradient | {SPOILT: found}


def values(names):
    """Bases and roots are renewed in every other step."""
    return {"refresh": 2} if "refresh" in names else {}


@pytest.mark.parametrize("name", MATRICES)
def test_finite_gradients_keep_weights_finite_and_nan_stays_in_its_tensor(name):
    """Zero, singular, huge and tiny ones, then NaN in one of them; one row, one column, none."""
    rng = np.random.default_rng(0)

    def draw(op, site, rounds, like):
        return 1.0 if like is None else [rng.normal(size=np.shape(x)) for x in like]

    settings = values({h.name for h in graph_of(name).hyperparameters})
    weights = [np.ones(shape) for shape in WEIGHTS.values()]
    run = Run(name, weights, list(WEIGHTS), draw=draw, **settings)
    given = hostile(1e60, 1e-60, WEIGHTS)
    with np.errstate(over="ignore", under="ignore"):
        for gradient in given:
            run.step(list(gradient.values()))
            assert all(np.isfinite(x).all() for x in run.weights)
        for gradient in map(spoilt, given[-4:]):
            run.step(list(gradient.values()))
    found = dict(zip(WEIGHTS, run.weights, strict=True))
    assert np.isnan(found.pop(SPOILT)).any(), "NaN is shown, not hidden"
    assert all(np.isfinite(x).all() for x in found.values())


@pytest.mark.rest
def test_no_optimizer_of_matrices_is_left_out():
    """Those of which some node is a product or a factor, and which are told no more than g."""

    def is_one(name):
        graph = graph_of(name)
        return any(n.op in FACTORS for region in graph.regions() for n in walk(region))

    asked = {name for name in OPTIMIZERS if is_one(name)} - ORACLES
    assert asked == {*KINDS, *RELATIVES}


@pytest.mark.rest
@pytest.mark.parametrize("name", [*KINDS, *RELATIVES])
def test_in_float32_on_xla(name):
    """Squares of squares of 1e15 are beyond float32, and those of 1e-15 are zero in it.

    XLA reduces 4096 numbers in another way than few, and may lose the NaN among them.
    """
    shapes = {n: WEIGHTS[n] for n in ("tall", "row", "column", "vector")} | {SPOILT: (64, 64)}
    settings = values(program(name).hyperparameters)
    tx = program(name)(**settings).transform()
    weights = {n: jnp.ones(shape) for n, shape in shapes.items()}

    def step(carry, gradient):
        updates, state = tx.update(gradient, carry[1], carry[0])
        weights = jax.tree.map(jnp.add, carry[0], updates)
        return (weights, state), jax.tree.map(lambda x: jnp.isfinite(x).all(), weights)

    given = hostile(1e15, 1e-15, shapes)
    gradients = [*given, *map(spoilt, given[-4:])]
    together = jax.tree.map(lambda *x: jnp.stack([jnp.float32(g) for g in x]), *gradients)
    start = (weights, tx.init(weights))
    run = jax.jit(lambda carry, gradients: jax.lax.scan(step, carry, gradients)[1])
    finite = run.lower(start, together).compile(FAST)(start, together)
    finite = {n: np.asarray(x) for n, x in finite.items()}
    assert not finite[SPOILT][-1], "NaN is shown, not hidden"
    assert finite.pop(SPOILT)[: len(given)].all()
    assert all(x.all() for x in finite.values())
