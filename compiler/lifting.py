"""`lifting` lines: how an optimizer's work is lifted, whatever the backend and its planner.

They change the form of a program and of its state, and no number.
"""

from collections.abc import Iterable

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, correction, declare, did_you_mean

BAD_LIFTING = declare(
    "bad-lifting",
    "a `lifting` line that says nothing, or says it twice",
    """
    Work is done tensor by tensor (`lifting tensors`), or tensors of one shape are a stack on which
    work on matrices is one batched operation (`lifting stacked`), or small tensors are one vector
    (`lifting packed`). Without a line, and with `lifting auto`, the backend decides: stacks on
    accelerators, and on a CPU tensor by tensor, but packs where small tensors are many. There is
    at most one such line in an optimizer, outside of its groups; that of a variant takes the place
    of the base's.
    """,
)

WAYS = ("auto", "tensors", "stacked", "packed")
"""What a line may say."""


def lifting(lines: Iterable[syntax.Element], report: Diagnostics) -> str:
    """The way that an optimizer's lines say; "auto" where none does."""
    found = [line for line in lines if isinstance(line, syntax.Lifting)]
    if not found:
        return WAYS[0]
    first, *others = found
    for line in others:
        message = "an optimizer says once how its work is lifted"
        said = (Label(first.span, "said here"),)
        report.add(BAD_LIFTING.at(line.span, message, label="again", others=said))
    way = first.way
    if way.id not in WAYS:
        known = ", ".join(f"`{each}`" for each in WAYS)
        help = did_you_mean(way.id, WAYS) or f"what it may be: {known}"
        message, fix = f"`{way.id}` is no way of lifting", correction(way.span, WAYS)
        report.add(BAD_LIFTING.at(way.span, message, label="unknown", help=help, fix=fix))
        return WAYS[0]
    return way.id
