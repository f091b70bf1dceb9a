"""The syntax tree of a `.opt` file: frozen nodes, each with the span of its text.

Spans do not take part in equality, so two trees are equal when they say the same thing.
Everything that LANGUAGE's grammar can say has a node here, also what is not yet compiled.
"""

from dataclasses import dataclass, field
from typing import Literal

from .source import Span

KINDS = (
    "perturb",
    "clip",
    "precondition",
    "decay",
    "tune",
    "constrain",
    "average",
    "accumulate",
    "guard",
)
"""The kinds of stage, in the order in which a pipeline meets them."""


@dataclass(frozen=True, slots=True)
class Node:
    """What every piece of syntax has: its place in the text."""

    span: Span = field(compare=False, repr=False)


# ---- expressions


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A literal; `text` is its spelling (`1e-3`, `10_000`).

    `value` is an int when the spelling has no point and no exponent.
    """

    value: int | float
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class String(Node):
    """A string literal; `value` is what it stands for, escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Bool(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Node):
    """An identifier."""

    id: str


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`value.name`: a transpose `x.T`, a stage's value `clip.scale`, a path of modules."""

    value: "Expr"
    name: Name


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-x` or `not x`."""

    op: Literal["-", "not"]
    operand: "Expr"


BinaryOp = Literal[
    "+", "-", "*", "/", "%", "@", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or", "matches"
]


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left op right`. Comparisons do not chain; `^` groups to the right, others to the left."""

    op: BinaryOp
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """One argument of a call, positional when `name` is None."""

    name: Name | None
    value: "Expr"


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)`.

    `function` is a Name, or an Attribute chain such as `optax.scale_by_adam`.
    """

    function: "Name | Attribute"
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    """`d => body`: an operator handed to `cg`."""

    parameter: Name
    body: "Expr"


@dataclass(frozen=True, slots=True)
class IsShape(Node):
    """`value is [rows, cols]`, or with `leading` `value is [.., rows, cols]`.

    Binds the dimensions.
    """

    value: "Expr"
    dimensions: tuple[Name, ...]
    leading: bool


Expr = Number | String | Bool | Name | Attribute | Unary | Binary | Call | Lambda | IsShape


# ---- statements


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`name = value`: a name for a value, once."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class State(Node):
    """`state name: dtype stochastic = initial`."""

    name: Name
    dtype: Name | None
    stochastic: bool
    initial: Expr


@dataclass(frozen=True, slots=True)
class Var(Node):
    """`var name = initial`: a value that loops may change."""

    name: Name
    initial: Expr


@dataclass(frozen=True, slots=True)
class Update(Node):
    """`name <- value`: a new value for a state or a var."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Repeat(Node):
    """`repeat count while condition { body }`."""

    count: Expr
    condition: Expr | None
    body: "Block"


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if condition { then } else { otherwise }`; `else if` is an `otherwise` of one If."""

    condition: Expr
    then: "Block"
    otherwise: "Block | None"


@dataclass(frozen=True, slots=True)
class Every(Node):
    """`every period { body }`, or `every period staggered { body }`."""

    period: Expr
    staggered: bool
    body: "Block"


@dataclass(frozen=True, slots=True)
class When(Node):
    """`when condition { then } else { otherwise }`: chosen statically; `else when` as for If."""

    condition: Expr
    then: "Block"
    otherwise: "Block | None"


@dataclass(frozen=True, slots=True)
class Return(Node):
    """`return value`."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Evaluate(Node):
    """`evaluate value`: the weights to evaluate with (average rules)."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Refuse(Node):
    """`error "message"`: this combination is refused."""

    message: String


Statement = Let | State | Var | Update | Repeat | If | Every | When | Return | Evaluate | Refuse


@dataclass(frozen=True, slots=True)
class Block(Node):
    """`{ statements }`."""

    statements: tuple[Statement, ...]


# ---- items


@dataclass(frozen=True, slots=True)
class Doc(Node):
    """A docstring: `text` is dedented and stripped; `inside` when it opens the body."""

    text: str
    inside: bool


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`in (low, high]`: `inf` and `-inf` are the Name `inf` and its negation."""

    low: Expr
    high: Expr
    low_open: bool
    high_open: bool


@dataclass(frozen=True, slots=True)
class Param(Node):
    """`name: type = default in range`. Without a type it is a float."""

    name: Name
    type: Name | None
    default: Expr | None
    range: Range | None


@dataclass(frozen=True, slots=True)
class Edition(Node):
    """`edition N`."""

    number: int


@dataclass(frozen=True, slots=True)
class Use(Node):
    """`use "path.opt"`."""

    path: String


@dataclass(frozen=True, slots=True)
class RuleDecl(Node):
    """`rule KIND NAME(params) equals CALL { ... }`."""

    kind: Name
    name: Name
    params: tuple[Param, ...]
    equals: Call | None
    doc: Doc | None
    body: Block


@dataclass(frozen=True, slots=True)
class ScheduleDecl(Node):
    """`schedule NAME(params) equals CALL = value`."""

    name: Name
    params: tuple[Param, ...]
    equals: Call | None
    doc: Doc | None
    value: Expr


@dataclass(frozen=True, slots=True)
class FuncDecl(Node):
    """`func NAME(params) { ... }`."""

    name: Name
    params: tuple[Param, ...]
    doc: Doc | None
    body: Block


@dataclass(frozen=True, slots=True)
class ExternDecl(Node):
    """`extern KIND NAME(params) = module.callable(...)`."""

    kind: Name
    name: Name
    params: tuple[Param, ...]
    doc: Doc | None
    target: Call


@dataclass(frozen=True, slots=True)
class Stage(Node):
    """One line of a pipeline: `clip value(1.0) where ndim >= 2`, `tune step lr`, `guard finite`.

    `rule` is a Call or a Name for all kinds but `tune` (any scalar expression) and
    `accumulate` (the number of micro-batches).
    """

    kind: Name
    rule: Expr
    where: Expr | None


@dataclass(frozen=True, slots=True)
class Observe(Node):
    """`observe value as name every period`, or `request`."""

    word: Literal["observe", "request"]
    value: Expr
    name: Name
    every: Expr | None


@dataclass(frozen=True, slots=True)
class Assert(Node):
    """`assert condition`: a claim about what the optimizer costs, which `optc plan` checks."""

    condition: Expr


@dataclass(frozen=True, slots=True)
class Lifting(Node):
    """`lifting stacked`: how the optimizer's matrices are lifted, whatever the backend."""

    way: Name


@dataclass(frozen=True, slots=True)
class View(Node):
    """`view "d (h k) -> h d k" with (h = 4)`; each of `sizes` has a name."""

    pattern: String
    sizes: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Group(Node):
    """`group name where predicate view "..." blocks of N { stages }`; `rest` has no predicate."""

    name: Name
    where: Expr | None
    view: View | None
    blocks: Expr | None
    stages: tuple["Stage | Observe", ...]


Element = Stage | Group | Observe | Assert | Lifting
"""What stands between the braces of an optimizer."""


@dataclass(frozen=True, slots=True)
class OptimizerDecl(Node):
    """`optimizer NAME(params) equals CALL { ... }`."""

    name: Name
    params: tuple[Param, ...]
    equals: Call | None
    doc: Doc | None
    body: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Drop(Node):
    """`drop hidden.decay`."""

    path: Name | Attribute


@dataclass(frozen=True, slots=True)
class Replace(Node):
    """`replace rest.precondition with adam(b1 = 0.8)`."""

    path: Name | Attribute
    rule: Expr


@dataclass(frozen=True, slots=True)
class Insert(Node):
    """`insert clip value(1.0) before hidden.precondition`."""

    stage: Stage
    position: Literal["before", "after"]
    path: Name | Attribute


@dataclass(frozen=True, slots=True)
class VariantDecl(Node):
    """`optimizer NAME from BASE with (params) { edits }`."""

    name: Name
    base: Name
    params: tuple[Param, ...]
    doc: Doc | None
    edits: tuple[Drop | Replace | Insert | Assert | Lifting, ...]


Item = Edition | Use | RuleDecl | ScheduleDecl | FuncDecl | ExternDecl | OptimizerDecl | VariantDecl


@dataclass(frozen=True, slots=True)
class Comment(Node):
    """`# text`; kept for the formatter."""

    text: str


@dataclass(frozen=True, slots=True)
class File(Node):
    """One parsed file. Comments take no part in equality: they say nothing to the compiler."""

    items: tuple[Item, ...]
    comments: tuple[Comment, ...] = field(compare=False, default=())
