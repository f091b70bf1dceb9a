"""The reference interpreter: any graph in NumPy float64, straight from the op table.

It is slow, it shares no code with the printed programs, and it is what they are held against.
A field is a list with one array for every weight tensor, or None outside its domain, and model
outputs are one array. Oracles, random draws and transformations of optax are handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import answers, histories, one_tensor, rearrange, turns
from .constants import value_of
from .environment import Draw, Extern, Fields, Oracles, Tensors
from .graph import Graph, Node, Region
from .ops import OPS, knots
from .parts import axes
from .predicate import bound, holds
from .records import Scalar

Observed: TypeAlias = float | dict[str, float] | NDArray[np.float64]
"""What is reported under one name: a number, one for each tensor by its path, or a spectrum."""


@dataclass
class Outcome:
    """The results of one step, by role."""

    weights: Fields
    slots: list[Any]
    observed: dict[str, Observed]
    loss: float
    applied: bool = True


@dataclass
class Interpreter:
    """Runs the regions of one graph on weights of given paths and dtypes."""

    graph: Graph
    tensors: Tensors
    hyperparameters: Mapping[str, Scalar]
    oracles: Oracles | None = None
    draw: Draw | None = None
    extern: Extern | None = None
    _values: dict[int, Any] = field(default_factory=dict)
    _inputs: dict[tuple[str, Any], Any] = field(default_factory=dict)
    _masks: list[list[bool]] = field(default_factory=list)

    def start(self, weights: Fields) -> list[Any]:
        """The slots of a fresh state. Raises ValueError for what a rule refuses."""
        self._admit(self._domains(weights))
        return self._run(self.graph.start, weights, 0, [])

    def step(self, weights: Fields, slots: list[Any], count: int) -> Outcome:
        """One step, the `count`-th from 1."""
        results = self._run(self.graph.step, weights, count, slots)
        new = Outcome(weights, list(slots), {}, float("nan"))
        for output, value in zip(self.graph.outputs, results, strict=True):
            match output.role:
                case "step":
                    new.weights = [w - s for w, s in zip(weights, value, strict=True)]
                case "weights" | "moved":
                    new.weights = value
                case "slot":
                    new.slots[output.index] = value
                case "observed" | "requested":
                    new.observed[output.name] = self._reported(value)
                case "loss":
                    new.loss = float(value)
                case "applied":
                    new.applied = bool(value)
        return new

    def _reported(self, value: Any) -> Observed:
        if isinstance(value, np.ndarray) and np.ndim(value):
            return value
        if not isinstance(value, list):
            return float(value)
        pairs = zip(self.tensors.paths, value, strict=True)
        return {path: float(np.reshape(x, ())) for path, x in pairs if x is not None}

    @property
    def values(self) -> Mapping[int, Any]:
        """What the last region that ran worked out, by the ids of its nodes."""
        return self._values

    @property
    def masks(self) -> Sequence[Sequence[bool]]:
        """Which tensors each domain has, on the weights of the last region that ran."""
        return self._masks

    def evaluate(self, weights: Fields, slots: list[Any], count: int) -> Fields:
        """The weights to evaluate with after the `count`-th step."""
        if self.graph.evaluation is None:
            return weights
        (result,) = self._run(self.graph.evaluation, weights, count, slots)
        return list(result)

    def _admit(self, masks: Sequence[Sequence[bool]]) -> None:
        for refusal in self.graph.refusals:
            found = refusal.domain is None or any(masks[refusal.domain])
            if found and value_of(refusal.condition, self.hyperparameters):
                raise ValueError(refusal.message)

    # ---- regions

    def _run(self, region: Region, weights: Fields, count: int, slots: list[Any]) -> list[Any]:
        self._values = {}
        self._inputs = {("input", "w"): weights, ("input", "t"): count}
        self._inputs |= {("parameter", k): v for k, v in self.hyperparameters.items()}
        self._inputs |= {("state", number): value for number, value in enumerate(slots)}
        self._masks = self._domains(weights)
        return self._region(region)

    def _domains(self, weights: Fields) -> list[list[bool]]:
        masks: list[list[bool]] = []
        for number, domain in enumerate(self.graph.domains):
            parent = masks[domain.parent] if number else [True] * len(weights)
            predicate = bound(domain.predicate, self.hyperparameters)
            mask = []
            for inside, w, path, dtype in zip(
                parent, weights, self.tensors.paths, self.tensors.dtypes, strict=True
            ):
                shape = np.shape(w)
                if inside and domain.view is not None:
                    shape = rearrange.shape(domain.view, shape, self.hyperparameters)
                facts = {"path": path, "dtype": dtype, **one_tensor.facts(shape)}
                mask.append(inside and holds(predicate, facts))
            masks.append(mask)
        return masks

    def _region(self, region: Region) -> list[Any]:
        for node in region.nodes:
            if node.op != "argument":
                self._values[node.id] = self._node(node)
        return [self._values[i] for i in region.results]

    def _node(self, node: Node) -> Any:
        inputs = [self._values[i] for i in node.inputs]
        match OPS[node.op].op_class:
            case "leaf":
                return self._leaf(node, inputs)
            case "elementwise":
                return self._elementwise(node, inputs)
            case "reduction":
                return self._reduction(node, inputs)
            case "shape":
                return self._shape(node, inputs)
            case "matrix":
                return self._matrix(node, inputs)
            case "local":
                return self._merge(node, *inputs)
            case "fill":
                return self._fill(node, inputs)
            case "random":
                return self._random(node, inputs)
            case "history":
                return self._history(node, inputs)
            case "oracle":
                return self._ask(node, inputs)
            case "spectral":
                return self._spectral(node, inputs)
            case "control":
                return self._control(node, inputs)
            case "opaque":
                return self._opaque(node, inputs)

    def _leaf(self, node: Node, inputs: list[Any]) -> Any:
        match node.op:
            case "const":
                return node["value"]
            case "nan":
                return float("nan")
            case "item":
                return inputs[0][int(node["index"])]
            case _:
                return self._inputs[node.op, node["name"]]

    def _mask(self, node: Node) -> list[bool]:
        return self._masks[node.type.domain]

    def _elementwise(self, node: Node, inputs: list[Any]) -> Any:
        meaning = getattr(np, OPS[node.op].numpy)
        if node.op == "interpolate":
            meaning = partial(one_tensor.interpolate, knots(node))
        if not node.type.is_field:
            return meaning(*(_float(x) for x in inputs))
        return [
            meaning(*(_float(_at(x, place)) for x in inputs)) if inside else None
            for place, inside in enumerate(self._mask(node))
        ]

    def _reduction(self, node: Node, inputs: list[Fields]) -> Any:
        reduce = one_tensor.REDUCTIONS[node.op]
        per = node.get("per")
        if not isinstance(inputs[0], list):
            return reduce(*inputs, axis=None, keepdims=False)
        if per is None:
            present = [x for x in zip(*inputs, strict=True) if x[0] is not None]
            flat = [np.concatenate([np.ravel(x) for x in xs]) for xs in zip(*present, strict=True)]
            return reduce(*flat, axis=None, keepdims=False) if flat else 0.0
        return [
            reduce(
                *(x[place] for x in inputs),
                axis=axes(np.shape(inputs[0][place]), per),
                keepdims=True,
            )
            if inside
            else None
            for place, inside in enumerate(self._mask(node))
        ]

    def _shape(self, node: Node, inputs: list[Any]) -> Fields:
        return [
            one_tensor.shaped(node, *(_at(x, place) for x in inputs)) if inside else None
            for place, inside in enumerate(self._mask(node))
        ]

    def _matrix(self, node: Node, inputs: list[Any]) -> Fields:
        return [
            one_tensor.algebra(node, [_at(x, place) for x in inputs]) if inside else None
            for place, inside in enumerate(self._mask(node))
        ]

    def _merge(self, node: Node, inside: Any, outside: Any) -> Fields:
        chosen = self._masks[int(node["domain"])]
        return [
            (_at(inside, place) if chosen[place] else _at(outside, place)) if here else None
            for place, here in enumerate(self._mask(node))
        ]

    def _fill(self, node: Node, inputs: list[Any]) -> Any:
        if node.op == "full":
            return [np.full_like(x, inputs[1]) for x in inputs[0]]
        if node.op == "nans":
            one = [None if x is None else np.full((1,) * np.ndim(x), np.nan) for x in inputs[0]]
            return [x if inside else None for x, inside in zip(one, self._mask(node), strict=True)]
        meaning = getattr(np, OPS[node.op].numpy)
        if not node.type.is_field:
            return meaning(*inputs)
        return [
            meaning(*(_at(x, place) for x in inputs)) if inside else None
            for place, inside in enumerate(self._mask(node))
        ]

    def _random(self, node: Node, inputs: list[Any]) -> Any:
        if node.op == "round_stochastic":
            return inputs[0]
        assert self.draw is not None
        rounds = tuple(int(i) for i in inputs[1:])
        if not node.type.is_field:
            return self.draw(node.op, int(node["site"]), rounds, None)
        drawn = self.draw(node.op, int(node["site"]), rounds, inputs[0])
        return [x if inside else None for x, inside in zip(drawn, self._mask(node), strict=True)]

    def _history(self, node: Node, inputs: list[Any]) -> Any:
        if node.op == "history":
            return histories.History(int(inputs[1]))
        meaning: Callable[..., Any] = getattr(histories, node.op)
        return meaning(*inputs)

    def _ask(self, node: Node, inputs: list[Any]) -> Any:
        if node.op == "point":
            return inputs[0]
        if node.op == "per_example_mean":
            return self._per_example_mean(node, *inputs)
        assert self.oracles is not None
        return answers.answer(node, inputs, self.oracles, self._mask(node))

    def _per_example_mean(self, node: Node, gradients: list[Fields]) -> Any:
        found = [self._applied(node, gradient) for gradient in gradients]
        if not node.type.is_field:
            return np.mean(found)
        return [None if xs[0] is None else np.mean(xs, axis=0) for xs in zip(*found, strict=True)]

    def _spectral(self, node: Node, inputs: list[Any]) -> Any:
        return answers.of_operator(node, inputs, partial(self._applied, node), self.draw)

    def _applied(self, node: Node, argument: Any, place: int = 0) -> Any:
        """What the function makes that a node has as a region."""
        region = node.regions[place]
        self._values[region.arguments[0]] = argument
        (value,) = self._region(region)
        return value

    def _opaque(self, node: Node, inputs: list[Any]) -> Any:
        if node.op == "select":
            return inputs[1] if inputs[0] else inputs[2]
        assert self.extern is not None
        own = 1 if node.op == "extern_init" else 3
        names = str(node["inputs"]).split()
        given = zip(names, inputs[own : own + len(names)], strict=True)
        literals = {key[1:]: value for key, value in node.attributes if key.startswith("=")}
        arguments = {**literals, **dict(given)}
        path = f"{node['module']}.{node['function']}"
        if node.op == "extern_init":
            return self.extern.start(path, arguments, inputs[0])
        extra = dict(zip(str(node["extra"]).split(), inputs[own + len(names) :], strict=False))
        if "value_fn" in str(node["extra"]).split():
            assert self.oracles is not None
            extra["value_fn"] = self.oracles.loss
        return self.extern.update(path, arguments, inputs[0], inputs[1], inputs[2], extra)

    def _control(self, node: Node, inputs: list[Any]) -> Any:
        match node.op:
            case "if":
                return self._region(node.regions[0] if inputs[0] else node.regions[1])
            case "stagger":
                return self._stagger(node, int(inputs[0]), int(inputs[1]), inputs[2:])
            case _:
                return self._loop(node, int(inputs[0]), inputs[1:])

    def _stagger(self, node: Node, period: int, count: int, kept: list[Fields]) -> list[Fields]:
        """What is kept, made anew for the tensors that have their turn."""
        places = zip(*kept, strict=True)
        shapes = [None if x[0] is None else tuple(map(np.shape, x)) for x in places]
        due = [turn == (count - 1) % period for turn in turns.turns(shapes, period)]
        every = self._masks
        self._masks = [[here and now for here, now in zip(m, due, strict=True)] for m in every]
        fresh = self._region(node.regions[0])
        self._masks = every
        return [
            [x if now else y for now, x, y in zip(due, new, old, strict=True)]
            for new, old in zip(fresh, kept, strict=True)
        ]

    def _loop(self, node: Node, count: int, carried: list[Any]) -> list[Any]:
        body, *condition = node.regions
        for round in range(count):
            if condition:
                self._values |= zip(condition[0].arguments, carried, strict=True)
                if not self._region(condition[0])[0]:
                    break
            self._values |= zip(body.arguments, (round, *carried), strict=True)
            carried = self._region(body)
        return carried


def _float(x: Any) -> Any:
    """Integers as they are used in formulas: in float64."""
    return x if isinstance(x, bool | np.bool_ | np.ndarray | str) else np.float64(x)


def _at(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list) else value
