"""What a lint looks at: one optimizer, and what several lints ask of it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..lowering.draft import Draft, DraftNode, DraftRegion, Passage
from ..ops import OPS
from ..spec import Spec, SpecStage
from .degree import FIXED, Degrees
from .interval import Intervals

_SIDES = 64
"""Choices within choices are followed so far."""


@dataclass(frozen=True)
class Subject:
    """A spec and its draft; what is worked out of them is worked out once."""

    spec: Spec
    draft: Draft

    @cached_property
    def stages(self) -> Mapping[int, SpecStage]:
        """The stages by their number, which nodes and passages carry."""
        groups = (stage for group in self.spec.groups for stage in group.stages)
        every = (*self.spec.before, *groups, *self.spec.after)
        return {stage.index: stage for stage in every}

    @cached_property
    def nodes(self) -> Mapping[int, DraftNode]:
        """Every node of a step by its id, also those in the regions of others."""
        return {node.id: node for node in walk(self.draft.step)}

    @cached_property
    def intervals(self) -> Intervals:
        """Between which numbers each value of a step lies."""
        return Intervals(self.draft)

    @cached_property
    def constants(self) -> Collection[int]:
        """The values that are made of literals and hyperparameters alone."""
        return self.made_of(())

    @cached_property
    def chains(self) -> Sequence[Sequence[Passage]]:
        """The passages that a tensor goes through, in order: one sequence for each group."""
        groups = [group.name for group in self.spec.groups] or [""]
        passages = self.draft.passages
        return [[p for p in passages if self.group(p) in ("", name)] for name in groups]

    @cached_property
    def ends(self) -> Sequence[int]:
        """What becomes of the weights: the step, or the weights after it."""
        results = zip(self.draft.outputs, self.draft.step.results, strict=True)
        return [id for output, id in results if output.role in ("step", "weights")]

    def made_of(self, values: Collection[int], reduced: bool = False) -> Collection[int]:
        """What is made of values, literals and hyperparameters alone, by ops on each element.

        With `reduced` also by reductions.
        """
        found = set(values)
        for node in self.nodes.values():
            op = OPS[node.op].op_class
            pure = op == "elementwise" or (reduced and op == "reduction") or node.op == "restrict"
            if node.op in ("const", "parameter") or (pure and found.issuperset(node.inputs)):
                found.add(node.id)
        return found

    def below(self, passage: Passage) -> Sequence[Passage]:
        """The passages that come after one, for some of its tensors."""
        place, group = self.draft.passages.index(passage), self.group(passage)
        later = self.draft.passages[place + 1 :]
        return [p for p in later if "" in (group, self.group(p)) or self.group(p) == group]

    def takes_out(self, passage: Passage, degrees: Degrees) -> Passage | None:
        """The stage below that makes something without degree of what had one.

        None where what it makes is lost, since a later rule works the weights out anew.
        """
        for later in self.below(passage):
            scaled = degrees[later.before].exact not in (0, None)
            if scaled and degrees[later.after].exact == 0:
                after = Degrees(self.draft, self.intervals, seeds={self.made(later)})
                return later if any(after[end] != FIXED for end in self.ends) else None
        return None

    def stage(self, passage: Passage) -> SpecStage:
        """The stage of a passage."""
        return self.stages[passage.stage]

    def group(self, passage: Passage) -> str:
        """The group that a passage stands in, empty outside."""
        return self.draft.stages[passage.stage].group

    def made(self, passage: Passage) -> int:
        """What a stage makes of the signal of its own tensors; others keep theirs."""
        node = self.nodes[passage.after]
        domain = self.stage(passage).domain
        limited = node.op == "merge" and node["domain"] == domain
        return node.inputs[0] if limited else node.id

    def eta(self, passage: Passage) -> int | None:
        """The step size of a `tune step`; None where an `extern` gives the whole step."""
        node = self.nodes[passage.after]
        size, *signal = node.inputs
        return size if node.op == "mul" and signal == [passage.before] else None

    def factors(self, passage: Passage, choices: bool = False) -> Sequence[int] | None:
        """The scalars that a stage multiplies its signal with, or divides it by, if it does so.

        With `choices` it may do so, or not, by a condition that is one for all. None for a stage
        that does anything else.
        """
        found: list[int] = []
        left = [self.made(passage)]
        while left:
            node = self.nodes[left.pop()]
            if node.id == passage.before:
                continue
            sides = self._sides(node) if choices else ()
            scalars = [i for i in node.inputs if self.nodes[i].type.is_scalar]
            fields = [i for i in node.inputs if self.nodes[i].type.is_field]
            divided = node.op == "div" and scalars == [*node.inputs[1:]]
            scaled = node.op in ("mul", "restrict") or divided
            if sides and len(found) + len(left) < _SIDES:
                left += sides
            elif scaled and len(fields) == 1:
                found += scalars
                left += fields
            else:
                return None
        return found

    def _sides(self, node: DraftNode) -> Sequence[int]:
        """What a condition that is one for all tensors chooses from."""
        source = self.nodes[node.inputs[0]] if node.inputs else node
        if node.op == "where" and source.type.is_scalar:
            return node.inputs[1:]
        if node.op == "item" and source.op == "if":
            return [region.results[int(node["index"])] for region in source.regions]
        return ()


def walk(region: DraftRegion) -> Iterator[DraftNode]:
    """Every node of a region in order, an op's regions before the op."""
    for node in region.nodes:
        for inner in node.regions:
            yield from walk(inner)
        yield node
