"""What a lint looks at: one optimizer, and what several lints ask of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..lowering.draft import Draft, DraftNode, DraftRegion
from ..spec import Spec, SpecStage


@dataclass(frozen=True)
class Subject:
    """A spec and its draft; what is worked out of them is worked out once."""

    spec: Spec
    draft: Draft

    @cached_property
    def stages(self) -> Mapping[int, SpecStage]:
        """The stages by their number, which nodes carry."""
        groups = (stage for group in self.spec.groups for stage in group.stages)
        every = (*self.spec.before, *groups, *self.spec.after)
        return {stage.index: stage for stage in every}

    @cached_property
    def nodes(self) -> Mapping[int, DraftNode]:
        """Every node of a step by its id, also those in the regions of others."""
        return {node.id: node for node in walk(self.draft.step)}


def walk(region: DraftRegion) -> Iterator[DraftNode]:
    """Every node of a region in order, an op's regions before the op."""
    for node in region.nodes:
        for inner in node.regions:
            yield from walk(inner)
        yield node
