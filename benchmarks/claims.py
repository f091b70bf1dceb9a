"""What optimizers of the library say they equal, as transformations of optax."""

from collections.abc import Mapping
from typing import Any

import optax

from optc.api.twins import value
from optc.compiler import library
from optc.grammar import syntax


def claiming() -> dict[str, syntax.OptimizerDecl]:
    """The optimizers of the library that claim to equal optax, by name."""
    found: dict[str, syntax.OptimizerDecl] = {}
    for name in library.names("optimizer"):
        for item in library.file("optimizer", name).items:
            if isinstance(item, syntax.OptimizerDecl) and item.equals is not None:
                found[name] = item
    return found


def defaults(optimizer: syntax.OptimizerDecl) -> dict[str, Any]:
    """The hyperparameters of an optimizer at their defaults, by name."""
    found: dict[str, Any] = {}
    for parameter in optimizer.params:
        assert parameter.default is not None
        found[parameter.name.id] = value(parameter.default, found)
    return found


def twin(
    optimizer: syntax.OptimizerDecl, hyperparameters: Mapping[str, Any]
) -> optax.GradientTransformation:
    """The transformation that an optimizer claims to equal."""
    assert optimizer.equals is not None
    made: optax.GradientTransformation = value(optimizer.equals, hyperparameters)
    return made
