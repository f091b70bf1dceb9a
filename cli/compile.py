"""`optc compile`: writes the module of a spec, and says what a step costs."""

import sys
from collections.abc import Mapping
from enum import Enum
from itertools import chain, repeat
from typing import Annotated

import typer

from ..compiler import driver
from ..compiler.locate import Located
from ..compiler.records import Hyperparameter, Scalar
from ..grammar.render import render_text
from . import settings
from .output import deliver, note, wants_color
from .passes import NoPass, left_out
from .spec import AllowExtern, locate


class Emit(Enum):
    """What is written: the module, an optax chain, the typed graph, or the lowered program."""

    PYTHON = "python"
    OPTAX = "optax"
    GRAPH = "graph"
    STABLEHLO = "stablehlo"


_FILE_NAMES = {
    Emit.PYTHON: "{}.py",
    Emit.OPTAX: "{}_optax.py",
    Emit.GRAPH: "{}.json",
    Emit.STABLEHLO: "{}.mlir",
}


def compile_(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="What to compile.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; - is standard output."),
    ] = None,
    emit: Annotated[Emit, typer.Option(help="What to write.")] = Emit.PYTHON,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's new default."),
    ] = None,
    no_pass: NoPass = None,
    allow_extern: AllowExtern = None,
) -> None:
    """Write the module of a spec and print a summary.

    Without -o the file is NAME.py in the current folder. The StableHLO is that of one step on a
    small linear model, for CPU, CUDA and TPU.

    Example:
      optc compile fsam.opt
      optc compile adamw -o - --set lr=3e-4
      optc compile adamw --emit graph -o adamw.json
    """
    defaults, without = settings.parse(set_ or []), left_out(no_pass)
    located = locate(spec, allow_extern or ())
    compiled = driver.compile_spec(located, defaults, without=without)
    if len(compiled.diagnostics):
        note(render_text(compiled.diagnostics, color=wants_color(sys.stderr)))
    output = output or _FILE_NAMES[emit].format(compiled.name)
    deliver(output, _text(compiled, emit, located, defaults))
    note(_summary(compiled, output))


def _text(
    compiled: driver.Compiled, emit: Emit, located: Located, defaults: Mapping[str, Scalar]
) -> str:
    match emit:
        case Emit.PYTHON:
            return compiled.source
        case Emit.OPTAX:
            return driver.optax_chain(located, defaults)
        case Emit.GRAPH:
            return compiled.graph.model_dump_json(indent=2)
        case Emit.STABLEHLO:
            from .stablehlo import lower  # the only kind of output that needs JAX

            return lower(compiled)


def _summary(compiled: driver.Compiled, output: str) -> str:
    summary = compiled.summary
    matrices = f", and {summary.matrices} per matrix" if summary.matrices else ""
    rows = {
        "stages": summary.stages,
        "oracles per step": [", ".join(f"{name} {times}" for name, times in summary.asked.items())],
        "state": [f"{summary.state} bytes per weight{matrices}"],
        "hyperparameters": [_default(each) for each in summary.hyperparameters],
    }
    title = compiled.name if output == "-" else f"{compiled.name}: wrote {output}"
    width = max(map(len, rows))
    lines = [title]
    for name, values in rows.items():
        for label, value in zip(chain([name], repeat("")), values or ["none"], strict=False):
            lines.append(f"  {label:<{width}}  {value}")
    return "\n".join(lines)


def _default(parameter: Hyperparameter) -> str:
    if parameter.default is None:
        return f"{parameter.name}, which has no default"
    return f"{parameter.name} = {parameter.default}"
