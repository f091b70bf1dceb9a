"""Passes: pure functions from graph to graph, each with a contract, in one visible order."""

from collections.abc import Callable

from ..graph import Graph
from .carry import carry
from .cse import cse
from .curvature import curvature
from .dead_code import dead_code
from .diagonal import diagonal
from .factor import factor
from .finite import finite
from .fold import fold
from .gram import gram
from .held import held
from .hoist import hoist
from .join import join
from .land import land
from .outside import outside
from .settle import settle
from .spread import spread

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    dead_code,  # before cse, lest what has no use stand in for what is asked now and then only
    fold,  # early, since what it makes equal cse can merge
    hoist,  # before cse, which may find that what left a loop was known before it
    cse,  # before join, which looks for the same condition
    join,
    cse,  # of what is in one choice now; before curvature, which looks for the same direction twice
    curvature,
    gram,  # after cse, for the same reason; before factor, which writes sums in another way
    cse,  # of parameters that a loop asked for itself
    diagonal,  # after cse, for the same reason
    finite,  # before factor, as all that replaces fields
    held,  # after cse, for the same reason
    land,  # after held, which sees no more than one reader where values are left without a use
    outside,  # after gram, which looks for products; before factor, which goes on with scalars
    factor,  # after cse, which tells it what is used once
    dead_code,  # after those that leave values without a use
    carry,  # after dead_code, since a use that is none would be taken for a kernel
    spread,  # after cse, which would merge again what it takes apart
    settle,  # last, since it forgets which values are in a view
)
"""What every program goes through, in order."""

SIMPLIFYING: tuple[Pass, ...] = (fold, cse, dead_code, settle)
"""Those of them that leave a formula the way it was written: what people are shown."""
