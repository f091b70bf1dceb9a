"""The bounds that keep every later step safe from hostile or accidental size.

The parser itself is a loop over a stack, but all that follows walks the tree by recursion, so the
depth of the tree is bounded here, once, and nobody else has to care.
"""

from dataclasses import fields
from functools import cache

from .diagnostic import Diagnostics, declare
from .source import Source, Span
from .syntax import Item, Node

MAX_CHARACTERS = 1 << 20
"""A longer file is refused unread."""

MAX_NESTING = 100
"""Brackets inside brackets."""

MAX_DEPTH = 200
"""Nodes from an item down to its deepest leaf; a sum of `n` terms is `n` deep."""

FILE_TOO_LARGE = declare(
    "file-too-large",
    "a file longer than 1 MiB",
    """
    A spec is a page of text. A file of more than 1,048,576 characters is something else, and
    is refused before it is read, so that checking a stranger's spec takes bounded time.

    Wrong: a data file, or a generated file, given in the place of a spec.

    Right: several files, brought together by `use`.
    """,
)

NESTED_TOO_DEEPLY = declare(
    "nested-too-deeply",
    "brackets or expressions inside each other beyond what is read",
    """
    Brackets may be nested 100 deep, and an expression or a chain of `else if` 200 deep. A sum of
    n terms counts as n deep, since it groups to the left. The bound makes certain that no spec
    can exhaust the stack of the compiler.

    Wrong: one sum of a thousand terms.

        x = a + a + a + a + ...

    Right: names for parts of it.

        half = a + a + a
        x = half + half
    """,
)


def check_size(source: Source, report: Diagnostics) -> bool:
    """Whether the file is short enough to be read; reports it when it is not."""
    size = len(source.text)
    if size <= MAX_CHARACTERS:
        return True
    report.add(
        FILE_TOO_LARGE.at(
            Span(source, 0, 0),
            f"the file has {size:,} characters; at most {MAX_CHARACTERS:,} are read",
            help="split it into several files and bring them together with `use`",
        )
    )
    return False


def check_depth(item: Item, report: Diagnostics) -> bool:
    """Whether the tree is shallow enough to be walked by recursion; reports it when it is not."""
    stack: list[tuple[Node, int]] = [(item, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            report.add(
                NESTED_TOO_DEEPLY.at(
                    node.span,
                    f"this is nested more than {MAX_DEPTH} deep",
                    help="give names to parts of it",
                )
            )
            return False
        for name in _parts(type(node)):  # type: ignore[arg-type]  # a class is hashable
            part = getattr(node, name)
            if isinstance(part, Node):
                stack.append((part, depth + 1))
            elif isinstance(part, tuple):
                stack.extend((child, depth + 1) for child in part)
    return True


@cache
def _parts(kind: type) -> tuple[str, ...]:
    """The fields of a node that can hold other nodes."""
    scalars = ("span", "text", "id", "op", "stochastic", "staggered", "leading", "inside")
    return tuple(f.name for f in fields(kind) if f.name not in scalars)
