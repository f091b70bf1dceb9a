"""Calls as they are meant: which declaration each names, and every argument by its name.

Two calls that say the same in other words, `adam(0.9)` and `adam(b1 = 0.9)`, become equal trees.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from ...grammar import syntax
from ..declarations import Declarations, Found, kind_of
from ..lowering.calls import declared
from ..parameters import takes_function

Reached = dict[tuple[str, str], list[Found]]
"""Declarations by kind and name; two files may mean different things by one name."""

_Node = TypeVar("_Node", bound=syntax.Node)


def as_call(expr: syntax.Expr) -> syntax.Call | None:
    """The call that a stage's rule is, with or without brackets; None for other expressions."""
    match expr:
        case syntax.Name():
            return syntax.Call(expr.span, expr, ())
        case syntax.Call(function=syntax.Name()):
            return expr
    return None


def found(call: syntax.Call, scope: Declarations, kind: str) -> tuple[str, Found] | None:
    """What a call in a body or an expression names, with its kind; None for the language's own."""
    if not isinstance(call.function, syntax.Name):
        return None
    name = call.function.id
    callee = declared(scope, kind, name)
    return None if callee is None else (kind_of(callee.decl), callee)


def named(call: syntax.Call, callee: Found, signals: int = 0) -> syntax.Call:
    """A call with each argument by name, in the order of the parameters, defaults written out.

    The first `signals` arguments are no parameters and stay as they are. A default that speaks of
    other parameters follows their arguments, so it is left out.
    """
    given = list(call.arguments[signals:])
    places = iter(param.name.id for param in callee.decl.params)
    by_name = {a.name.id if a.name else next(places, ""): a.value for a in given}
    filled = []
    for param in callee.decl.params:
        value = by_name.get(param.name.id, param.default)
        fixed = value is not None and (_is_literal(value) or takes_function(param))
        if value is not None and (param.name.id in by_name or fixed):
            filled.append(syntax.Argument(call.span, param.name, value))
    return replace(call, arguments=(*call.arguments[:signals], *filled))


def meant(expr: _Node, scope: Declarations, kind: str) -> _Node:
    """A piece of syntax with every call in it as `named` writes it."""

    def rewrite(node: syntax.Node) -> syntax.Node:
        if not isinstance(node, syntax.Call):
            return node
        callee = found(node, scope, kind)
        if callee is None:
            return node
        is_rule = callee[0] == kind and kind not in ("func", "schedule", "tune")
        return named(node, callee[1], signals=int(is_rule))

    return rebuilt(expr, rewrite)


def reach(expr: syntax.Node, scope: Declarations, kind: str, into: Reached) -> None:
    """Add every declaration that a piece of syntax calls or hands on, or that these do."""
    for node in walk(expr):
        if isinstance(node, syntax.Call):
            if callee := found(node, scope, kind):
                enter(*callee, into)
            for argument in node.arguments:
                _enter_named(argument.value, scope, into)


def _enter_named(value: syntax.Expr, scope: Declarations, into: Reached) -> None:
    """Add the function that a value is the name of."""
    if isinstance(value, syntax.Name) and (function := scope.find("func", value.id)):
        enter("func", function, into)


def enter(kind: str, callee: Found, into: Reached) -> None:
    """Add a declaration and every one that it calls."""
    known = into.setdefault((kind, callee.decl.name.id), [])
    if any(callee.decl is each.decl for each in known):
        return
    known.append(callee)
    for part in body(callee):
        reach(part, callee.scope, kind, into)
    for param in callee.decl.params:
        if takes_function(param) and param.default is not None:
            _enter_named(param.default, callee.scope, into)
            reach(param.default, callee.scope, kind, into)


def body(callee: Found) -> tuple[syntax.Node, ...]:
    """What a declaration says that its callers would see."""
    match callee.decl:
        case syntax.RuleDecl() | syntax.FuncDecl() as decl:
            return (decl.body,)
        case syntax.ScheduleDecl() as decl:
            return (decl.value,)
        case syntax.ExternDecl() as decl:
            return (decl.target,)
        case _:
            return ()


def with_names(node: _Node, names: Mapping[str, str]) -> _Node:
    """A piece of syntax in which some names are others."""

    def rewrite(each: syntax.Node) -> syntax.Node:
        if isinstance(each, syntax.Name) and each.id in names:
            return replace(each, id=names[each.id])
        return each

    return rebuilt(node, rewrite, (syntax.Argument, "name"), (syntax.Call, "function"))


def rebuilt(
    node: _Node,
    rewrite: Callable[[syntax.Node], syntax.Node],
    *skipped: tuple[type[syntax.Node], str],
) -> _Node:
    """A tree whose nodes are rewritten, those inside first; `skipped` fields stay as they are."""
    changes: dict[str, object] = {}
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        if any(isinstance(node, type) and name == field for type, field in skipped):
            continue
        if isinstance(value, tuple):
            inner = tuple(
                rebuilt(v, rewrite, *skipped) if isinstance(v, syntax.Node) else v for v in value
            )
            if any(new is not old for new, old in zip(inner, value, strict=True)):
                changes[name] = inner
        elif isinstance(value, syntax.Node):
            new = rebuilt(value, rewrite, *skipped)
            if new is not value:
                changes[name] = new
    whole = rewrite(replace(node, **changes) if changes else node)  # type: ignore[arg-type]  # its own fields
    assert isinstance(whole, type(node))
    return whole


def walk(node: syntax.Node) -> Iterator[syntax.Node]:
    """A node and everything in it."""
    yield node
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, syntax.Node):
                yield from walk(inner)


def _is_literal(expr: syntax.Expr) -> bool:
    return not any(isinstance(each, syntax.Name) for each in walk(expr))
