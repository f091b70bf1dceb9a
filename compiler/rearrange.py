"""The `view` of a group: axes in another order, taken apart and put together, or cut into blocks.

A pattern is written in the notation of einops. On its left stand the axes of a tensor, on its right
those that the group's rules see; an axis in brackets is made of several. `d (q h k) -> q h d k`
takes the second axis apart, so the sizes of all but one of `q`, `h` and `k` must be known.

`blocks of 1024` cuts the last two axes of what there is then into equal blocks of at most so many
rows and columns, with zeros behind where they do not divide: a matrix becomes a grid of matrices,
whose two axes stand before those of a block.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from keyword import iskeyword
from math import prod

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, correction, declare, did_you_mean
from ..grammar.source import Span
from .records import Hyperparameter, Scalar, Term, View

BAD_VIEW = declare(
    "bad-view",
    "a view that is not an arrangement of axes",
    """
    `view "d h k -> h d k"` shows the tensors of a group to its rules in another arrangement, in the
    notation of einops: each axis has a name, stands once on each side, and brackets make one axis
    of several. Where an axis is taken apart, the sizes of all new axes but one are given: whole
    numbers, or `int` parameters of the optimizer. Ellipses and axes without a name are no part
    of it.

        group qkv where path matches "qkv" view "d (q h k) -> q h d k" with (q = 3, h = heads) {
          precondition sign()
        }

    `blocks of 1024`, behind a view or alone, cuts the last two axes into blocks of at most so many
    rows and columns. The size is a whole number too, or such a parameter.
    """,
)

Side = tuple[tuple[str, ...], ...]
"""The axes of a tensor in order, each made of one or several named axes."""

_NAMED = 4
"""A message names this many axes, and says that there are others."""

_TOKEN = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|(->)|([()])|(\S))")


def sides(pattern: str) -> tuple[Side, Side]:
    """The two sides of a pattern that is well formed."""
    before, after = pattern.split("->")
    return _axes(before), _axes(after)


def undone_alone(pattern: str) -> bool:
    """Whether the way back needs no sizes: each axis that a rule sees is one named axis."""
    return all(len(axis) == 1 for axis in sides(pattern)[1])


def reverse(pattern: str) -> str:
    """The arrangement that leads back."""
    before, after = pattern.split(" -> ")
    return f"{after} -> {before}"


def lengths(side: Side, shape: tuple[int, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    """The length of each named axis of a tensor that fits."""
    found = dict(sizes)
    for names, length in zip(side, shape, strict=True):
        known = prod(sizes[name] for name in names if name in sizes)
        found |= {name: length // known for name in names if name not in sizes}
    return found


def given(view: View, values: Mapping[str, Scalar]) -> dict[str, int]:
    """The sizes of a view as numbers, where hyperparameters have these values."""
    return {n: int(values[x]) if isinstance(x, str) else x for n, x in view.sizes}


def shape(view: View, shape: tuple[int, ...], values: Mapping[str, Scalar]) -> tuple[int, ...]:
    """The shape that a tensor has for the group's rules."""
    if view.pattern:
        before, after = sides(view.pattern)
        found = lengths(before, shape, given(view, values))
        shape = tuple(prod(found[name] for name in axis) for axis in after)
    return shape if view.blocks is None else in_blocks(shape, _largest(view, values))


def in_blocks(shape: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """The shape of a grid of blocks: before each of the last two lengths how many there are."""
    *leading, rows, cols = shape
    (down, height), (across, width) = cut(rows, largest), cut(cols, largest)
    return (*leading, down, across, height, width)


def cut(length: int, largest: int) -> tuple[int, int]:
    """Into how many parts of which length an axis is cut: as few and as equal as can be."""
    count = max(-(-length // largest), 1)
    return count, -(-length // count)


def _largest(view: View, values: Mapping[str, Scalar]) -> int:
    assert view.blocks is not None
    return int(values[view.blocks]) if isinstance(view.blocks, str) else view.blocks


def words(view: View) -> str:
    """A view as messages say it: `d h k -> h d k`, `blocks of 1024`."""
    shown = [view.pattern] if view.pattern else []
    shown += [f"blocks of {view.blocks}"] if view.blocks is not None else []
    return ", ".join(shown)


def misfit(view: View, shape: tuple[int, ...], values: Mapping[str, Scalar]) -> str | None:
    """Why a tensor of a shape does not fit a view, in the words of the runtime; None if it does."""
    if view.blocks is not None and (largest := _largest(view, values)) < 1:
        return f"the size {largest} of a block is below 1"
    if not view.pattern:
        few = f"it has {_axes_of(shape)}, and blocks are cut from two"
        return few if len(shape) < 2 else None
    side, sizes = sides(view.pattern)[0], given(view, values)
    if len(side) != len(shape):
        return f"it has {_axes_of(shape)}, and the arrangement takes {len(side)}"
    for name, size in sizes.items():
        if size < 1:
            return f"the size {name} = {size} is below 1"
    for names, length in zip(side, shape, strict=True):
        known = prod(sizes[name] for name in names if name in sizes)
        shown = " * ".join(f"{name} = {sizes[name]}" for name in names if name in sizes)
        if all(name in sizes for name in names):
            if known != length:
                return f"its axis of length {length} is not {shown}"
        elif length % known:
            return f"its axis of length {length} is no multiple of {shown}"
    return None


def _axes_of(shape: tuple[int, ...]) -> str:
    return "1 axis" if len(shape) == 1 else f"{len(shape)} axes"


def rank(view: View) -> Term:
    """What is known of the tensors in the arrangement: how many axes they have."""
    axes = len(sides(view.pattern)[1]) if view.pattern else 2
    number = Term(op="literal", arguments=(axes + 2 * (view.blocks is not None),))
    return Term(op="eq" if view.pattern else "ge", arguments=(Term(op="ndim"), number))


# ---- from syntax


def parse(
    group: syntax.Group, parameters: Sequence[Hyperparameter], report: Diagnostics
) -> View | None:
    """The view and the blocks that a group declares; None for none, and where they are wrong."""
    known = {p.name: p for p in parameters}
    view: View | None = View("")
    if group.view is not None:
        view = _Parser(group.view, known, report).view()
    if group.blocks is None:
        return view if view and view.pattern else None
    blocks = _size(group.blocks, known, report)
    if view is None or blocks is None:
        return None
    axes = len(sides(view.pattern)[1]) if view.pattern else 2
    if axes < 2:
        message = "blocks are cut from two axes, and the view has one"
        report.add(BAD_VIEW.at(group.blocks.span, message))
        return None
    return replace(view, blocks=blocks)


def _size(
    value: syntax.Expr, parameters: Mapping[str, Hyperparameter], report: Diagnostics
) -> int | str | None:
    """A size of an axis or a block; None where it was reported as none."""
    match value:
        case syntax.Number(value=int(number)) if number > 0:
            return number
        case syntax.Name() if value.id in parameters and parameters[value.id].kind == "int":
            return value.id
    help = "sizes are whole numbers above 0, or `int` parameters of the optimizer"
    report.add(BAD_VIEW.at(value.span, f"`{value.span.text}` is no size", help=help))
    return None


class _Parser:
    """Reads the pattern of a view, and the sizes of its axes."""

    def __init__(
        self, view: syntax.View, parameters: Mapping[str, Hyperparameter], report: Diagnostics
    ) -> None:
        self.syntax = view
        self.parameters = parameters
        self.report = report
        self.failed = False
        self.spans: list[dict[str, Span]] = [{}, {}]

    def view(self) -> View | None:
        before, after = self._sides()
        if self.failed:
            return None
        for name in self.spans[0].keys() ^ self.spans[1].keys():
            side = 0 if name in self.spans[0] else 1
            where = "right" if side == 0 else "left"
            self._wrong(self.spans[side][name], f"the axis `{name}` is not on the {where}")
        sizes = self._sizes()
        for axis in before:
            unknown = [name for name in axis if name not in sizes]
            if len(unknown) > 1 and not self.failed:
                span = self.spans[0][unknown[0]].to(self.spans[0][unknown[-1]])
                names = [f"`{name}`" for name in unknown[:_NAMED]]
                names += ["..."] if len(unknown) > _NAMED else []
                help = f"give all but one of them: `with ({unknown[0]} = 2)`"
                self._wrong(span, f"the sizes of {', '.join(names)} are not known", help)
        if self.failed:
            return None
        pattern = f"{_text(before)} -> {_text(after)}"
        return View(pattern=pattern, sizes=tuple(sizes.items()))

    def _wrong(self, span: Span, message: str, help: str | None = None) -> None:
        self.failed = True
        self.report.add(BAD_VIEW.at(span, message, help=help))

    def _span(self, start: int, end: int) -> Span:
        """A part of the pattern; the text of a string begins behind its quote."""
        span = self.syntax.pattern.span
        return Span(span.source, span.start + 1 + start, span.start + 1 + end)

    def _tokens(self) -> Iterator[tuple[str, Span]]:
        text = self.syntax.pattern.span.text[1:-1]
        for match in _TOKEN.finditer(text):
            start, end = match.span(match.lastindex or 0)
            yield match[match.lastindex or 0], self._span(start, end)

    def _sides(self) -> tuple[Side, Side]:
        """Both sides; what is wrong with the marks is reported, the first of it."""
        found: list[list[tuple[str, ...]]] = [[]]
        open: tuple[list[str], Span] | None = None
        for token, span in self._tokens():
            if token == "->" and open is None and len(found) == 1:
                found.append([])
            elif token == "(" and open is None:
                open = [], span
            elif token == ")" and open is not None and open[0]:
                found[-1].append(tuple(open[0]))
                open = None
            elif token == "->" and open is not None:
                break
            elif token.isascii() and token.isidentifier():
                self._name(token, span, len(found) - 1)
                if open is None:
                    found[-1].append((token,))
                else:
                    open[0].append(token)
            else:
                self._wrong(span, f"`{token}` cannot stand here in a view")
                return (), ()
        if open is not None:
            self._wrong(open[1], "this bracket is never closed")
        elif len(found) == 1:
            help = 'write `view "BEFORE -> AFTER"`'
            self._wrong(self.syntax.pattern.span, "the view has no `->`", help)
        return tuple(found[0]), tuple(found[-1])

    def _name(self, name: str, span: Span, side: int) -> None:
        if name in self.spans[side]:
            self._wrong(span, f"the axis `{name}` stands twice on one side")
        if side == 0 and (iskeyword(name) or name == "blocks_of"):
            # The sizes of axes are keyword arguments in the printed program.
            self._wrong(span, f"an axis cannot be called `{name}`")
        self.spans[side][name] = span

    def _sizes(self) -> dict[str, int | str]:
        found: dict[str, int | str] = {}
        for size in self.syntax.sizes:
            assert size.name is not None
            name = size.name.id
            if name not in self.spans[0]:
                help = did_you_mean(name, self.spans[0])
                self.failed = True
                fix = correction(size.name.span, self.spans[0])
                message = f"the view has no axis `{name}`"
                self.report.add(BAD_VIEW.at(size.name.span, message, help=help, fix=fix))
            elif name in found:
                self._wrong(size.name.span, f"the size of `{name}` is given twice")
            value = _size(size.value, self.parameters, self.report)
            if value is not None:
                found[name] = value
            self.failed = self.failed or value is None
        return found


def _axes(side: str) -> Side:
    found = re.findall(r"\(([^)]*)\)|(\w+)", side)
    return tuple(tuple((inner or single).split()) for inner, single in found)


def _text(side: Side) -> str:
    return " ".join(axis[0] if len(axis) == 1 else f"({' '.join(axis)})" for axis in side)
