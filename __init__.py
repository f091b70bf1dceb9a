"""optc: a compiler for optimizers.

    program = optc.load("fsam.opt")
    optimizer = program(lr=3e-4)
    state = optimizer.init(params)
    params, state, report = optimizer.step(params, state, batch, objective)

Importing `optc` is light: JAX is imported when the first name that needs it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api.equivalence import equiv
    from .api.locks import lock, verify
    from .api.plan import plan
    from .api.programs import compile, load
    from .api.schedules import Schedule, schedule
    from .grammar.diagnostic import OptcError, SpecError
    from .runtime import (
        GroupTable,
        GroupWarning,
        Hyperparameter,
        Objective,
        Optimizer,
        Program,
        Report,
        State,
    )
    from .runtime.multi_output import configure

_HOMES = {
    "OptcError": "grammar.diagnostic",
    "SpecError": "grammar.diagnostic",
    "compile": "api.programs",
    "configure": "runtime.multi_output",
    "equiv": "api.equivalence",
    "load": "api.programs",
    "lock": "api.locks",
    "plan": "api.plan",
    "Schedule": "api.schedules",
    "schedule": "api.schedules",
    "verify": "api.locks",
    "GroupTable": "runtime",
    "GroupWarning": "runtime",
    "Hyperparameter": "runtime",
    "Objective": "runtime",
    "Optimizer": "runtime",
    "Program": "runtime",
    "Report": "runtime",
    "State": "runtime",
}

__all__ = [
    "GroupTable",
    "GroupWarning",
    "Hyperparameter",
    "Objective",
    "OptcError",
    "Optimizer",
    "Program",
    "Report",
    "Schedule",
    "SpecError",
    "State",
    "compile",
    "configure",
    "equiv",
    "load",
    "lock",
    "plan",
    "schedule",
    "verify",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
