"""Comparing two optimizers: every respect in which a reviewer could tell them apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Literal

from ..budget.budget import budget
from ..budget.tensors import Tree
from ..graph import Graph
from ..meaning.normal import same_map
from ..records import Slot, Term
from ..types import lengths
from . import declared
from .costs import costs, costs_for
from .outline import Outline
from .parameters import parameters, parameters_of
from .records import Change, Fact, Review, Section
from .renamed import renamed, with_parameters
from .stages import Alignment, aligned, all_of, changes
from .weights import tensors

_SENTENCE = re.compile(r"(?<=[.:])\s+(?=[A-Z`]|arXiv:)")


def compare(old: Outline, new: Outline, tree: Tree | None = None) -> Review:
    """What changed from one optimizer to the other; with a `tree`, what that is for its tensors.

    Raises BudgetError where a hyperparameter without a default decides on tensors.
    """
    found = aligned(old.elements, new.elements)
    names = renamed(old, new, found)
    if names:
        old = with_parameters(old, names)
        found = aligned(old.elements, new.elements)
    sections = (
        Section("hyperparameters", parameters(old.hyperparameters, new.hyperparameters, names)),
        Section("stages", changes(old.elements, new.elements, found)),
        Section("rules", declared.changes(old.declarations, new.declarations, _replaced(found))),
        Section("states", tuple(_states(old, new, found))),
        *_costs(old.graph, new.graph, found, tree),
        Section("observations", tuple(_observations(old, new, found))),
        Section("claims", tuple(_in_either([old.claim], [new.claim]))),
        Section("lifting", tuple(_in_either([old.lifting], [new.lifting]))),
        Section("assertions", tuple(_in_either(old.assertions, new.assertions))),
        Section("warnings", tuple(_in_either(old.warnings, new.warnings))),
        Section("documentation", documentation(old.doc, new.doc)),
    )
    kept = tuple(s for s in sections if any(change.counts for change in s.changes))
    return Review(old.name, new.name, kept, same=not kept or _same(old, new, names))


def _costs(old: Graph, new: Graph, found: Alignment, tree: Tree | None) -> tuple[Section, ...]:
    if tree is None:
        return (Section("costs", costs(old, new)),)
    before, after = budget(old, tree), budget(new, tree)
    return (
        Section(f"tensors of {tree.name}", tensors(before, after, found)),
        Section("costs", costs_for(before, after, (old, new))),
    )


def _same(old: Outline, new: Outline, names: Mapping[str, str]) -> bool:
    """Whether both are the same map, with renamed hyperparameters for one another."""
    terms = {after: Term("parameter", (before,)) for before, after in names.items()}
    return same_map(old.graph, new.graph, terms)


def whole(how: Literal["added", "removed"], each: Outline) -> Review:
    """An optimizer that is new, or gone."""
    sections = (
        Section("hyperparameters", parameters_of(how, each.hyperparameters)),
        Section("stages", all_of(how, each.elements)),
    )
    names = ("", each.name) if how == "added" else (each.name, "")
    return Review(*names, tuple(s for s in sections if s.changes), same=None)


def _replaced(found: Alignment) -> Iterator[tuple[str, str, str]]:
    """The stages that have another rule now: their kind, and both rules."""
    for before, after in found.lines:
        if before.rule and after.rule and before.rule != after.rule:
            yield after.kind, before.rule, after.rule


def _states(old: Outline, new: Outline, found: Alignment) -> Iterator[Change]:
    """States by stage and name; a stage that goes by another label takes its states along."""
    labels = found.labels()
    before = {(labels.get(s.stage, f"-{s.stage}"), s.name): s for s in old.slots}
    after = {(s.stage, s.name): s for s in new.slots}
    for key, slot in after.items():
        was = before.pop(key, None)
        if was is None:
            yield Change("added", _slot_name(slot), _kept_as(slot))
            continue
        facts = []
        if _slot_name(was) != _slot_name(slot):
            facts.append(Fact("name", _slot_name(was), _slot_name(slot)))
        if _kept_as(was) != _kept_as(slot):
            facts.append(Fact("kept as", _kept_as(was), _kept_as(slot)))
        if facts:
            yield Change("changed", _slot_name(slot), facts=tuple(facts))
    for slot in before.values():
        yield Change("removed", _slot_name(slot), _kept_as(slot))


def _slot_name(slot: Slot) -> str:
    return f"{slot.stage}.{slot.name}"


def _kept_as(slot: Slot) -> str:
    match slot.type.kind, slot.type.per:
        case "field", "element" if slot.type.dims is not None:
            what = f"{slot.type} [{', '.join(lengths(slot.type.dims))}] for each matrix"
        case "field", "element":
            what = "a number for each weight"
        case "field", int(axis):
            what = f"a number for each place of axis {axis}"
        case "field", per:
            what = f"a number for each {per}"
        case "scalar", _:
            what = "one number"
        case _:
            what = str(slot.type)
    return f"{what}, {slot.dtype}" if slot.dtype else what


def _observations(old: Outline, new: Outline, found: Alignment) -> Iterator[Change]:
    before = {each.name: each for each in old.observations}
    for after in new.observations:
        was = before.pop(after.name, None)
        if was is None:
            every = f" every {after.every}" if after.every else ""
            yield Change("added", after.name, f"{after.text}{every}")
            continue
        facts = []
        if was.value != after.value:
            facts.append(Fact("value", was.text, after.text))
        if was.word != after.word:
            facts.append(Fact("statement", was.word, after.word))
        if was.every != after.every:
            facts.append(Fact("every", was.every, after.every))
        if found.groups.get(was.group, was.group) != after.group:
            facts.append(Fact("group", was.group, after.group))
        if facts:
            yield Change("changed", after.name, facts=tuple(facts))
    for was in before.values():
        yield Change("removed", was.name, was.text)


def _in_either(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """What only one of both says."""
    yield from (Change("removed", "", text) for text in old if text and text not in new)
    yield from (Change("added", "", text) for text in new if text and text not in old)


def documentation(old: str, new: str) -> tuple[Change, ...]:
    """The sentences that came and went; how lines are broken is no change."""
    before, after = ([s for s in _SENTENCE.split(" ".join(t.split())) if s] for t in (old, new))
    result: list[Change] = []
    for tag, i, j, k, n in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            result += (Change("kept", "", s) for s in before[i:j])
        else:
            result += (Change("removed", "", s) for s in before[i:j])
            result += (Change("added", "", s) for s in after[k:n])
    return tuple(result)
