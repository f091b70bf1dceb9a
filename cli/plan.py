"""`optc plan`: what an optimizer costs for real weights.

It needs JAX only for what optax keeps, and to compile.
"""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..compiler.budget.budget import Budget, budget, opaque_slots
from ..compiler.budget.tensors import Tree
from ..compiler.budget.text import text
from ..compiler.budget.trees import find
from ..compiler.graphs import lowered_graph
from . import settings
from .output import note, plural
from .passes import NoPass, left_out
from .spec import AllowExtern, locate

_encoded = json.JSONEncoder(allow_nan=False).encode


class Format(Enum):
    """How a plan is written."""

    TEXT = "text"
    JSON = "json"


def plan(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The optimizer.")],
    params: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="The weights: a .json of shapes, a .safetensors or .npz, a folder of a checkpoint "
            "or a run, or a built-in model such as gpt2-124m.",
        ),
    ],
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="The dtype of all weights: bfloat16, ...")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's new default."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to write the plan.")] = Format.TEXT,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the step too: bytes against the least.")
    ] = False,
    no_pass: NoPass = None,
    every: Annotated[bool, typer.Option("--all", help="A line for each tensor.")] = False,
    allow_extern: AllowExtern = None,
) -> None:
    """Say which tensor gets what, and what the state and a step cost.

    Nothing of the size of the weights is allocated, also where the step is compiled. The exit code
    is 1 when an `assert` of the spec does not hold, or when no state could be made for these
    weights.

    Example:
      optc plan adamw --params gpt2-124m
      optc plan mine.opt --params model.safetensors --dtype bfloat16
      optc plan mine.opt --params shapes.json --format json
      optc plan adamw --params gpt2-124m --compiled
    """
    defaults, without = settings.parse(set_ or []), left_out(no_pass)
    located = locate(spec, allow_extern or ())
    tree = find(params, read_folder)
    tree = tree if dtype is None else tree.cast(dtype)
    graph, _ = lowered_graph(located, defaults)
    if compiled or opaque_slots(graph):
        from ..api.plan import plan_of  # optax says what its transformations keep

        found = plan_of(located, tree, defaults, without, compiled)
    else:
        found = budget(graph, tree, without=without)
    _say(found, format, every)
    raise typer.Exit(int(not found.ok))


def read_folder(folder: Path) -> Tree:
    """The weights of a checkpoint that is a folder."""
    from .train.weights import read_folder  # orbax reads its own folders

    return read_folder(folder)


def _say(found: Budget, format: Format, every: bool) -> None:
    if left_out := found.tree.left_out:
        more = ", ..." if len(left_out) > 1 else ""
        note(f"left out {plural(len(left_out), 'tensor')} not of floats: {left_out[0]}{more}")
    if format is Format.JSON:
        print(_json(found.to_dict()))
    else:
        print(text(found, every))


def _json(fields: dict[str, object]) -> str:
    """A line for each field, and for each element of a list: many tensors are many lines."""
    lines = ",\n".join(f"  {_encoded(name)}: {_value(value)}" for name, value in fields.items())
    return f"{{\n{lines}\n}}"


def _value(value: object) -> str:
    if isinstance(value, list) and value:
        inner = ",\n".join(f"    {_encoded(element)}" for element in value)
        return f"[\n{inner}\n  ]"
    return _encoded(value)
