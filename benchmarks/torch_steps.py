"""Steps of torch's fused AdamW on tensors of given sizes, for `elsewhere`: needs torch.

`PYTHON torch_steps.py cpu|cuda adamw|clipped SIZE ...`. It imports nothing of this project, so that
any interpreter can run it. Each line that it reads is a number of steps; it answers with the mean
of their seconds. `clipped` scales the gradients by `clip_grad_norm_` first.
"""

import sys
import time

import torch

WARM_UP = 3


def main(device: str, name: str, *sizes: str) -> None:
    """Answer until there is nothing more to read."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.ones(int(size), device=device)) for size in sizes]
    for weight in weights:
        weight.grad = 1e-2 * torch.randn_like(weight)
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, fused=True)

    def step() -> None:
        if name == "clipped":
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(WARM_UP):
        step()
    for line in sys.stdin:
        start = now()
        for _ in range(int(line)):
            step()
        print((now() - start) / int(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
