"""Hyperparameters that have another name now, and are used where they were."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...grammar import syntax
from .calls import with_names
from .outline import Argument, Block, Element, Line, Outline
from .stages import Alignment


def renamed(old: Outline, new: Outline, found: Alignment) -> dict[str, str]:
    """The new name of each old hyperparameter that only has another name.

    That is one that is gone, of the type of one that is new, where each argument of a stage that
    was the one alone is now the other alone.
    """
    before = {h.name: h.kind for h in old.hyperparameters}
    after = {h.name: h.kind for h in new.hyperparameters}
    seen: dict[str, Counter[str]] = {}
    for was, now in _values(found):
        if isinstance(was, syntax.Name) and was.id in before and was.id not in after:
            target = now.id if isinstance(now, syntax.Name) else ""
            seen.setdefault(was.id, Counter())[target] += 1
    names = {name: next(iter(targets)) for name, targets in seen.items() if len(targets) == 1}
    free = Counter(names.values())
    return {
        name: target
        for name, target in names.items()
        if target not in before and after.get(target) == before[name] and free[target] == 1
    }


def _values(found: Alignment) -> Iterator[tuple[syntax.Expr, syntax.Expr]]:
    for before, after in found.lines:
        if before.rule and before.rule == after.rule:
            now = {a.name: a.value for a in after.arguments}
            for argument in before.arguments:
                if argument.name in now:
                    yield argument.value, now[argument.name]
        elif not before.rule and not after.rule:
            yield before.value, after.value


def with_parameters(outline: Outline, names: Mapping[str, str]) -> Outline:
    """The outline as if its hyperparameters had these names; what the spec says is unchanged."""
    observations = tuple(
        replace(each, value=with_names(each.value, names)) for each in outline.observations
    )
    elements = tuple(_element(each, names) for each in outline.elements)
    return replace(outline, elements=elements, observations=observations)


def _element(element: Element, names: Mapping[str, str]) -> Element:
    if isinstance(element, Block):
        return replace(element, lines=tuple(_line(line, names) for line in element.lines))
    return _line(element, names)


def _line(line: Line, names: Mapping[str, str]) -> Line:
    arguments = tuple(Argument(a.name, a.text, with_names(a.value, names)) for a in line.arguments)
    return replace(line, value=with_names(line.value, names), arguments=arguments)
