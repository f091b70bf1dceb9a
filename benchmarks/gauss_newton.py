"""A Gauss-Newton step of ten iterations against what its counted passes cost.

`optc plan` counts a loss with its gradient and ten products for ten iterations. By hand that is one
linearisation of the model and ten uses of it, with the arithmetic of no method around them. Held
against: at most 1.1 of that.
"""

from collections.abc import Callable
from typing import Any

import jax

import optc

from .interleave import held, interleave, report
from .workload import Workload, mlp, moved, text_model

ROUNDS = 9
ITERATIONS = 10

SPEC = """
optimizer conjugate(lr = 1e-6, damping = 1.0, iterations: int = 10) {
  precondition damped(damping, iterations)
  tune step    lr
}

rule precondition damped(damping = 1.0, iterations: int = 10) {
  return cg(d => ggn(d) + damping * d, g, iterations)
}
"""


def main() -> None:
    """Print both tables."""
    found = _compare(text_model())
    held("ten iterations on the text model, in their counted passes", found, 1.1)
    _compare(mlp())


def _compare(work: Workload) -> float:
    """Print one table; gives the compiled step in passes that are counted."""
    print(f"\nGauss-Newton by {ITERATIONS} conjugate gradients on {work.name}")
    timings = interleave(
        {
            "plain": work.compiled("sgd", lr=1e-6),
            "optc": work.compiled(optc.compile(SPEC), iterations=ITERATIONS),
            "the passes": work.by_hand(_passes(work, ITERATIONS)),
            "the passes, one product": work.by_hand(_passes(work, 1)),
        },
        ROUNDS,
    )
    report(timings, "plain")
    return timings["optc"].median / timings["the passes"].median


def _passes(work: Workload, products: int) -> Callable[[Any], Any]:
    """The gradient, and some products with the Gauss-Newton matrix, one after the other."""
    assert work.objective.outputs is not None
    model = work.objective.outputs

    def slope(outputs: Any) -> Any:
        return jax.grad(lambda z: work.objective.loss_of(z, work.batch))(outputs)

    def update(params: Any) -> Any:
        outputs, push = jax.linearize(lambda x: model(x, work.batch), params)
        pull = jax.linear_transpose(push, params)
        grad, curve = jax.linearize(slope, outputs)
        (g,) = pull(grad)

        def product(v: Any, _: None) -> tuple[Any, None]:
            return pull(curve(push(v)))[0], None

        return moved(params, 1e-6, jax.lax.scan(product, g, length=products)[0])

    return update


if __name__ == "__main__":
    main()
