"""Weights, batches and an objective to run programs on, whose oracles are compiled once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from optc import runtime as rt
from optc.runtime import kronecker
from optc.runtime.alignment import covariance
from optc.runtime.tree import Tree

FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""How programs are compiled here: unoptimised, which takes a third of the time."""


@dataclass(frozen=True)
class Model:
    """Weights, one batch for each step, and an objective split into outputs and loss."""

    params: Any
    batches: tuple[Any, ...]
    outputs: Callable[[Any, Any], Any]
    loss: Callable[[Any, Any], Any]
    sample: Callable[[Any, Any, Any], Any] | None = None

    @cached_property
    def tree(self) -> Tree:
        return Tree.of(self.params)[0]

    @cached_property
    def weights(self) -> list[np.ndarray]:
        return [np.array(x, np.float64) for x in jax.tree.leaves(self.params)]

    @cached_property
    def objective(self) -> rt.Objective:
        def measuring(params, batch):
            found = self.outputs(params, batch)
            return found, {"largest": jnp.max(jnp.abs(ravel_pytree(found)[0]))}

        return rt.Objective(
            outputs=measuring,
            loss=self.loss,
            batch_axis=0,
            sampler=self.sample,
            aux=True,
            measured=lambda aux: aux,
        )

    def batch(self, step: int) -> Any:
        return self.batches[step % len(self.batches)]

    @cached_property
    def asked(self) -> dict[str, Callable[..., Any]]:
        """Every oracle as a compiled function of a batch, weights, and what it acts on."""

        def given(batch, w):
            return self.outputs(self.tree.unflatten(w), batch)

        def outputs(batch, w):
            return ravel_pytree(given(batch, w))[0]

        def loss(batch, w):
            return self.loss(given(batch, w), batch)

        def outputs_grad(batch, w):
            return ravel_pytree(jax.grad(self.loss)(given(batch, w), batch))[0]

        def pullback(batch, w, cotangent):
            return jax.vjp(lambda w: outputs(batch, w), w)[1](cotangent)[0]

        def grad(batch, w):
            return jax.grad(loss, argnums=1)(batch, w)

        def sampled_outputs_grad(batch, w, key):
            found = given(batch, w)
            return ravel_pytree(jax.grad(self.loss)(found, self.sample(found, batch, key)))[0]

        def hvp(batch, w, v):
            return jax.jvp(lambda w: grad(batch, w), (w,), (v,))[1]

        def ggn(batch, w, v):
            found, push = jax.jvp(lambda w: given(batch, w), (w,), (v,))
            slope = jax.grad(lambda x: self.loss(x, batch))
            return pullback(batch, w, ravel_pytree(jax.jvp(slope, (found,), (push,))[1])[0])

        def feature_covariance(batch, w):
            def one(example):
                example = jax.tree.map(lambda x: x[None], example)
                return covariance(lambda w: given(example, w), w, jax.random.key(0), 64)

            return jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.vmap(one)(batch))

        def factor(side, batch, w, key):
            def one(example, key):
                example = jax.tree.map(lambda x: x[None], example)

                def slope(found):
                    return jax.grad(self.loss)(found, self.sample(found, example, key))

                asked = tuple(x.ndim == 2 for x in w)
                return kronecker.rows(lambda w: given(example, w), slope, w, side, asked)

            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(size_of(batch)))
            return tuple(
                None if x is None else kronecker.moment(x) for x in jax.vmap(one)(batch, keys)
            )

        def fisher_rows(batch, w, key):
            return factor(0, batch, w, key)

        def fisher_columns(batch, w, key):
            return factor(1, batch, w, key)

        functions = (outputs, loss, outputs_grad, sampled_outputs_grad)
        functions += (pullback, grad, hvp, ggn, feature_covariance, fisher_rows, fisher_columns)
        return {f.__name__: jax.jit(f, compiler_options=FAST) for f in functions}


def size_of(batch: Any) -> int:
    """The number of examples."""
    return len(jax.tree.leaves(batch)[0])


class Asked:
    """The oracles of one batch for the interpreter; counts what it answers."""

    def __init__(self, model: Model, batch: Any, key: Any = None) -> None:
        self._model = model
        self._batch = batch
        self._key = key
        self.counts: dict[str, int] = {}

    def _ask(self, oracle: str, at: Any, *more: Any) -> Any:
        self.counts[oracle] = self.counts.get(oracle, 0) + 1
        found = self._model.asked[oracle](self._batch, tuple(at), *more)
        if isinstance(found, tuple):
            return [None if x is None else np.asarray(x) for x in found]
        return np.asarray(found)

    def loss(self, at):
        return float(self._ask("loss", at))

    def grad(self, at):
        return self._ask("grad", at)

    def outputs(self, at):
        return self._ask("outputs", at)

    def outputs_grad(self, at):
        return self._ask("outputs_grad", at)

    def pullback(self, at, cotangent):
        return self._ask("pullback", at, cotangent)

    def hvp(self, at, vector):
        return self._ask("hvp", at, tuple(vector))

    def ggn(self, at, vector):
        return self._ask("ggn", at, tuple(vector))

    def sampled_outputs_grad(self, at, site, rounds):
        return self._ask("sampled_outputs_grad", at, self._drawn(site, rounds))

    def fisher_factors(self, at, axis, rounds):
        oracle = ("fisher_rows", "fisher_columns")[axis]
        return self._ask(oracle, at, self._drawn(0, rounds))

    def _drawn(self, site, rounds):
        key = self._key
        for number in (*rounds, site):
            key = jax.random.fold_in(key, number)
        return key

    def measured(self, at, name, axis, like):
        """The largest output, for each place of the axis."""
        largest = np.max(np.abs(self._model.asked["outputs"](self._batch, tuple(at))))
        shapes = [None if x is None else [1] * np.ndim(x) for x in like]
        for x, shape in zip(like, shapes, strict=True):
            if shape is not None:
                shape[axis] = np.shape(x)[axis]
        return [None if shape is None else np.full(shape, largest) for shape in shapes]

    def feature_covariance(self, at):
        found = self._model.asked["feature_covariance"](self._batch, tuple(at))
        rows = zip(found.moments, found.units, strict=True)
        return [None if k is None else (np.asarray(k), units) for k, units in rows]

    def per_example_grad(self, at):
        grad, size = self._model.asked["grad"], size_of(self._batch)
        places = [slice(i, i + 1) for i in range(size)]
        examples = [jax.tree.map(itemgetter(place), self._batch) for place in places]
        return [[np.asarray(x) for x in grad(one, tuple(at))] for one in examples]


@cache
def net() -> Model:
    """A tanh layer and a head, softmax loss: matrices, a vector and a scalar."""
    random = np.random.default_rng(1)
    params = {
        "head": {"kernel": random.normal(size=(2, 2))},
        "hidden": {"bias": random.normal(size=(2,)), "kernel": random.normal(size=(3, 2))},
        "scale": np.array(1.5),
    }
    batches = tuple(
        (random.normal(size=(4, 3)), random.dirichlet((1.0, 1.0), size=4)) for _ in range(5)
    )

    def outputs(params, batch):
        layer = params["hidden"]
        hidden = jnp.tanh(batch[0] @ layer["kernel"] + layer["bias"])
        return params["scale"] * (hidden @ params["head"]["kernel"])

    def loss(outputs, batch):
        return -jnp.mean(jnp.sum(batch[1] * jax.nn.log_softmax(outputs), axis=-1))

    def sample(outputs, batch, key):
        drawn = jax.random.categorical(key, outputs)
        return batch[0], jax.nn.one_hot(drawn, outputs.shape[-1], dtype=outputs.dtype)

    return Model(params, batches, outputs, loss, sample)


def spiked() -> Model:
    """The net, with a second batch whose gradient is not finite."""
    first, second, *others = net().batches
    second = (second[0] * np.inf, second[1])
    return Model(net().params, (first, second, *others), net().outputs, net().loss)


@cache
def bowl() -> Model:
    """A quadratic over tensors of each rank up to four: its gradient is `centre`d and known."""
    random = np.random.default_rng(2)
    shapes = {"four": (2, 1, 3, 2), "one": (3,), "thin": (1, 4), "three": (2, 3, 2), "two": (3, 2)}
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    centres = tuple(
        {name: random.normal(size=(1, *shape)) for name, shape in shapes.items()} for _ in range(4)
    )

    def outputs(params, batch):
        return jax.tree.map(lambda x, centre: x - centre[0], params, batch)

    def loss(outputs, batch):
        return sum(jnp.sum(x * x) / 2 for x in jax.tree.leaves(outputs))

    def sample(outputs, batch, key):
        return jax.tree.map(lambda x: jax.random.normal(key, x.shape, x.dtype), batch)

    return Model(params, centres, outputs, loss, sample)


@cache
def square() -> Model:
    """Least squares: the gradients of its matrix have full rank, which those of a softmax lack."""
    random = np.random.default_rng(3)
    params = {"bias": random.normal(size=(2,)), "kernel": random.normal(size=(2, 2))}
    batches = tuple((random.normal(size=(4, 2)), random.normal(size=(4, 2))) for _ in range(5))

    def outputs(params, batch):
        return batch[0] @ params["kernel"] + params["bias"]

    def loss(outputs, batch):
        return jnp.mean((outputs - batch[1]) ** 2)

    return Model(params, batches, outputs, loss)
