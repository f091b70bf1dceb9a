"""Steps of heavyball on matrices of given shapes, for `elsewhere`: needs torch and heavyball.

`PYTHON heavyball_steps.py muon|soap ROWSxCOLUMNS ...`. It imports nothing of this project, so that
any interpreter can run it. Each line that it reads is a number of steps; it answers with the
seconds of each. Hyperparameters are heavyball's own, but for SOAP's refresh every 10 steps, and
its limit on sides, so that all sides have a basis.
"""

import sys
import time

import heavyball
import torch

WARM_UP = 25
"""Steps before the first that counts: they compile, make bases and refresh them."""


def main(method: str, *shapes: str) -> None:
    """Answer until there is nothing more to read."""
    torch.manual_seed(0)
    sizes = [tuple(map(int, shape.split("x"))) for shape in shapes]
    weights = [torch.nn.Parameter(torch.ones(size)) for size in sizes]
    for weight in weights:
        weight.grad = 1e-2 * torch.randn(weight.shape)
    optimizer = (
        heavyball.Muon(weights)
        if method == "muon"
        else heavyball.SOAP(weights, precondition_frequency=10, max_precond_dim=10_000)
    )
    gradients = [weight.grad for weight in weights]
    for _ in range(WARM_UP):
        step(optimizer, weights, gradients)
    for line in sys.stdin:
        times = [step(optimizer, weights, gradients) for _ in range(int(line))]
        print(*times, flush=True)


def step(optimizer, weights, gradients) -> float:
    """One step from the same gradients: its seconds. A step may take the gradients away."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    start = time.perf_counter()
    optimizer.step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*sys.argv[1:])
