"""CDAT against a plain gradient step, and the ways to get its curvature u'Hu against each other.

On the model of the `text` task and on an MLP. Held against: at most 2.0 plain steps on the first.
The other ways are the same step with another derivative: what `compiler/passes/curvature.py` and
`runtime/curvature.py` chose from. Beside the times stand the operations and the temporaries that
XLA counts, which do not hang on how busy the machine is.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.jet import jet

from optc.runtime.merge import merged

from .interleave import held, interleave, report
from .workload import Workload, dot, mlp, moved, text_model

ROUNDS = 11

Loss = Callable[[Any], jax.Array]
Curved = Callable[[Loss, Any], tuple[Any, jax.Array]]
"""From a loss and weights to the gradient g there, and g'Hg."""


def main() -> None:
    """Print the tables."""
    found = _compare(text_model())
    held("CDAT on the text model, in plain steps", found, 2.0)
    _compare(mlp())


def _compare(work: Workload) -> float:
    """Print the tables of one model; gives compiled CDAT in plain steps."""
    ways: dict[str, Curved] = {
        "jvp of jvp, merged": merging,
        "jvp of jvp": nested,
        "jvp of grad": apart,
        "linearize(grad)": linearised,
        "grad of jvp": reverse_over_forward,
        "jet": taylor,
    }
    counted = {name: _counted(work, way) for name, way in {"plain": _plain, **ways}.items()}
    print(f"\nCDAT on {work.name}\n  {'':18}{'operations':>12}{'bytes':>8}{'temporaries':>13}")
    for name, numbers in counted.items():
        ratios = [x / y for x, y in zip(numbers, counted["plain"], strict=True)]
        print(f"  {name:18}{ratios[0]:12.2f}{ratios[1]:8.2f}{ratios[2]:13.2f}")
    timings = interleave(
        # Small rates: the weights stay where they are finite, however many steps are timed.
        {
            "plain": work.compiled("sgd", lr=1e-6),
            "optc cdat_gd": work.compiled("cdat_gd", scale=1e-6),
        }
        | {f"by hand, {name}": work.by_hand(_step(work, way)) for name, way in ways.items()},
        ROUNDS,
    )
    report(timings, "plain")
    return timings["optc cdat_gd"].median / timings["plain"].median


def merging(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """Forward over forward: no vector is made, and nothing is computed twice."""
    g = jax.grad(loss)(params)
    return g, merged(lambda x, u: _second(loss, x, u))(params, g)


def nested(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """Forward over forward, in which XLA is left to find what is computed twice."""
    g = jax.grad(loss)(params)
    return g, _second(loss, params, g)


def apart(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient, and then its derivative along it: the gradient is worked out twice."""
    g = jax.grad(loss)(params)
    return g, dot(g, jax.jvp(jax.grad(loss), (params,), (g,))[1])


def linearised(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient and its linear map, which share their work."""
    g, push = jax.linearize(jax.grad(loss), params)
    return g, dot(g, push(g))


def reverse_over_forward(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient of the derivative along the gradient."""
    g = jax.grad(loss)(params)
    return g, dot(g, jax.grad(lambda x: jax.jvp(loss, (x,), (g,))[1])(params))


def taylor(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The second coefficient of a Taylor series: rules of its own, which not every model has."""
    g = jax.grad(loss)(params)
    leaves, tree = jax.tree.flatten(params)
    along = [[u, jnp.zeros_like(u)] for u in jax.tree.leaves(g)]
    _, (_, second) = jet(lambda *x: loss(jax.tree.unflatten(tree, x)), leaves, along)
    return g, second


def _second(loss: Loss, x: Any, u: Any) -> jax.Array:
    return jax.jvp(lambda x: jax.jvp(loss, (x,), (u,))[1], (x,), (u,))[1]


def _plain(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    return jax.grad(loss)(params), jnp.ones(())


def _step(work: Workload, curved: Curved) -> Callable[[Any], Any]:
    def update(params: Any) -> Any:
        g, curvature = curved(work.loss, params)
        return moved(params, 1e-6 * dot(g, g) / (jnp.abs(curvature) + 1e-12), g)

    return update


def _counted(work: Workload, curved: Curved) -> tuple[float, float, float]:
    compiled = jax.jit(_step(work, curved), donate_argnums=0).lower(work.params).compile()
    cost: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    return cost["flops"], cost["bytes accessed"], memory.temp_size_in_bytes


if __name__ == "__main__":
    main()
