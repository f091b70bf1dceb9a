"""What may be packed: a graph does to a vector of several tensors what it does to each of them."""

from dataclasses import replace
from functools import partial
from math import prod

import jax
import numpy as np
import pytest
from part import optimizers

import optc
from optc.compiler.driver import compile_spec
from optc.compiler.interpret import Interpreter
from optc.compiler.locate import find
from optc.compiler.meaning.tapes import tape
from optc.compiler.meaning.trajectory import UnfitError, follow
from optc.runtime.tree import Tree

STEPS = 3


class Packed:
    """A tape whose small tensors lie in vectors, where the module of a program allows it."""

    def __init__(self, tape, tree):
        self.tape, self.tree = tape, tree

    def __getattr__(self, name):
        return getattr(self.tape, name)

    @property
    def weights(self):
        return self.packed(self.tape.weights)

    @property
    def paths(self):
        return [place.leaf.path for place in self.tree.places]

    @property
    def tensors(self):
        return replace(self.tape.tensors, paths=self.paths, dtypes=["float32"] * len(self.paths))

    @property
    def batches(self):
        return [Asked(batch, self) for batch in self.tape.batches]

    def draw(self, step):
        own = self.tape.draw(step)

        def draw(op, site, rounds, like):
            if like is None:
                return own(op, site, rounds, None)
            return self.packed(own(op, site, rounds, self.apart(like)))

        return draw

    def packed(self, fields):
        def one(place):
            members = [fields[i] for i in place.members]
            if not place.is_pack:
                return members[0]
            return None if members[0] is None else np.concatenate([np.ravel(x) for x in members])

        return [one(place) for place in self.tree.places]

    def apart(self, fields):
        found = dict.fromkeys(range(len(self.tree.leaves)))
        for place, x in zip(self.tree.places, fields, strict=True):
            if not place.is_pack:
                found[place.members[0]] = x
            elif x is not None:
                ends = np.cumsum([prod(shape) for shape in place.shapes])[:-1]
                rows = zip(place.members, np.split(x, ends), place.shapes, strict=True)
                found = found | {i: np.reshape(part, shape) for i, part, shape in rows}
        return [found[i] for i in range(len(self.tree.leaves))]


class Asked:
    """The objective of a batch, asked at packed weights along packed directions."""

    def __init__(self, batch, tape):
        self.batch, self.tape = batch, tape

    def __getattr__(self, name):
        def asked(*given):
            apart = [self.tape.apart(x) if isinstance(x, list) else x for x in given]
            found = getattr(self.batch, name)(*apart)
            if name == "per_example_grad":
                return [self.tape.packed(each) for each in found]
            return self.tape.packed(found) if isinstance(found, list) else found

        return asked


class OnPacks(Interpreter):
    """Predicates see the tensors, all of a pack alike."""

    def __init__(self, tape, *given, **more):
        super().__init__(*given, **more)
        self.plain = Interpreter(self.graph, tape.tape.tensors, self.hyperparameters)
        self.tape = tape

    def _domains(self, weights):
        masks = self.plain._domains(list(self.tape.tape.weights))
        places = self.tape.tree.places
        for mask in masks:
            assert all(mask[i] == mask[p.members[0]] for p in places for i in p.members)
        return [[mask[place.members[0]] for place in places] for mask in masks]


def packed(program, tape):
    """The tape as the program may pack it; None where there is nothing to pack."""
    structs = dict(zip(tape.paths, map(np.float32, tape.weights), strict=True))
    tree, _ = Tree.of(jax.tree.map(jax.numpy.asarray, structs))
    assert [leaf.path for leaf in tree.leaves] == list(tape.paths)
    tree = program.steps.packed(tree, program()._static)
    return Packed(tape, tree) if any(place.is_pack for place in tree.places) else None


def close(x, y):
    """Equal but for the order of sums, which some steps may amplify."""
    if isinstance(x, list):
        for a, b in zip(x, y, strict=True):
            close(a, b)
    elif x is not None or y is not None:
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)


def follows(spec, program, tree="layers"):
    """Whether a graph goes the same way in packs: it does, or there is nothing to pack."""
    plain = tape(0, tree, steps=STEPS)
    together = packed(program, plain)
    if together is None:
        return False
    graph = compile_spec(spec).graph
    try:
        apart = follow(graph, plain)
    except UnfitError:
        return False
    found = follow(graph, together, interpreter=partial(OnPacks, together))
    for a, b in zip(apart.moments, found.moments, strict=True):
        close(together.packed(a.weights), b.weights)
        close(together.packed(a.evaluation), b.evaluation)
        slots = [together.packed(x) if isinstance(x, list) else x for x in a.slots]
        close(slots, b.slots)
        close(list(a.observed.values()), list(b.observed.values()))
    return True


@pytest.mark.parametrize("name", optimizers())
def test_packs_change_nothing(name):
    follows(find(name), optc.load(name))


def test_some_optimizers_pack_some_tensors():
    assert follows(find("adamw"), optc.load("adamw"))
    assert not follows(find("lamb"), optc.load("lamb"))
