"""The pipelines of two optimizers side by side: stages and groups, kept, changed and moved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product

from .align import align
from .outline import Argument, Block, Element, Line
from .records import Change, Fact, How

_EQUAL = 16
"""Likeness of what did not change."""
_SAME_RULE = 5
"""Likeness from which elements are the same thing in another place."""

Row = tuple[Element | None, Element | None]


@dataclass
class Alignment:
    """Which element of the new pipeline was which of the old one.

    Elements are known by identity. `rows` has the order of the pipeline under None, and that of
    each new group that was there before under its name. `paired` are old, `moved` new elements.
    """

    partners: dict[int, Element] = field(default_factory=dict)
    paired: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    lines: list[tuple[Line, Line]] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    rows: dict[str | None, list[Row]] = field(default_factory=dict)

    def labels(self) -> dict[str, str]:
        """What the label of each old stage is now."""
        return {before.label: after.label for before, after in self.lines}


def aligned(old: Sequence[Element], new: Sequence[Element]) -> Alignment:
    """Pair the elements of two pipelines: in order first, then what stands elsewhere."""
    found = Alignment()
    _in_order(found, old, new, None)
    # Groups before lines, since the lines of a group that moved have stayed in it.
    for kind, least in product((Block, Line), (_EQUAL, _SAME_RULE)):
        for after in (x for x in _all(new) if isinstance(x, kind)):
            if id(after) not in found.partners:
                gone = (x for x in _all(old) if id(x) not in found.paired)
                before = next((x for x in gone if _is_it(x, after, least)), None)
                if before is not None:
                    found.moved.add(id(after))
                    _note(found, before, after)
    return found


def _in_order(
    found: Alignment, old: Sequence[Element], new: Sequence[Element], group: str | None
) -> None:
    rows: list[Row] = [
        (None if a is None else old[a], None if b is None else new[b])
        for a, b in align(old, new, likeness)
    ]
    found.rows[group] = rows
    for before, after in rows:
        if before is not None and after is not None:
            _note(found, before, after)


def _note(found: Alignment, before: Element, after: Element) -> None:
    found.partners[id(after)] = before
    found.paired.add(id(before))
    match before, after:
        case Line(), Line():
            found.lines.append((before, after))
        case Block(), Block():
            found.groups[before.name] = after.name
            _in_order(found, before.lines, after.lines, after.name)


def likeness(old: Element, new: Element) -> int:
    """How much speaks for two elements being the same; 0 for what is never the same."""
    match old, new:
        case Line(), Line() if old.kind == new.kind:
            if (old.rule, old.value, old.condition) == (new.rule, new.value, new.condition):
                return _EQUAL
            alone = old.kind in ("tune step", "accumulate", "average")
            score = _SAME_RULE if old.rule and old.rule == new.rule else 3 if alone else 1
            return score + 2 * (old.value == new.value) + (old.condition == new.condition)
        case Block(), Block():
            same_name = old.name == new.name
            same_tensors = old.group.predicate == new.group.predicate
            return _EQUAL if same_name and same_tensors else 8 * same_name + 5 * same_tensors
    return 0


def _is_it(old: Element, new: Element, least: int) -> bool:
    alike = likeness(old, new)
    # What has no name is only known by all that it says.
    return alike >= least and (alike == _EQUAL or isinstance(old, Block) or bool(old.rule))


def _all(elements: Sequence[Element]) -> list[Element]:
    inner = (line for e in elements if isinstance(e, Block) for line in e.lines)
    return [*elements, *inner]


# ---- as changes


def changes(old: Sequence[Element], new: Sequence[Element], found: Alignment) -> tuple[Change, ...]:
    """The pipeline as it is now, with what is gone where it stood."""
    return tuple(_Changes(found, {**_places(old), **_places(new)}).of(found.rows[None]))


def all_of(how: How, elements: Sequence[Element]) -> tuple[Change, ...]:
    """A pipeline that is new or gone as a whole."""
    rows: list[Row] = [(e, None) if how == "removed" else (None, e) for e in elements]
    return tuple(_Changes(Alignment(), {}).of(rows))


@dataclass(frozen=True)
class _Changes:
    found: Alignment
    places: dict[int, str]

    def of(self, rows: Sequence[Row]) -> Iterator[Change]:
        for before, after in rows:
            if after is not None:
                yield self._now(after)
            elif before is not None and id(before) not in self.found.paired:
                yield self._gone(before)

    def _gone(self, element: Element) -> Change:
        if isinstance(element, Line):
            return Change("removed", element.kind, element.shown)
        inside = self.of([(line, None) for line in element.lines])
        return Change("removed", "", f"group {element.shown}", inside=tuple(inside))

    def _now(self, element: Element) -> Change:
        before = self.found.partners.get(id(element))
        match before, element:
            case Line(), Line():
                return self._line(before, element)
            case Block(), Block():
                return self._block(before, element)
            case _, Line():
                return Change("added", element.kind, element.shown)
            case _, Block():
                inside = self.of([(None, line) for line in element.lines])
                return Change("added", "", f"group {element.shown}", inside=tuple(inside))

    def _line(self, before: Line, after: Line) -> Change:
        if before.rule != after.rule or not after.rule:
            if likeness(before, after) != _EQUAL:
                return Change("changed", after.kind, after.shown, was=before.shown)
            facts: tuple[Fact, ...] = ()
        else:
            facts = (*_arguments(before.arguments, after.arguments), *_where(before, after))
        return self._placed(before, after, Change("kept", after.kind, after.shown, facts=facts))

    def _block(self, before: Block, after: Block) -> Change:
        facts = []
        if before.name != after.name:
            facts.append(Fact("name", before.name, after.name))
        if before.group.predicate != after.group.predicate:
            facts.append(Fact("where", before.group.where, after.group.where))
        if before.group.view != after.group.view:
            facts.append(Fact("view", before.view, after.view))
        inside = tuple(self.of(self.found.rows[after.name]))
        change = Change("kept", "", f"group {after.shown}", facts=tuple(facts), inside=inside)
        return self._placed(before, after, change)

    def _placed(self, before: Element, after: Element, change: Change) -> Change:
        if id(after) in self.found.moved:
            place = Fact("place", self.places[id(before)], self.places[id(after)])
            return replace(change, how="moved", facts=(place, *change.facts))
        return replace(change, how="changed") if change.facts else change


def _arguments(old: Sequence[Argument], new: Sequence[Argument]) -> Iterator[Fact]:
    before, after = ({a.name: a for a in each} for each in (old, new))
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was is None or now is None or was.value != now.value:
            yield Fact(name, was.text if was else "", now.text if now else "")


def _where(before: Line, after: Line) -> Iterator[Fact]:
    if before.condition != after.condition:
        yield Fact("where", before.where, after.where)


def _places(elements: Sequence[Element], group: str = "") -> dict[int, str]:
    """Where each element stands, as a person says it."""
    inside = f" in `{group}`" if group else ""
    found = {id(each): f"first{inside}" for each in elements[:1]}
    for before, after in pairwise(elements):
        found[id(after)] = f"after `{_short(before)}`{inside}"
    for each in elements:
        if isinstance(each, Block):
            found |= _places(each.lines, each.name)
    return found


def _short(element: Element) -> str:
    if isinstance(element, Block):
        return f"group {element.name}"
    return f"{element.kind} {element.rule}" if element.rule else element.kind
