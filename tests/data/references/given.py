"""Weights and gradients on which reference code was followed, and the file that keeps them.

All numbers are small fractions of two that Python's own `random` draws, so they are short, exact
in every float, and the same everywhere.
"""

import importlib.util
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, list]
"""The tensors of a case by name, as nested lists."""
Follow = Callable[[Tensors, list[Tensors]], list[Tensors]]
"""From the first weights and a gradient for each step to the weights after each."""


def drawn(shape: Sequence[int], source: random.Random, scale: float = 1.0) -> list:
    """A tensor of multiples of 1/32 in [-1, 1], times `scale`, a power of two."""
    if not shape:
        return scale * source.randint(-32, 32) / 32
    return [drawn(shape[1:], source, scale) for _ in range(shape[0])]


def given(shapes: Shapes, steps: int, seed: int = 7) -> tuple[Tensors, list[Tensors]]:
    """The first weights and a gradient for each step, of sizes from 1/16 to 4."""
    source = random.Random(seed)
    weights = {name: drawn(shape, source) for name, shape in shapes.items()}
    sizes = [2.0 ** source.randint(-4, 2) for _ in range(steps)]
    return weights, [
        {name: drawn(shape, source, size) for name, shape in shapes.items()} for size in sizes
    ]


def module(path: str, name: str) -> ModuleType:
    """The reference code in a file, imported under a name of its own."""
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None, path
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


def torch_in_float64() -> Any:
    """torch on one thread, with float64 for all that code casts to float32."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    return torch


def stepped(torch: Any, make: Callable[[Sequence[Any]], Any]) -> Follow:
    """What follows an optimizer of torch, which `make` makes for some tensors."""

    def follow(weights: Tensors, gradients: list[Tensors]) -> list[Tensors]:
        tensors = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
        optimizer = make(list(tensors.values()))
        visited = []
        for now in gradients:
            for name, tensor in tensors.items():
                tensor.grad = torch.tensor(now[name])
            optimizer.step()
            visited.append({name: w.detach().tolist() for name, w in tensors.items()})
        return visited

    return follow


def keep(script: str, about: Mapping[str, str], cases: Mapping[str, object]) -> None:
    """Write what was recorded beside the script that did it, one case a line."""
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in cases.items())
    head = json.dumps(about)[1:-1]
    name = Path(script).stem.removeprefix("record_")
    Path(script).with_name(f"{name}.json").write_text(f"{{{head},\n{text}\n}}\n")


def walks(
    follow: Follow,
    start: tuple[Tensors, list[Tensors]],
    shown: Sequence[int],
) -> dict[str, Tensors]:
    """The weights after the steps `shown`, which are counted from 1."""
    visited = follow(*start)
    return {str(step): visited[step - 1] for step in shown}
