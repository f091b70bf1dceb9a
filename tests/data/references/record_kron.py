"""Trajectories of PSGD Kron in JAX, in float64, and what it drew at random: writes kron.json.

    python record_kron.py FOLDER

with jax, optax, chex, flax and the package psgd_jax of github.com/evanatyourservice/psgd_jax
(commit be95524) in FOLDER. Random numbers are handed to it. Balancing is left out but for one case,
since it works in float32 there whatever the weights are.
"""

import random
import sys

import numpy as np
from given import drawn, given, keep, walks

SHAPES = {"matrix": (3, 4), "scalar": (), "vector": (3,)}
STEPS = 12
SHOWN = (1, 2, 3, 6, 12)
CASES = {
    "defaults": {},
    "raw": {
        "learning_rate": 0.02,
        "b1": 0.8,
        "momentum_into_precond_update": False,
        "preconditioner_lr": 0.05,
        "preconditioner_init_scale": 0.5,
        "weight_decay": 0.1,
    },
    "seldom": {"learning_rate": 0.02, "preconditioner_update_probability": 0.3},
    "one_diagonal": {"learning_rate": 0.02, "max_size_triangular": 3},
    "diagonal": {"learning_rate": 0.02, "memory_save_mode": "all_diag"},
    "balanced": {"learning_rate": 0.02, "preconditioner_init_scale": 4.0},
}


def main(folder: str) -> None:
    """Follow each case."""
    sys.path.insert(0, folder)
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import optax
    from psgd_jax import kron

    source = random.Random(11)
    normals = [
        {name: drawn(shape, source, 2.0) for name, shape in SHAPES.items()} for _ in range(STEPS)
    ]

    def follow(settings, uniform):
        def walk(weights, gradients):
            jax.random.uniform = lambda key: jnp.asarray(uniform)
            params = jax.tree.map(np.asarray, weights, is_leaf=lambda x: isinstance(x, list))
            optimizer = kron.kron(**settings)
            state = optimizer.init(params)
            visited = []
            for now, normal in zip(gradients, normals, strict=True):
                ordered = iter([np.asarray(normal[name]) for name in sorted(SHAPES)])
                jax.random.normal = lambda *_, ordered=ordered, **__: jnp.asarray(next(ordered))
                g = jax.tree.map(np.asarray, now, is_leaf=lambda x: isinstance(x, list))
                updates, state = optimizer.update(g, state, params)
                params = optax.apply_updates(params, updates)
                visited.append({name: np.asarray(w).tolist() for name, w in params.items()})
            return visited

        return walk

    start = given(SHAPES, STEPS)

    def recorded(name, settings):
        uniform = 0.0 if name == "balanced" else 1.0
        return {"given": "all", "after": walks(follow(settings, uniform), start, SHOWN)}

    keep(
        __file__,
        {"code": "github.com/evanatyourservice/psgd_jax be95524", "jax": jax.__version__},
        {"all": start, "normals": normals}
        | {name: recorded(name, settings) for name, settings in CASES.items()},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
