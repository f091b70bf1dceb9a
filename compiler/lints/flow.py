"""Following what is known of each value through a step: what intervals, degrees and ways share.

An analysis says what it knows of a value from what it knows of the inputs. States begin with what
is known of their start, and are followed from step to step until nothing is added.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from ..lowering.draft import Draft, DraftNode, DraftRegion

Known = TypeVar("Known")


class Flow(ABC, Generic[Known]):
    """What is known of every value of a step, by the id of its node.

    `unknown` says nothing, and is what everything of which nothing else is found is.
    """

    unknown: Known
    rounds = 6
    """How often states and loops are followed; what still changes then is unknown."""

    def __init__(self) -> None:
        self._found: dict[int, Known] = {}
        self._tuples: dict[int, Sequence[Known]] = {}
        self._states: list[Known] = []
        self._in_loop = False

    def __getitem__(self, id: int) -> Known:
        """What is known of a value."""
        return self._found.get(id, self.unknown)

    # ---- what an analysis says

    @abstractmethod
    def value(self, node: DraftNode, inputs: Sequence[Known]) -> Known:
        """What is known of a node that is no state, choice or loop."""

    @abstractmethod
    def either(self, one: Known, other: Known) -> Known:
        """What is known of a value that is one or the other."""

    def chosen(self, condition: Known, yes: Known, no: Known) -> Known:
        """What is known of a value that a condition chooses."""
        return self.either(yes, no)

    def read(self, node: DraftNode, known: Known) -> Known:
        """What is known of a result of a choice or loop, of which `known` is known inside."""
        return known

    def kept(self, old: Known, new: Known, round: int) -> Known:
        """What is known of a state after another step."""
        return self.either(old, new)

    def may_stop(self, condition: Known) -> bool:
        """Whether a loop can be followed although it stops early by a condition."""
        return True

    # ---- following

    def follow(self, draft: Draft) -> None:
        """Work out the step for all that its states become."""
        self.begin(draft)
        places = {o.index: place for place, o in enumerate(draft.outputs) if o.role == "slot"}
        for round in range(self.rounds):
            before, results = list(self._states), self.region(draft.step)
            for slot, place in places.items():
                self._states[slot] = self.kept(before[slot], results[place], round)
            if self._states == before:
                return
        for slot in places:
            self._states[slot] = self.unknown
        self.region(draft.step)

    def begin(self, draft: Draft) -> None:
        """Work out what the states start with."""
        self._states = self.region(draft.start)

    def region(self, region: DraftRegion, arguments: Sequence[Known] = ()) -> list[Known]:
        """What is known of the results of a region."""
        self._found.update(zip(region.arguments, arguments, strict=True))
        for node in region.nodes:
            match node.op:
                case "argument":
                    continue
                case "state":
                    self._found[node.id] = self._states[int(node["name"])]
                case "item" if node.inputs[0] in self._tuples:
                    known = self._tuples[node.inputs[0]][int(node["index"])]
                    self._found[node.id] = self.read(node, known)
                case "if":
                    self._choose(node)
                case "stagger":
                    pairs = zip(node.inputs[2:], self.region(node.regions[0]), strict=True)
                    self._tuples[node.id] = [self.either(self[i], new) for i, new in pairs]
                case "loop":
                    self._tuples[node.id] = self._loop(node)
                case _:
                    self._found[node.id] = self.value(node, [self[i] for i in node.inputs])
        return [self[i] for i in region.results]

    def _choose(self, node: DraftNode) -> None:
        yes, no = (self.region(side) for side in node.regions)
        condition = self[node.inputs[0]]
        pairs = zip(yes, no, strict=True)
        self._tuples[node.id] = [self.chosen(condition, *pair) for pair in pairs]

    def _loop(self, node: DraftNode) -> Sequence[Known]:
        body, *conditions = node.regions
        carried = [self[i] for i in node.inputs[1:]]
        # Following loops in loops would take exponentially long.
        rounds, outer = 0 if self._in_loop else self.rounds, self._in_loop
        self._in_loop = True
        for round in range(rounds):
            before = list(carried)
            stops = [self.region(condition, carried)[0] for condition in conditions]
            results = self.region(body, (self.index(), *carried))
            if not all(map(self.may_stop, stops)):
                break
            pairs = zip(before, results, strict=True)
            carried = [self.kept(old, new, round) for old, new in pairs]
            if carried == before:
                self._in_loop = outer
                return carried
        carried = [self.unknown] * len(carried)
        for condition in conditions:
            self.region(condition, carried)
        self.region(body, (self.index(), *carried))
        self._in_loop = outer
        return carried

    def index(self) -> Known:
        """What is known of the number of a round."""
        return self.unknown
