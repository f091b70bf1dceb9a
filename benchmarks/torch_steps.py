"""Steps of PyTorch's fused AdamW on tensors of given shapes, for `elsewhere`: needs torch.

`PYTHON torch_steps.py cpu|cuda adamw|clip ROWSxCOLUMNS ...`, with the norm of all gradients clipped
at 1 or not. It imports nothing of this project, so that any interpreter can run it. Each line that
it reads is a number of steps; it answers with the mean of their seconds.
"""

import sys
import time

import torch

WARM_UP = 5
"""Steps before the first that counts."""


def main(device: str, what: str, *shapes: str) -> None:
    """Answer until there is nothing more to read."""
    torch.manual_seed(0)
    weights = [
        torch.nn.Parameter(torch.ones([int(n) for n in shape.split("x")], device=device))
        for shape in shapes
    ]
    for weight in weights:
        weight.grad = 1e-2 * torch.randn_like(weight)
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, fused=True)

    def step() -> None:
        if what == "clip":
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    def finished() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(WARM_UP):
        step()
    for line in sys.stdin:
        start = finished()
        for _ in range(int(line)):
            step()
        print((finished() - start) / int(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
