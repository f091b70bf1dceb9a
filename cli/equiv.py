"""`optc equiv`: whether two optimizers are the same map."""

import json
from enum import Enum
from typing import Annotated

import typer

from ..api.equivalence import equiv as decide
from ..compiler.meaning import report
from . import settings
from .output import CommandError
from .spec import AllowExtern


class Format(Enum):
    """How the verdict is written."""

    TEXT = "text"
    JSON = "json"


_SIDE = "A spec, or an expression over optax: `optax:adamw(1e-3)`."


def equiv(
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help=_SIDE)],
    set_a: Annotated[
        list[str] | None,
        typer.Option("--set-a", metavar="NAME=VALUE", help="A hyperparameter of A."),
    ] = None,
    set_b: Annotated[
        list[str] | None,
        typer.Option("--set-b", metavar="NAME=VALUE", help="A hyperparameter of B."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=1000, help="The steps of a tape.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Other tapes, other values.")] = 0,
    maps: Annotated[
        bool, typer.Option("--map/--no-map", help="Look for parameters that make them the same.")
    ] = True,
    format: Annotated[Format, typer.Option(help="How to write the verdict.")] = Format.TEXT,
    allow_extern: AllowExtern = None,
) -> None:
    """Say whether two optimizers are the same map.

    First their normal forms are compared, then what they do on random tapes in float64. Where they
    differ it shows the first step, tensor and value, and parameters that would make them the same.
    The exit code is 0 for the same map, and 1 where they differ or it is not decided.

    Example:
      optc equiv signum lion
      optc equiv adamw adam --set-a decay=0
      optc equiv nadam "optax:nadam(lr, b1, b2, eps)"
    """
    ours, theirs = settings.parse(set_a or []), settings.parse(set_b or [])
    try:
        verdict = decide(
            a,
            b,
            set_a=ours,
            set_b=theirs,
            seed=seed,
            steps=steps,
            maps=maps,
            allow_extern=allow_extern or (),
        )
    except (FileNotFoundError, ValueError) as error:
        raise CommandError(str(error)) from None
    if format is Format.JSON:
        print(json.dumps(report.data(verdict), indent=2, allow_nan=False))
    else:
        print(report.text(verdict))
    raise typer.Exit(0 if verdict.same else 1)
