"""What an optimizer may ask of whoever trains with it."""

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare, did_you_mean

UNKNOWN_REQUEST = declare(
    "unknown-request",
    "a request that nobody would honour",
    """
    `request EXPR as batch_size` asks whoever trains for another number of examples in the batches
    from the next step on, and changes nothing of the update; `report.requested["batch_size"]` has
    it. Nothing else can be requested. `observe EXPR as NAME` reports a number under any name.
    """,
)

REQUESTS = ("batch_size",)
"""What can be requested."""


def is_known_request(observe: syntax.Observe, report: Diagnostics) -> bool:
    """Whether a line requests what can be requested, or nothing; else it is reported."""
    name = observe.name.id
    if observe.word == "observe" or name in REQUESTS:
        return True
    known = ", ".join(f"`{each}`" for each in REQUESTS)
    help = did_you_mean(name, REQUESTS) or f"what can be requested: {known}"
    message = f"`{name}` cannot be requested"
    report.add(UNKNOWN_REQUEST.at(observe.name.span, message, label="unknown", help=help))
    return False
