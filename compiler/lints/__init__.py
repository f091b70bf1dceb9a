"""Lints: what a program says that no one can have meant. Each is a warning with a code.

A lint sees one optimizer whose spec has no mistake, before any pass, and reports where a line does
nothing, or does what its author would not expect. It errs on the side of saying nothing: a
finding must hold for the values that the spec gives, whatever the gradients are.
"""

from collections.abc import Callable

from ...grammar.diagnostic import Diagnostics
from ..lowering.draft import Draft
from ..spec import Spec
from .average import check_average
from .clip import check_clip
from .constant import check_constant
from .dead_scale import check_dead_scale
from .decay import check_decay
from .dominant import check_dominant
from .empty import check_where
from .epsilon import check_dtypes
from .idle import check_idle
from .moment import check_moment
from .rate import check_rate
from .schedule import check_schedule
from .sign import check_sign
from .static import check_static
from .subject import Subject
from .undefined import check_undefined
from .warmup import check_warmup

Lint = Callable[[Subject, Diagnostics], None]

LINTS: tuple[Lint, ...] = (
    check_average,
    check_clip,
    check_constant,
    check_dead_scale,
    check_decay,
    check_dominant,
    check_dtypes,
    check_idle,
    check_moment,
    check_rate,
    check_schedule,
    check_sign,
    check_static,
    check_undefined,
    check_warmup,
    check_where,
)
"""All lints. None needs what another reports, so their order is of no matter."""


LIMIT = 120_000
"""Nodes times what is asked about each: no larger program is linted.

The library's largest, `soap_adamw_flax`, has half as many; the others have an eighth at most.
"""


def lint(spec: Spec, draft: Draft, report: Diagnostics) -> None:
    """Warn of all that the lints find in one optimizer. Its draft has no gaps."""
    subject = Subject(spec, draft)
    questions = len(draft.passages) + len(draft.hyperparameters) + len(draft.slots)
    if len(subject.nodes) * questions <= LIMIT:
        for each in LINTS:
            each(subject, report)
