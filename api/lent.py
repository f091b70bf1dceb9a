"""The transformations that an `extern` names, for the interpreter: optax itself, in float64."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..compiler.environment import Fields


class Lent:
    """Makes and runs transformations; fields are lists, with masked nodes outside their domain."""

    def start(self, path: str, arguments: Mapping[str, Any], weights: Fields) -> Any:
        """The state of the transformation `module.function`."""
        with jax.enable_x64(True):
            return _made(path, tuple(arguments.items())).start(_tree(weights))

    def update(
        self,
        path: str,
        arguments: Mapping[str, Any],
        signal: Fields,
        state: Any,
        weights: Fields,
        extra: Mapping[str, Any],
    ) -> tuple[Fields, Any]:
        """The transformed signal and the next state."""
        known = dict(extra)
        if "grad" in known:
            known["grad"] = _tree(known["grad"])
        if "value_fn" in known:
            known["value_fn"] = _traceable(known["value_fn"])
        seen = [None if s is None else w for s, w in zip(signal, weights, strict=True)]
        with jax.enable_x64(True):
            made = _made(path, tuple(arguments.items()))
            update = made.searching if "value_fn" in known else made.update
            found, state = update(_tree(signal), state, _tree(seen), **known)
        pairs = zip(signal, found, strict=True)
        return [None if s is None else np.asarray(x, np.float64) for s, x in pairs], state


class _Made(NamedTuple):
    """A transformation: how its state starts, its update, and that with a function to search."""

    start: Callable[..., Any]
    update: Callable[..., Any]
    searching: Callable[..., Any]


@cache
def _made(path: str, arguments: tuple[tuple[str, Any], ...]) -> _Made:
    module, _, function = path.rpartition(".")
    made = getattr(import_module(module), function)(**dict(arguments))
    made = optax.with_extra_args_support(made)
    return _Made(jax.jit(made.init), jax.jit(made.update), made.update)


def _tree(tensors: Sequence[Any]) -> list[Any]:
    return [optax.MaskedNode() if x is None else jnp.asarray(x) for x in tensors]


def _traceable(loss: Callable[[Fields], float]) -> Callable[[Any], Any]:
    """A function of NumPy as searches call it, in a loop of JAX."""
    number = jax.eval_shape(lambda: jnp.zeros((), float))

    def ask(params: Any) -> Any:
        return jax.pure_callback(
            lambda at: np.float64(loss([np.asarray(x) for x in at])), number, params
        )

    return ask
