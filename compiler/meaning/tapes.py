"""Tapes: weights, and an objective for each step, on which programs are followed and compared.

Every number of a tape is a sum of draws of Python's `random.Random`, so a tape is the same for each
version of NumPy, JAX and Python. Its objective answers every oracle in closed form: with weights x
in one vector and examples e,

    F_e(x) = A_e p(x),   p(x) = x + x / sqrt(1 + x^2),   L(x) = size * mean_e sum(l(F_e(x) - y_e)),

where l(r) = sqrt(1 + r^2) - 1. It is smooth, has curvature of both signs, and its gradient is
bounded wherever a program goes, so that no step size makes it overflow.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..environment import Draw, Fields, Tensors

Array = NDArray[np.float64]
Shape = tuple[int, ...]

EXAMPLES, OUTPUTS = 3, 2
"""The examples of a batch, and the outputs for each."""

TreeName = Literal["layers", "ranks", "positive", "tiny"]

TREES: Mapping[TreeName, Mapping[str, Shape]] = {
    "layers": {
        "embed/kernel": (4, 3),
        "head/kernel": (3, 2),
        "layers/0/bias": (3,),
        "layers/0/kernel": (3, 3),
        "layers/1/scale": (),
    },
    "ranks": {"four": (2, 1, 3, 2), "one": (1,), "row": (1, 4), "three": (2, 2, 2), "vector": (5,)},
    "positive": {"bias": (1,), "kernel": (2, 3), "scale": ()},
    "tiny": {"bias": (3,), "kernel": (6, 5)},
}
"""Trees of weights by name, each as shapes by path. Those of `positive` are above zero, and `tiny`
has two tensors, for what is followed a thousand times."""

ULP = 2.0**-52
"""The distance of 1 and the next float64."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The objective on one batch; it answers all that `Oracles` asks."""

    shapes: tuple[Shape, ...]
    inputs: Array
    targets: Array
    size: float

    def loss(self, at: Fields) -> float:
        """The loss."""
        return float(self.size * np.sum(np.sqrt(1 + self._rest(at) ** 2) - 1) / EXAMPLES)

    def outputs(self, at: Fields) -> Array:
        """The model's outputs: one row for each example."""
        x = _flat(at)
        return self._apply(x + x / np.sqrt(1 + x**2))

    def outputs_grad(self, at: Fields) -> Array:
        """The derivative of the loss in the outputs."""
        r = self._rest(at)
        grad: Array = self.size / EXAMPLES * r / np.sqrt(1 + r**2)
        return grad

    def sampled_outputs_grad(self, at: Fields, site: int, rounds: tuple[int, ...]) -> Array:
        """The same for labels that are drawn around half of the outputs."""
        source = random.Random(f"optc labels {self.size} {site} {rounds}")
        outputs = self.outputs(at)
        drawn = outputs / 2 + _array(np.shape(outputs), lambda: _bell(source))
        return replace(self, targets=drawn).outputs_grad(at)

    def pullback(self, at: Fields, cotangent: Any) -> Fields:
        """The transposed Jacobian of the outputs times `cotangent`."""
        return self._split(_slope(_flat(at)) * self._transposed(cotangent))

    def grad(self, at: Fields) -> Fields:
        """Its gradient."""
        return self.pullback(at, self.outputs_grad(at))

    def hvp(self, at: Fields, vector: Fields) -> Fields:
        """The Hessian of the loss times `vector`: both factors of the gradient have a slope."""
        x, v = _flat(at), _flat(vector)
        bend = -3 * x / (1 + x**2) ** 2 / np.sqrt(1 + x**2)
        return self._split(
            bend * v * self._transposed(self.outputs_grad(at)) + self._gauss_newton(at, v)
        )

    def ggn(self, at: Fields, vector: Fields) -> Fields:
        """The Gauss-Newton matrix times `vector`."""
        return self._split(self._gauss_newton(at, _flat(vector)))

    def feature_covariance(self, at: Fields) -> list[tuple[Array, tuple[int, ...]] | None]:
        """No tensor is a layer's matrix."""
        return [None for _ in at]

    def fisher_factors(self, at: Fields, axis: int, rounds: tuple[int, ...]) -> Fields:
        """No tensor is a layer's matrix: what stands for a factor is of gradients, and positive."""
        drawn = self.pullback(at, self.sampled_outputs_grad(at, 0, rounds))
        sides = (g if axis == 0 else g.T for g in drawn)
        return [g @ g.T + np.eye(len(g)) if np.ndim(g) == 2 else None for g in sides]

    def per_example_grad(self, at: Fields) -> list[Fields]:
        """The gradient of each example of the batch: their mean is the gradient."""
        return [self._one(example).grad(at) for example in range(EXAMPLES)]

    def measured(self, at: Fields, name: str, axis: int, like: Fields) -> Fields:
        """The sum of a tensor's sizes for all places alike, times the length of the name."""
        return [None if x is None else _for_each_place(x, axis, len(name)) for x in like]

    def _gauss_newton(self, at: Fields, v: Array) -> Array:
        slope, r = _slope(_flat(at)), self._rest(at)
        second = self.size / EXAMPLES / ((1 + r**2) * np.sqrt(1 + r**2))
        return slope * self._transposed(second * self._apply(slope * v))

    def _one(self, example: int) -> "Batch":
        place = slice(example, example + 1)
        inputs, targets = self.inputs[place], self.targets[place]
        return Batch(self.shapes, inputs, targets, self.size * EXAMPLES)

    def _rest(self, at: Fields) -> Array:
        return self.outputs(at) - self.targets

    def _apply(self, x: Array) -> Array:
        return np.asarray(np.sum(self.inputs * x, axis=-1))

    def _transposed(self, cotangent: Any) -> Array:
        return np.asarray(np.sum(self.inputs * np.asarray(cotangent)[..., None], axis=(0, 1)))

    def _split(self, x: Array) -> Fields:
        ends = np.cumsum([prod(shape) for shape in self.shapes])[:-1]
        pairs = zip(np.split(x, ends), self.shapes, strict=True)
        return [np.reshape(part, shape) for part, shape in pairs]


@dataclass(frozen=True, eq=False)
class Tape:
    """Weights with their paths, and a batch for each step.

    Some gradients are zero: all on the fourth step, one tensor's on the sixth, and one number's
    on all; the tenth is tiny. On a tape with an odd seed the first gradient is zero too. `done` are
    the steps that the count of a fresh state starts with, where it is to start late.
    """

    seed: int
    tree: TreeName
    paths: tuple[str, ...]
    weights: tuple[Array, ...]
    batches: tuple[Batch, ...]
    done: int = 0

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return len(self.batches)

    @property
    def tensors(self) -> Tensors:
        """What predicates may ask of the weights."""
        return Tensors(self.paths, ["float32"] * len(self.paths))

    def draw(self, step: int) -> Draw:
        """The draws of a step, counted from 0: by op, site and rounds of loops alone."""

        def draw(op: str, site: int, rounds: tuple[int, ...], like: Fields | None) -> Any:
            source = random.Random(f"optc {self.seed} {step} {op} {site} {rounds}")
            one = _DRAWS[op]
            if like is None:
                return one(source)
            return [None if x is None else _array(np.shape(x), lambda: one(source)) for x in like]

        return draw

    def nudged(self, seed: int) -> "Tape":
        """The same tape where every number is off by one unit in its last place, or not."""
        source = random.Random(f"optc nudge {seed}")

        def nudge(x: Array) -> Array:
            return x * (1 + ULP * _array(np.shape(x), lambda: source.choice((-1.0, 0.0, 1.0))))

        batches = [
            replace(batch, inputs=nudge(batch.inputs), targets=nudge(batch.targets))
            for batch in self.batches
        ]
        weights = tuple(nudge(w) for w in self.weights)
        return replace(self, weights=weights, batches=tuple(batches))


def tape(seed: int, tree: TreeName = "layers", steps: int = 20) -> Tape:
    """The tape of a seed: a longer one begins with the same steps.

    >>> tape(0, "positive").paths
    ('bias', 'kernel', 'scale')
    >>> tape(0, steps=2).weights[0][0, 0] == tape(0, steps=9).weights[0][0, 0]
    True
    """
    source = random.Random(f"optc tape {tree} {seed}")
    shapes = tuple(TREES[tree].values())
    weights = [_array(shape, lambda: _bell(source)) for shape in shapes]
    if tree == "positive":
        weights = [np.abs(w) + 0.125 for w in weights]
    numbers = sum(prod(shape) for shape in shapes)
    still = source.randrange(numbers)
    batches = []
    for step in range(steps):
        inputs = _array((EXAMPLES, OUTPUTS, numbers), lambda: _bell(source))
        inputs[..., still] = 0.0
        if step == 5:
            inputs[..., : prod(shapes[0])] = 0.0
        targets = _array((EXAMPLES, OUTPUTS), lambda: 2 * _bell(source))
        size = 2.0 ** source.randint(-4, 4)
        if step == 3 or (step == 0 and seed % 2):
            size = 0.0
        elif step == 9:
            size = 2.0**-30
        batches.append(Batch(shapes, inputs, targets, size))
    return Tape(seed, tree, tuple(TREES[tree]), tuple(weights), tuple(batches))


def _bell(source: random.Random) -> float:
    """A number of mean 0 and variance 1, without a function that a platform may round its way."""
    return sum(source.random() for _ in range(3)) * 2 - 3


def _array(shape: Shape, one: Callable[[], float]) -> Array:
    return np.reshape(np.array([one() for _ in range(prod(shape))]), shape)


def _flat(fields: Fields) -> Array:
    return np.concatenate([np.ravel(x) for x in fields])


def _for_each_place(x: Array, axis: int, unit: int) -> Array:
    shape = [1] * np.ndim(x)
    shape[axis] = np.shape(x)[axis]
    return np.full(shape, unit * np.sum(np.abs(x)))


def _slope(x: Array) -> Array:
    """The derivative of p."""
    return np.asarray(1 + 1 / ((1 + x**2) * np.sqrt(1 + x**2)))


_DRAWS: Mapping[str, Callable[[random.Random], float]] = {
    "normal": _bell,
    "rademacher": lambda source: source.choice((-1.0, 1.0)),
    "uniform": lambda source: source.random(),
}
