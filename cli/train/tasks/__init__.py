"""The built-in tasks, each in a file of its own, imported when it is chosen."""

import inspect
from importlib import import_module

from .task import Task

NAMES = ("digits", "digits_normed", "text", "rosenbrock", "quadratic")
"""The tasks; the module and the function that makes one are called the same."""


def make(name: str, batch_size: int | None = None) -> Task:
    """The task of this name; ValueError when it cannot have this batch size."""
    factory = getattr(import_module(f".{name}", __package__), name)
    if batch_size is None:
        return factory()  # type: ignore[no-any-return]  # found by name
    if "batch_size" not in inspect.signature(factory).parameters:
        raise ValueError(f"the task {name} has no batches, so it takes no batch size")
    return factory(batch_size)  # type: ignore[no-any-return]  # found by name
