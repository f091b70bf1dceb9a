"""Writes `compiler/transformations.py`, the table of what `extern` may name in optax.

    python docs/transformations.py

The compiler does not import optax, so it knows by this table what optax has. What a transformation
does with the sign of its input, and which extra arguments its update takes, is found by trying it
on a small quadratic. A test compares the table with what this would write.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

TABLE = Path(__file__).parents[1] / "compiler" / "transformations.py"

MODULES = {"optax": optax, "optax.contrib": optax.contrib}

EXTRA = ("value", "grad", "value_fn")
"""The extra arguments that a program can give to an update."""

SEARCHES = ("scale_by_backtracking_linesearch", "scale_by_zoom_linesearch")
"""What scales minus a direction, as no trial of one sign can tell."""

CONSTRAINTS = ("keep_params_nonnegative",)
"""What changes minus a step so that the weights after it are feasible."""

NOT_NUMBERS = re.compile(
    r".*(mask|_fn|optimizer|linesearch|dimension_numbers|^key|flip_sign|verbose)$"
)
"""Parameters that keep their defaults: they take trees or functions, turn the sign, or print."""

SAMPLES: dict[str, Any] = {"max_backtracking_steps": 5, "max_linesearch_steps": 5, "seed": 0}
"""Values for required parameters for which 0.1 will not do."""

HEAD = '''"""What `extern` may name in optax {version}: written by `docs/transformations.py`.

`parameters` are those that take numbers, truth values or texts, the first `required` of which have
no default. `extra` are the extra arguments that the update takes. `sort` says what it maps to what:

| sort | takes | gives |
|---|---|---|
| `direction` | a gradient or a direction | a direction |
| `update` | a gradient or a direction | minus a step |
| `search` | minus a direction | minus a step |
| `constraint` | minus a step | minus a step, after which the weights are feasible |
"""

from dataclasses import dataclass
from typing import Literal

Sort = Literal["direction", "update", "search", "constraint"]


@dataclass(frozen=True, slots=True)
class Transformation:
    """One public function of optax that returns a transformation."""

    sort: Sort
    parameters: tuple[str, ...] = ()
    required: int = 0
    extra: tuple[str, ...] = ()


TABLE: dict[str, dict[str, Transformation]] = {{
'''


def table() -> str:
    """The text of the table."""
    rows = [HEAD.format(version=optax.__version__)]
    for path, module in MODULES.items():
        rows.append(f'    "{path}": {{\n')
        rows += [f'        "{name}": {row},\n' for name, row in _rows(module)]
        rows.append("    },\n")
    rows.append("}\n")
    return "".join(rows)


def _rows(module: Any) -> Iterator[tuple[str, str]]:
    for name, function in candidates(module):
        row = _row(name, function)
        if row is not None:
            yield name, row


def candidates(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public functions that return a transformation, and need nothing but plain values for it."""
    for name, function in sorted(vars(module).items()):
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        signature = inspect.signature(function)
        kinds = {p.kind for p in signature.parameters.values()}
        variadic = kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        plain = not any(NOT_NUMBERS.match(each) for each in parameters(function)[1])
        if "Transformation" in str(signature.return_annotation) and not variadic and plain:
            yield name, function


def parameters(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The parameters that take plain values, and those of all that have no default."""
    declared = inspect.signature(function).parameters.values()
    required = [p.name for p in declared if p.default is p.empty]
    return [p.name for p in declared if p.name in required or _is_simple(p)], required


def _row(name: str, function: Callable[..., Any]) -> str | None:
    plain, required = parameters(function)
    given = {each: SAMPLES.get(each, 0.1) for each in required}
    rated = given | {"learning_rate": 0.1} if "learning_rate" in plain else given
    try:
        positive, extra = trial(function, rated)
        if rated != given and trial(function, given)[0] != positive:
            required = ["learning_rate"]  # without one it does not turn the sign
    except (AttributeError, TypeError, ValueError):
        return None  # it takes transformations, per-example gradients or other extra arguments
    # Required parameters come first in a signature, so counting them is enough.
    assert plain[: len(required)] == required
    sort = "direction" if positive else "update"
    sort = "search" if name in SEARCHES else "constraint" if name in CONSTRAINTS else sort
    entries = [f'"{sort}"', _tuple(plain)]
    entries += [str(len(required))] if required or extra else []
    entries += [_tuple(extra)] if extra else []
    if entries[1:] == ["()"]:
        entries.pop()
    return f"Transformation({', '.join(entries)})"


def _is_simple(parameter: inspect.Parameter) -> bool:
    if parameter.name.endswith("dtype"):
        return True
    default = parameter.default
    if NOT_NUMBERS.match(parameter.name):
        return parameter.name.endswith("mask") and isinstance(default, bool)
    return default is None or isinstance(default, bool | int | float | str)


def trial(function: Callable[..., Any], arguments: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether updates keep the sign of a positive gradient, and the extra arguments they need."""
    tx = optax.with_extra_args_support(function(**arguments))
    params = {"a": jnp.asarray([[1.0, 2.0], [3.0, 4.0]])}

    def loss(params: Any) -> jax.Array:
        return jnp.sum(params["a"] ** 2) / 2

    known = {"value": loss(params), "grad": params, "value_fn": loss}
    extra: list[str] = []
    state, along = tx.init(params), 0.0
    while along == 0.0:  # some begin with an update of zero
        try:
            update, state = tx.update(
                params, state, params, **{each: known[each] for each in extra}
            )
        except TypeError as error:
            missing = [each for each in re.findall(r"'(\w+)'", str(error)) if each in EXTRA]
            if not missing or set(missing) <= set(extra):
                raise
            extra += missing
            continue
        (signal,) = jax.tree.leaves(update)
        if signal.shape != (2, 2):
            raise ValueError("it reduces over examples")
        along = float(jnp.vdot(signal, params["a"]))
        if function in (optax.set_to_zero, optax.keep_params_nonnegative):
            break
    return along >= 0, extra


def _tuple(names: list[str]) -> str:
    inner = ", ".join(f'"{name}"' for name in names)
    return f"({inner},)" if len(names) == 1 else f"({inner})"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
