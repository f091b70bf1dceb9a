"""Checks of a declaration's body by its structure alone: results, reach, and what is unused."""

from collections.abc import Iterable, Iterator

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, Severity, declare
from .declarations import Decl
from .parameters import check
from .predicate import TENSOR_NAMES

NO_RESULT = declare(
    "no-result",
    "a body that may end without a result",
    """
    A rule or function returns its result on its last line: with `return`, or with an `if` or
    `when` both of whose sides end so (or refuse with `error`).
    """,
)
UNREACHABLE = declare(
    "unreachable",
    "a statement that can never run",
    """
    Nothing after `return`, or after an `if` or `when` that returns, can run. A `return` stands
    last in its block, and inside `repeat` and `every` there is none.
    """,
)
UNUSED_PARAMETER = declare(
    "unused-parameter",
    "a parameter that nothing uses",
    """Remove the parameter, or use it. A user who sets it would expect that something changes.""",
    Severity.WARNING,
)
UNUSED_NAME = declare(
    "unused-name",
    "a name that nothing uses",
    """
    A value that has a name and no use is a slip more often than not. A rule's named values can be
    observed (`observe clip.scale as s`), which counts as a use when an optimizer of the same file
    does so.
    """,
    Severity.WARNING,
)
UNUSED_STATE = declare(
    "unused-state",
    "a state that is never read or never written",
    """
    A state costs memory for every weight. One that is never read has no effect, and one that is
    never written keeps its initial value: that is of use where the value is of the weights, as
    in `state start = w`, and has no warning there.
    """,
    Severity.WARNING,
)

HIDDEN_PARAMETER = declare(
    "hidden-parameter",
    "a condition on tensors that has the name of a parameter",
    """
    In `when`, `where` and `group ... where` the names `ndim`, `size`, `rows`, `cols`, `path`,
    `dtype` and `shape` are those of a tensor. A parameter of such a name is not what is compared
    there: `when shape == "round"` asks for the shape of each tensor.
    """,
    Severity.WARNING,
)


def check_structure(decl: Decl, observed: set[str], report: Diagnostics) -> None:
    """Report what is wrong with a declaration whatever its arguments are.

    `observed` are the named values that optimizers of the file observe.
    """
    if not isinstance(decl, syntax.OptimizerDecl):
        functions = isinstance(decl, syntax.RuleDecl | syntax.FuncDecl)
        check(decl.params, report, functions)
    match decl:
        case syntax.RuleDecl() | syntax.FuncDecl():
            if not _ends(decl.body, report):
                what = "rule" if isinstance(decl, syntax.RuleDecl) else "function"
                message = f"the {what} `{decl.name.id}` may end without a result"
                report.add(NO_RESULT.at(decl.name.span, message, help="end it with `return`"))
            _check_unused_names(decl.body, observed, report)
            # A parameter that is called takes a function.
            used = {*names_read(decl.body), *(name.id for name in names_called(decl.body))}
        case syntax.ScheduleDecl():
            used = {*names_read(decl.value), *(name.id for name in names_called(decl.value))}
        case syntax.ExternDecl():
            used = set(names_read(decl.target))
        case syntax.OptimizerDecl():
            lines = (
                line for line in decl.body if not isinstance(line, syntax.Assert | syntax.Lifting)
            )
            used = {name for line in lines for name in names_read(line)}
        case syntax.VariantDecl():
            return  # it is written out before it is looked at
    _check_hidden_parameters(decl, report)
    for default in (p.default for p in decl.params if p.default):
        used |= {*names_read(default), *(name.id for name in names_called(default))}
    for param in decl.params:
        if param.name.id not in used:
            message = f"the parameter `{param.name.id}` is never used"
            report.add(UNUSED_PARAMETER.at(param.name.span, message))


def observed_names(optimizers: Iterable[syntax.OptimizerDecl]) -> set[str]:
    """The last names of `stage.name` paths that optimizers speak of."""
    return {
        node.name.id
        for optimizer in optimizers
        for element in optimizer.body
        for node in _walk(element)
        if isinstance(node, syntax.Attribute)
    }


def _ends(block: syntax.Block, report: Diagnostics) -> bool:
    """Whether a block always ends with a result; reports what stands after the end."""
    ended = False
    for statement in block.statements:
        if ended:
            report.add(UNREACHABLE.at(statement.span, "this can never run", label="unreachable"))
            return True
        match statement:
            case syntax.Return() | syntax.Refuse():
                ended = True
            case syntax.If() | syntax.When():
                ended = _both_end(statement, report)
            case syntax.Repeat() | syntax.Every():
                _refuse_returns(statement.body, report)
            case _:
                pass
    return ended


def _both_end(choice: syntax.If | syntax.When, report: Diagnostics) -> bool:
    then = _ends(choice.then, report)
    otherwise = _ends(choice.otherwise, report) if choice.otherwise else False
    if then == otherwise:
        return then
    lone = choice.then if then else choice.otherwise
    assert lone is not None
    if isinstance(lone.statements[-1], syntax.Refuse):
        return otherwise if then else then
    message = "one side returns a result and the other goes on"
    help = "give both sides a `return`, and put what follows into the other side"
    report.add(NO_RESULT.at(lone.statements[-1].span, message, help=help))
    return True


def _refuse_returns(block: syntax.Block, report: Diagnostics) -> None:
    for node in _walk(block):
        if isinstance(node, syntax.Return):
            message = "a loop or `every` has no result of its own"
            report.add(UNREACHABLE.at(node.span, message, help="keep the value in a `var`"))


def _check_hidden_parameters(decl: Decl, report: Diagnostics) -> None:
    hidden = {p.name.id: p.name for p in decl.params if p.name.id in TENSOR_NAMES}
    for node in _walk(decl) if hidden else ():
        match node:
            case syntax.When(condition=condition):
                pass
            case syntax.Stage(where=condition) | syntax.Group(where=condition) if condition:
                pass
            case _:
                continue
        for name in _walk(condition):
            if isinstance(name, syntax.Name) and name.id in hidden:
                message = f"`{name.id}` is that of a tensor here, not the parameter"
                declared = Label(hidden[name.id].span, "the parameter")
                help = "give the parameter another name"
                report.add(HIDDEN_PARAMETER.at(name.span, message, others=(declared,), help=help))


def _check_unused_names(block: syntax.Block, observed: set[str], report: Diagnostics) -> None:
    reads = set(names_read(block))
    writes = {n.name.id for n in _walk(block) if isinstance(n, syntax.Update)}
    for node in _walk(block):
        match node:
            case syntax.Let() | syntax.Var() if node.name.id not in reads | observed:
                message = f"`{node.name.id}` is never used"
                report.add(UNUSED_NAME.at(node.name.span, message))
            case syntax.State() if node.name.id not in reads:
                message = f"the state `{node.name.id}` is never read"
                report.add(UNUSED_STATE.at(node.name.span, message))
            case syntax.State() if node.name.id not in writes and not _of_the_start(node.initial):
                message = f"the state `{node.name.id}` is never written"
                report.add(UNUSED_STATE.at(node.name.span, message))


def _of_the_start(value: syntax.Expr | syntax.Argument) -> bool:
    """Whether an initial value says something of the weights or the gradient at the start."""
    match value:
        case syntax.Call(function=syntax.Name(id="zeros" | "ones")):
            return False
        case syntax.Name():
            return value.id in ("w", "g", "u")
    inner = (getattr(value, name) for name in value.__dataclass_fields__)
    nodes = (x for part in inner for x in (part if isinstance(part, tuple) else (part,)))
    return any(_of_the_start(x) for x in nodes if isinstance(x, syntax.Expr | syntax.Argument))


def names_read(node: syntax.Node) -> Iterator[str]:
    """Names that are read, not those that are declared, written or called."""
    for inner in _walk(node):
        if isinstance(inner, syntax.Name):
            yield inner.id


def names_called(node: syntax.Node) -> Iterator[syntax.Name]:
    """The names of what is called, in order."""
    for inner in _walk(node):
        if isinstance(inner, syntax.Call) and isinstance(inner.function, syntax.Name):
            yield inner.function


def states_in(node: syntax.Node) -> tuple[syntax.State, ...]:
    """The states that something declares, but for what it calls."""
    return tuple(inner for inner in _walk(node) if isinstance(inner, syntax.State))


def keeps_fields(node: syntax.Node) -> bool:
    """Whether states that something declares are of the size of tensors, and it writes no others.

    What it calls is left out.
    """
    inner = tuple(_walk(node))
    own = {name.id for each in inner if (name := _named(each)) is not None}
    written = {each.name.id for each in inner if isinstance(each, syntax.Update)}
    return written <= own and all(_is_filled(each.initial) for each in states_in(node))


def _named(node: syntax.Node) -> syntax.Name | None:
    return node.name if isinstance(node, syntax.State | syntax.Var) else None


def _is_filled(node: syntax.Node) -> bool:
    calls = (each.function for each in _walk(node) if isinstance(each, syntax.Call))
    return any(isinstance(f, syntax.Name) and f.id in ("zeros", "ones", "eye") for f in calls)


def _walk(node: syntax.Node) -> Iterator[syntax.Node]:
    """A node and what it reads: targets of writes, argument names and docs are left out."""
    yield node
    for name in node.__dataclass_fields__:
        if name in _NOT_READ.get(type(node), ()):
            continue
        value = getattr(node, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, syntax.Node):
                yield from _walk(inner)


_NOT_READ: dict[type[syntax.Node], tuple[str, ...]] = {
    syntax.Let: ("name",),
    syntax.State: ("name", "dtype"),
    syntax.Var: ("name",),
    syntax.Update: ("name",),
    syntax.Argument: ("name",),
    syntax.Attribute: ("name",),
    syntax.Observe: ("name",),
    syntax.Stage: ("kind",),
    syntax.Group: ("name",),
    syntax.Call: ("function",),
}
