"""How far rounding carries: a graph run many times by an interpreter that errs (Parker 1997).

In Monte Carlo arithmetic each result of an operation is off by a random number of units in its
last place, so that runs differ by what rounding may do to a program: by operations that cancel,
by conditions at their border, and by numbers that are kept in few bits. Nothing is assumed about
who computes: the order of a sum, whether a product and a sum are rounded once or twice, and how
exactly a machine knows a logarithm all lie within these errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..environment import Extern, Fields
from ..graph import Graph, Node
from ..interpret import Interpreter, Outcome
from ..records import Scalar
from .tapes import Tape
from .trajectory import Trajectory, follow

SAMPLES = 8

_UNITS = 2
"""How many units an operation may be off: functions of math libraries are within as many."""

_EXTERN_UNITS = 64
"""The same for a transformation of optax, of whose operations nothing is known."""

_EXACT = {
    *("neg", "abs", "min", "max", "clamp", "float"),
    *("sign", "round", "floor", "ceil", "where", "largest", "smallest"),
}
"""What gives one of its inputs, or a whole number."""

_UNROUNDED = {
    *("filled", "eye", "arange", "transpose", "diagonal", "diagonal_matrix", "triu", "tril"),
    *("argsort", "take", "onto_matrix", "onto_vector"),
}
"""Matrix ops that only place numbers."""

_BITS = {"bfloat16": 8, "float16": 11, "float32": 24}
"""How many bits of a number a state keeps; others are kept as they are."""


def samples(
    graph: Graph, taped: Tape, values: Mapping[str, Scalar], unit: float, extern: Extern | None
) -> list[Trajectory]:
    """A run without errors, and `SAMPLES` with errors of some `unit`s relative to each number."""

    def run(seed: int, unit: float) -> Trajectory:
        source = np.random.default_rng(seed)

        erring = partial(_Erring, unit=unit, source=source)

        on = _nudged(taped, unit, source) if unit else taped
        return follow(graph, on, values, extern=extern, interpreter=erring)

    return [run(seed, unit if seed else 0.0) for seed in range(SAMPLES + 1)]


@dataclass
class _Erring(Interpreter):
    """An interpreter whose operations err."""

    unit: float = 0.0
    source: np.random.Generator = field(default_factory=np.random.default_rng)

    def step(self, weights: Fields, slots: list[Any], count: int) -> Outcome:
        """One step, after which states have the bits that they are kept with."""
        outcome = super().step(weights, slots, count)
        pairs = zip(self.graph.slots, outcome.slots, strict=True)
        outcome.slots = [_kept(x, _BITS.get(str(slot.dtype))) for slot, x in pairs]
        return outcome

    def _elementwise(self, node: Node, inputs: list[Any]) -> Any:
        found = super()._elementwise(node, inputs)
        return self._off(found, _UNITS) if _errs(node) else found

    def _reduction(self, node: Node, inputs: list[Fields]) -> Any:
        if not _errs(node):
            return super()._reduction(node, inputs)
        # A sum is that of terms which are off by a unit for each of its additions.
        terms = sum(np.size(x) for x in inputs[0] if x is not None)
        found = super()._reduction(node, [self._off(x, terms) for x in inputs])
        return self._off(found, _UNITS)

    def _matrix(self, node: Node, inputs: list[Any]) -> Any:
        found = super()._matrix(node, inputs)
        if node.op in _UNROUNDED:
            return found
        # What a factor adds to its rounding is the condition of what it is of.
        return self._off(found, max((np.size(x) for x in found if x is not None), default=1))

    def _ask(self, node: Node, inputs: list[Any]) -> Any:
        found = super()._ask(node, inputs)
        if node.op in ("point", "examples"):
            return found
        units = float(_UNITS)
        if node.op in ("hvp", "curvature", "ggn", "ggn_curvature") and self.oracles is not None:
            # Derivatives of r / sqrt(1 + r^2), taken one by one, cancel but for r^-2 of them.
            units *= 1 + float(np.max(np.square(self.oracles.outputs(inputs[0]))))
        return self._off(found, units)

    def _history(self, node: Node, inputs: list[Any]) -> Any:
        found = super()._history(node, inputs)
        # What a solve adds to its rounding is the condition of what it solves.
        return self._off(found, _EXTERN_UNITS) if node.type.is_field else found

    def _opaque(self, node: Node, inputs: list[Any]) -> Any:
        found = super()._opaque(node, inputs)
        if node.op != "extern":
            return found
        signal, state = found
        return self._off(signal, _EXTERN_UNITS), state

    def _off(self, x: Any, units: float) -> Any:
        if isinstance(x, list):
            return [self._off(each, units) for each in x]
        if x is None or not self.unit:
            return x
        by = self.unit * units * self.source.uniform(-1, 1, np.shape(x))
        # Whole numbers, halves and so on are exact where they come from others of few bits.
        few = np.floor(np.multiply(x, 4096.0)) == np.multiply(x, 4096.0)
        return np.where(few, x, x * (1 + by))[()]


def _errs(node: Node) -> bool:
    return node.type.dtype == "float" and node.op not in _EXACT


def _kept(x: Any, bits: int | None) -> Any:
    if bits is None or x is None:
        return x
    if isinstance(x, list):
        return [_kept(each, bits) for each in x]
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


def _nudged(taped: Tape, unit: float, source: np.random.Generator) -> Tape:
    """The tape whose numbers are off by as many units as an example's outputs have terms."""
    units = unit * sum(np.size(w) for w in taped.weights)

    def nudge(x: Any) -> Any:
        return x * (1 + units * source.uniform(-1, 1, np.shape(x)))

    batches = tuple(
        replace(batch, inputs=nudge(batch.inputs), targets=nudge(batch.targets))
        for batch in taped.batches
    )
    return replace(taped, weights=tuple(map(nudge, taped.weights)), batches=batches)
