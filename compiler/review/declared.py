"""Rules, schedules and functions whose bodies are others now, line by line."""

from collections.abc import Iterable
from dataclasses import replace
from difflib import SequenceMatcher

from ...grammar import syntax
from ...grammar.format import format
from ...grammar.layout import inline, inline_params
from ..declarations import Decl, Found
from . import calls
from .records import Change


def changes(
    old: calls.Reached, new: calls.Reached, replaced: Iterable[tuple[str, str, str]]
) -> tuple[Change, ...]:
    """The declarations that say something else now.

    That are those of one kind and name in both optimizers, and the `replaced` rules: a kind, and
    the names of the rule that a stage had and has. Of those whose bodies have little in common
    nothing is shown.
    """
    found: dict[tuple[str, str], Change] = {}
    for (kind, name), after in new.items():
        for was, now in zip(old.get((kind, name), ()), after, strict=False):
            if was.decl is not now.decl and not _mean_the_same(kind, was, now):
                found[kind, name] = Change("changed", kind, name, inside=_lines(was, now))
    for kind, before, name in replaced:
        shelf = kind.removesuffix(" step")
        gone, fresh = old.get((shelf, before)), new.get((shelf, name))
        if gone and fresh and _are_alike(inside := _lines(gone[0], fresh[0])):
            found.setdefault(
                (shelf, name), Change("changed", kind, f"{before} -> {name}", inside=inside)
            )
    return tuple(found.values())


def all_changes(old: calls.Reached, new: calls.Reached) -> tuple[Change, ...]:
    """The declarations that are new, gone, or say something else now."""
    gone = tuple(Change("removed", *key) for key in old if key not in new)
    added = tuple(Change("added", *key) for key in new if key not in old)
    return (*gone, *changes(old, new, ()), *added)


def _mean_the_same(kind: str, was: Found, now: Found) -> bool:
    return _parts(was, kind) == _parts(now, kind)


def _are_alike(inside: tuple[Change, ...]) -> bool:
    """Whether two bodies share a line; that of the parameters does not count."""
    return any(change.how == "kept" for change in inside[1:])


def _parts(callee: Found, kind: str) -> tuple[object, ...]:
    """What a declaration says: its body with every call as it is meant, and its parameters."""
    bodies = tuple(calls.meant(part, callee.scope, kind) for part in calls.body(callee))
    return type(callee.decl), callee.decl.params, bodies


def _text(decl: Decl) -> list[str]:
    """What a declaration says on canonical lines: its parameters, and then its body."""
    lines = [inline_params(decl.params)] if decl.params else []
    match decl:
        case syntax.RuleDecl() | syntax.FuncDecl():
            body = replace(decl, params=(), doc=None)
            if isinstance(body, syntax.RuleDecl):
                body = replace(body, equals=None)
            # Without its comments: those are no part of what it says.
            text = format(syntax.File(decl.span, (body,)))
            return lines + [line.removeprefix("  ") for line in text.splitlines()[1:-1] if line]
        case syntax.ScheduleDecl():
            return [*lines, inline(decl.value)]
        case syntax.ExternDecl():
            return [*lines, inline(decl.target)]
        case _:
            return lines


def _lines(was: Found, now: Found) -> tuple[Change, ...]:
    """The lines of two declarations: kept, gone and new."""
    old, new = _text(was.decl), _text(now.decl)
    result: list[Change] = []
    for tag, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            result += (Change("kept", "", line) for line in old[i:j])
        else:
            result += (Change("removed", "", line) for line in old[i:j])
            result += (Change("added", "", line) for line in new[k:n])
    return tuple(result)
