"""`optc explain CODE`: the long explanation of a diagnostic."""

from typing import Annotated

import typer

from ..compiler import driver, schedules  # noqa: F401  # they declare the rules of every check
from ..grammar.diagnostic import RULES, did_you_mean
from .output import CommandError


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The name in error[...].")],
) -> None:
    """Say what a diagnostic means and what to do about it.

    Example:
      optc explain unknown-rule
    """
    rule = RULES.get(code)
    if rule is None:
        help = did_you_mean(code, RULES)
        raise CommandError(f"no diagnostic is called `{code}`" + (f"; {help}" if help else ""))
    print(f"{rule.severity.value}[{rule.code}]: {rule.summary}\n\n{rule.explanation}")
