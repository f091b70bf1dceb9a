"""One program, run twice in float64: by the reference interpreter, and as the printed module.

Both are given the same weights, batches, oracles and random draws, and must leave the same trace.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
from tried import FAST, Asked, Model, net

from optc import runtime as rt
from optc.api.programs import run
from optc.compiler.check import check, chosen, lowered
from optc.compiler.driver import Compiled, print_program
from optc.compiler.environment import Tensors
from optc.compiler.freeze import freeze
from optc.compiler.graph import Graph, walk
from optc.compiler.histories import History
from optc.compiler.interpret import Interpreter
from optc.compiler.locate import Located
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.render import render_text
from optc.grammar.source import Source
from optc.runtime.random import wrap_key

RTOL, ATOL = 1e-10, 1e-13
"""A few hundred float64 operations a step, five steps, sums in another order: 1e-13 or so, and a
thousandfold for the divisions by small norms and moments that follow them."""


# ---- from text to graphs


def located(text: str, name: str | None = None) -> Located:
    return Located(Source("<test>", text), name)


def graph_of(spec: str | Located) -> Graph:
    """The graph of a spec before any pass; every mistake fails the test."""
    where = located(spec) if isinstance(spec, str) else spec
    report = Diagnostics()
    draft = chosen(where, lowered(where, report), report)
    assert draft is not None, render_text(report.sorted())
    assert not report.has_errors, render_text(report.sorted())
    return freeze(draft)


def mistakes(text: str) -> list[str]:
    """What is wrong with a spec: `code: headline` of each error."""
    found = check(located(text)).sorted()
    return [f"{d.code}: {d.message}" for d in found if d.severity.value == "error"]


# ---- running


@dataclass
class Moment:
    """What can be seen after one step; slots are lists for fields, numbers for scalars."""

    weights: list[Any]
    slots: dict[tuple[str, str], Any]
    observed: dict[str, float]
    loss: float
    applied: bool
    evaluation: list[Any]


@dataclass
class Trace:
    """A run: the slots of the fresh state, and each step."""

    start: dict[tuple[str, str], Any]
    moments: list[Moment] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)

    @property
    def last(self) -> Moment:
        return self.moments[-1]


def interpret(
    graph: Graph,
    model: Model | None = None,
    steps: int = 5,
    values: Mapping[str, Any] | None = None,
) -> Trace:
    """The trace of the interpreter. `values` are all hyperparameters, or those without default."""
    model = model or net()
    defaults = {h.name: h.default for h in graph.hyperparameters}
    tensors = Tensors([leaf.path for leaf in model.tree.leaves], ["float64"] * len(model.weights))
    runner = Interpreter(graph, tensors, {**defaults, **(values or {})})
    weights, count = list(model.weights), 0
    runner.extern = Optax(model)
    with jax.enable_x64(True):
        slots = _stored(graph, model, runner.start(weights), {})
    trace = Trace(_named(graph, slots))
    with jax.enable_x64(True), np.errstate(all="ignore"):
        for step in range(steps):
            key = jax.random.fold_in(wrap_key(jnp.array([0, 0], jnp.uint32)), count)
            runner.oracles = asked = Asked(model, model.batch(step), key)
            runner.draw = _draws(model, key)
            outcome = runner.step(weights, slots, count + 1)
            count += outcome.applied
            slots = _stored(graph, model, outcome.slots, _sites(graph, runner, key))
            weights = outcome.weights
            evaluation = runner.evaluate(weights, slots, count)
            named = _named(graph, slots)
            trace.moments.append(
                Moment(weights, named, outcome.observed, outcome.loss, outcome.applied, evaluation)
            )
            trace.counts.append(asked.counts)
    return trace


class Optax:
    """The transformations that a graph names, of optax itself, on trees with masked nodes."""

    def __init__(self, model: Model) -> None:
        self.tree = model.tree

    def _tree(self, tensors: Sequence[Any]) -> Any:
        masked = [optax.MaskedNode() if x is None else jnp.asarray(x) for x in tensors]
        return self.tree.unflatten(masked)

    def _made(self, path: str, arguments: Mapping[str, Any]) -> Any:
        function = {"optax": optax, "optax.contrib": optax.contrib}[path.rpartition(".")[0]]
        made = getattr(function, path.rpartition(".")[2])(**arguments)
        return optax.with_extra_args_support(made)

    def start(self, path: str, arguments: Mapping[str, Any], weights: Sequence[Any]) -> Any:
        return self._made(path, arguments).init(self._tree(weights))

    def update(
        self,
        path: str,
        arguments: Mapping[str, Any],
        signal: Sequence[Any],
        state: Any,
        weights: Sequence[Any],
        extra: Mapping[str, Any],
    ) -> tuple[list[Any], Any]:
        known = dict(extra)
        if "grad" in known:
            known["grad"] = self._tree(known["grad"])
        seen = [None if s is None else w for s, w in zip(signal, weights, strict=True)]
        update = self._made(path, arguments).update
        found, state = update(self._tree(signal), state, self._tree(seen), **known)
        places = self.tree.flatten(found, "the update")
        pairs = zip(signal, places, strict=True)
        return [None if s is None else np.asarray(x) for s, x in pairs], state


def _draws(model: Model, key: jax.Array) -> Callable[..., Any]:
    def draw(op: str, site: int, rounds: tuple[int, ...], like: Sequence[Any] | None) -> Any:
        own = key
        for number in rounds:
            own = jax.random.fold_in(own, number)
        if like is None:
            return float(rt.number(op, own, site))
        shapes = rt.Field([None if x is None else jnp.asarray(x) for x in like], model.tree)
        drawn = getattr(rt, op)(own, site, shapes).tensors
        return [None if x is None else np.asarray(x, np.float64) for x in drawn]

    return draw


def _sites(graph: Graph, runner: Interpreter, key: jax.Array) -> dict[int, tuple[jax.Array, int]]:
    """The key and site with which each slot was rounded that is rounded stochastically."""
    sites = {}
    for node in walk(graph.step):
        if node.op == "round_stochastic":
            own = key
            for number in node.inputs[1:]:
                own = jax.random.fold_in(own, int(runner._values[number]))
            place = graph.step.results.index(node.id)
            sites[graph.outputs[place].index] = own, int(node["site"])
    return sites


def _stored(
    graph: Graph, model: Model, slots: list[Any], sites: dict[int, tuple[jax.Array, int]]
) -> list[Any]:
    """The slots in the dtypes in which they are kept, which the interpreter does not know."""
    kept = list(slots)
    for number, slot in enumerate(graph.slots):
        if slot.dtype is None:
            continue
        if number in sites:
            tensors = [None if x is None else jnp.asarray(x) for x in kept[number]]
            field = rt.Field(tensors, model.tree)
            rounded = rt.round_stochastic(*sites[number], field, "bfloat16").tensors
            kept[number] = [None if x is None else np.asarray(x) for x in rounded]
        dtype = ml_dtypes.bfloat16 if slot.dtype == "bfloat16" else np.dtype(slot.dtype)
        if slot.dtype == "int8":
            kept[number] = _each(kept[number], lambda x: np.clip(np.round(x), -127, 127))
        kept[number] = _each(kept[number], lambda x, to=dtype: np.asarray(x, to).astype(float))
    return kept


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, History):
        return replace(value, fields=tuple(_each(field, change) for field in value.fields))
    if isinstance(value, list):
        return [None if x is None else change(x) for x in value]
    return change(value)


def _named(graph: Graph, slots: Sequence[Any]) -> dict[tuple[str, str], Any]:
    return {
        (s.stage, s.name): _seen(s.type.kind, v) for s, v in zip(graph.slots, slots, strict=True)
    }


def _seen(kind: str, value: Any) -> Any:
    match kind:
        case "opaque":
            return _leaves(value)
        case "history":
            return _oldest_first(value)
        case _:
            return value


def _oldest_first(value: History | rt.History) -> list[np.ndarray]:
    """The fields of a history that have a tensor, each with its places; zeros are before them."""
    if isinstance(value, History):
        if not value.fields:
            return []
        blank = [None if x is None else np.zeros_like(x) for x in value.fields[0]]
        fields = [blank] * (value.size - len(value.fields)) + list(value.fields)
        return [np.stack(rows) for rows in zip(*fields, strict=True) if rows[0] is not None]
    if not int(value.pushed):
        return []
    rows = [np.asarray(x, float) for x in jax.tree.leaves(value.rows)]
    return [np.roll(x, -int(value.pushed) % len(x), axis=0) for x in rows]


def _leaves(state: Any) -> list[np.ndarray]:
    """The arrays of a state of optax, which has a structure of its own."""
    return [np.array(x, float) for x in jax.tree.leaves(state)]


def execute(
    program: rt.Program | rt.Optimizer, model: Model | None = None, steps: int = 5
) -> Trace:
    """The trace of a printed program, compiled and with donated arguments, in float64."""
    model = model or net()
    optimizer = program() if isinstance(program, rt.Program) else program
    with jax.enable_x64(True):
        step = jax.jit(
            optimizer.update, static_argnums=3, donate_argnums=(0, 1), compiler_options=FAST
        )
        params = jax.tree.map(jnp.array, model.params)
        state = optimizer.init(params)
        trace = Trace(_slots(model, state))
        for number in range(steps):
            params, state, report = step(params, state, model.batch(number), model.objective)
            reported = {**report.observed, **report.requested}
            observed = {name: jax.tree.map(_array, x) for name, x in reported.items()}
            evaluation = optimizer.evaluation_params(params, state)
            trace.moments.append(
                Moment(
                    _tensors(params),
                    _slots(model, state),
                    observed,
                    float(report.loss),
                    bool(report.applied),
                    _tensors(evaluation),
                )
            )
    return trace


def _array(x: Any) -> np.ndarray:
    return np.array(x, np.float64)


def _tensors(params: Any) -> list[np.ndarray]:
    return [np.array(x, np.float64) for x in jax.tree.leaves(params)]


def _slots(model: Model, state: rt.State) -> dict[tuple[str, str], Any]:
    found = {}
    for stage, slots in state.slots.items():
        for name, value in slots.items():
            if isinstance(value, rt.History):
                found[stage, name] = _oldest_first(value)
            elif isinstance(value, tuple):
                found[stage, name] = _leaves(value)
            elif isinstance(value, dict):
                tensors = model.tree.flatten(value, name)
                found[stage, name] = [None if x is None else np.array(x, float) for x in tensors]
            else:
                found[stage, name] = np.array(value, float)
    return found


# ---- comparing


def assert_same(one: Trace, other: Trace, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Two traces show the same at every step; `rtol` and `atol` of 0 ask for every bit."""
    _assert_slots(one.start, other.start, "the fresh state", rtol, atol)
    for number, (a, b) in enumerate(zip(one.moments, other.moments, strict=True), 1):
        for name in ("weights", "evaluation", "loss"):
            _assert_close(getattr(a, name), getattr(b, name), f"{name} {number}", rtol, atol)
        _assert_slots(a.slots, b.slots, f"slots {number}", rtol, atol)
        assert a.observed.keys() == b.observed.keys()
        for name, value in a.observed.items():
            found, what = b.observed[name], f"observed {name} {number}"
            if isinstance(value, dict):
                assert value.keys() == found.keys(), what
                value, found = list(value.values()), [found[path] for path in value]
            _assert_close(value, found, what, rtol, atol)
        assert a.applied == b.applied


def _assert_slots(one: dict, other: dict, what: str, rtol: float, atol: float) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        _assert_close(value, other[key], f"{what}: {key}", rtol, atol)


def _assert_close(one: Any, other: Any, what: str, rtol: float, atol: float) -> None:
    if not isinstance(one, list):
        one, other = [one], [other]
    for place, (x, y) in enumerate(zip(one, other, strict=True)):
        where = f"{what}, tensor {place}"
        assert (x is None) == (y is None), where
        if x is not None:
            assert np.shape(x) == np.shape(y), where
            np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=where)


# ---- both at once


@dataclass(frozen=True)
class Specimen:
    """A compiled spec: its graphs before and after the passes, its text and its program."""

    plain: Graph
    compiled: Compiled
    program: rt.Program

    @property
    def graph(self) -> Graph:
        return self.compiled.graph

    @property
    def text(self) -> str:
        return self.compiled.source


def specimen(spec: str | Located, without: Collection[str] = ()) -> Specimen:
    """Compile a spec that has no mistake, `without` some of the passes."""
    plain = graph_of(spec)
    compiled = print_program(plain, without=without)
    return Specimen(plain, compiled, run(compiled))


def agree(
    text: str | Located | Specimen,
    model: Model | None = None,
    steps: int = 5,
    **values: Any,
) -> Trace:
    """The trace of a spec, after checking that interpreter and program leave the same."""
    case = text if isinstance(text, Specimen) else specimen(text)
    optimizer = case.program(**values)
    plain = interpret(case.plain, model, steps, optimizer.values)
    passed = interpret(case.graph, model, steps, optimizer.values)
    assert_same(passed, plain)
    assert_same(execute(optimizer, model, steps), plain)
    return plain


# ---- the same by hand


Tensorwise = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def gradient(model: Model, step: int, weights: Sequence[Any]) -> list[np.ndarray]:
    """The gradient on the batch of one step (from 1)."""
    with jax.enable_x64(True):
        found = model.asked["grad"](model.batch(step - 1), tuple(weights))
    return [np.asarray(x) for x in found]


def by_hand(model: Model, update: Tensorwise, steps: int = 5) -> list[list[np.ndarray]]:
    """The weights after each step of w = update(t, w, g), tensor by tensor."""
    weights, found = list(model.weights), []
    for t in range(1, steps + 1):
        g = gradient(model, t, weights)
        weights = [update(t, *pair) for pair in zip(weights, g, strict=True)]
        found.append(weights)
    return found


def assert_weights(trace: Trace, expected: Sequence[Sequence[np.ndarray]]) -> None:
    """The trace goes through these weights."""
    for moment, weights in zip(trace.moments, expected, strict=True):
        _assert_close(moment.weights, list(weights), "weights", RTOL, ATOL)
