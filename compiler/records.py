"""Records that a spec, a draft and a graph share: what is known before a step runs.

They are plain frozen dataclasses, so that checking a spec does not import pydantic; the graph
that holds them is a pydantic model and validates them with itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from .types import Type

Scalar = int | float | bool | str


@dataclass(frozen=True)
class Term:
    """An expression over what is known before a step runs: `op` over terms or one literal.

    `literal` holds a value, `parameter` the name of a hyperparameter; `ndim`, `size`, `rows`,
    `cols`, `path` and `dtype` are a tensor's. All others are ops on plain numbers, and `matches`.
    """

    op: str
    arguments: "tuple[Term | Scalar, ...]" = ()

    @property
    def terms(self) -> "tuple[Term, ...]":
        """The arguments that are terms."""
        return tuple(a for a in self.arguments if isinstance(a, Term))


TRUE = Term("literal", (True,))
"""What always holds."""


@dataclass(frozen=True)
class Hyperparameter:
    """A parameter of the program. Static ones (`int`, `bool`, `str`) are fixed when it is bound.

    `low` and `high` are None where there is no bound. A `derived` default follows the values
    that earlier parameters are bound to; `default` is then its value at their defaults.
    """

    name: str
    default: Scalar | None
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    kind: Literal["float", "int", "bool", "str"] = "float"
    derived: Term | None = None
    place: str = ""

    @property
    def static(self) -> bool:
        """Whether a new value is a new program."""
        return self.kind != "float"


@dataclass(frozen=True)
class View:
    """An arrangement of axes, `d (h k) -> h d k`, cut into blocks: see `compiler.rearrange`.

    A size of an axis or of a block is a number, or the name of a hyperparameter. Without a
    `pattern` the axes stay as they are, and without `blocks` they are not cut.
    """

    pattern: str
    sizes: tuple[tuple[str, int | str], ...] = ()
    blocks: int | str | None = None


@dataclass(frozen=True)
class Domain:
    """A set of weight tensors: those of the domain `parent` for which `predicate` holds.

    With a `view` the tensors are seen in another arrangement, by the predicate too; domains in a
    domain with a view have it as well. The values of such a domain have that arrangement.
    """

    name: str
    parent: int
    predicate: Term
    view: View | None = None


ALL = Domain("all", 0, TRUE)
"""Every weight tensor: the domain 0 of each program."""


BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""The dtypes in which a state may be stored, and the bytes of one number."""


@dataclass(frozen=True)
class Slot:
    """One state: `stage` and `name` are its keys in the program's state.

    `dtype` is the stored dtype, None for the weight's (a scalar's is the default float), which is
    widened to 32 bits where the slot is `wide`.
    """

    stage: str
    name: str
    type: Type
    dtype: str | None = None

    @property
    def wide(self) -> bool:
        """Whether it has 32 bits at least: a basis is none, and a factor not positive, in less."""
        return self.dtype is None and self.type.has_own_shape


@dataclass(frozen=True)
class Stage:
    """A line of the spec: its label (`precondition`, `hidden.clip`), text, file and line.

    `domain` are its tensors, and `group` is the group that it stands in; empty outside.
    """

    label: str
    text: str
    file: str
    line: int
    domain: int = 0
    group: str = ""

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"

    def shown(self, file: str) -> str:
        """`line | text`, and the file before it where that is not `file`."""
        return f"{self.line if self.file == file else self.place} | {self.text}"


@dataclass(frozen=True)
class Group:
    """A group as it is declared: the tensors that end up in it, and those that it would take.

    `where` is the predicate's own text; a group without a predicate takes what is left.
    """

    name: str
    domain: int
    predicate: Term | None
    where: str
    place: str
    view: View | None = None


@dataclass(frozen=True)
class Refusal:
    """Where `condition` holds, no tensor may lie in `domain`.

    `message` says why, `stage` which line of the spec. The condition is one on hyperparameters that
    are fixed when a program is bound; where `domain` is None, no tensor matters.
    """

    domain: int | None
    message: str
    stage: int
    condition: Term = TRUE


@dataclass(frozen=True)
class Assertion:
    """A claim about what the program costs: its text, its place, and a condition.

    A `quantity` of the condition is one of `assertions.QUANTITIES`.
    """

    text: str
    place: str
    condition: Term


@dataclass(frozen=True)
class Output:
    """What a result of the `step` region is.

    `step` is subtracted from the weights; `weights` replace them, and so does `moved`, which the
    pass `land` makes. `slot` writes the state
    numbered `index`; `observed` and `requested` are reported as `name`; `applied` says whether the
    step counts.
    """

    role: Literal["step", "weights", "moved", "slot", "loss", "applied", "observed", "requested"]
    index: int = -1
    name: str = ""

    @property
    def is_reported(self) -> bool:
        """Whether it is only reported."""
        return self.role in ("observed", "requested")

    @property
    def label(self) -> str:
        """What it is called among the results of a program: `weights`, `observed grad_norm`."""
        if self.role in ("step", "weights", "moved"):
            return "weights"
        return f"{self.role} {self.name}" if self.is_reported else self.role


def is_within(domains: Sequence[Domain], inner: int, outer: int) -> bool:
    """Whether the domain numbered `inner` is `outer` or a part of it."""
    while inner != outer and inner != 0:
        inner = domains[inner].parent
    return inner == outer


def distinct(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken: `slots`, `slots_2`."""
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free
