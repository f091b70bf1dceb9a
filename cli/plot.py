"""`optc plot`: schedules as a picture."""

from typing import Annotated

import typer

from ..compiler.locate import NotFoundError
from . import settings
from .extra import needs_extra
from .output import CommandError, note


def plot(
    schedules: Annotated[
        list[str], typer.Argument(metavar="SCHEDULE...", help="What to draw, in one picture.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An argument of those that have it."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw steps 1 to N.  [default: total, or 1000]"),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to: a PNG, PDF or SVG.")
    ] = "schedule.png",
) -> None:
    """Draw schedules over the steps of a run.

    SCHEDULE is a schedule of the library, `path.opt:NAME`, an optimizer whose step size depends
    on the step count alone, or an expression over t.

    Example:
      optc plot warmup_cosine wsd --set peak=1e-3 --set warmup=100 --set total=2000
      optc plot "linear_decay(peak = 1, total = 500)" "0.9^t" --steps 500 -o decays.png
      optc plot my.opt:refined --set peak=0.1
    """
    given = settings.parse(set_ or [])
    total = given.get("total")
    count = steps or (total if isinstance(total, int) and total > 0 else 1000)
    with needs_extra("drawing"):
        from ..api.picture import draw
        from ..api.schedules import ask  # NumPy and matplotlib: `optc --help` does without them

        try:
            found = [each for text in schedules for each in ask(text, given, strict=False)]
        except NotFoundError as error:
            raise CommandError(str(error)) from None
        for name in given:
            if not any(name in each.arguments for each in found):
                raise CommandError(f"nothing that is drawn has a parameter `{name}`")
        figure = draw({each.text: each.values(count) for each in found})
        try:
            figure.savefig(output)
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error.strerror}") from error
        except ValueError as error:
            raise CommandError(f"cannot write {output}: {error}") from error
    note(f"wrote {output}")
