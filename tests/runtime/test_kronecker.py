"""The Fisher matrix's factors for each layer are those of inputs and derivatives by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc import Objective
from optc import runtime as rt
from optc.runtime.oracles import Oracles
from optc.runtime.tree import Tree

N, PLACES, INPUTS, HIDDEN, CLASSES = 6, 3, 4, 5, 2
KEY = jax.random.key(3)


def outputs(params, batch):
    """A kernel of each layout, one of them in a checkpoint and at each place of a row."""
    hidden = jax.checkpoint(lambda w, x: jnp.tanh(x @ w + params["bias"]))(
        params["kernel"], batch[0]
    )
    return jnp.mean(hidden, axis=1) @ params["torch"].T + params["tied"].sum()


def loss(outputs, batch):
    return jnp.mean(jnp.sum((outputs - batch[1]) ** 2, axis=-1)) / 2


def sampler(outputs, batch, key):
    return batch[0], outputs + jax.random.normal(key, outputs.shape, outputs.dtype)


def problem(**options):
    random = np.random.default_rng(0)
    shapes = {
        "bias": (HIDDEN,),
        "kernel": (INPUTS, HIDDEN),
        "torch": (CLASSES, HIDDEN),
        "tied": (2, 2),
    }
    params = {name: jnp.asarray(random.normal(size=shape)) for name, shape in shapes.items()}
    batch = tuple(jnp.asarray(random.normal(size=n)) for n in ((N, PLACES, INPUTS), (N, CLASSES)))
    model = Objective(outputs=outputs, loss=loss, sampler=sampler, batch_axis=0, **options)
    tree, tensors = Tree.of(params)
    return params, batch, rt.Field(tensors, tree), model


def asked(w, model, batch, *names):
    flags = tuple(leaf.path in names for leaf in w.tree.leaves)

    def both(w):
        at_w = Oracles(w, model, batch).at(w, "fisher_rows", "fisher_columns")
        where = rt.Mask(flags)
        found = at_w.fisher_rows(KEY, 0, where), at_w.fisher_columns(KEY, 0, where)
        return [x.tree.unflatten(x.tensors) for x in found]

    return jax.jit(both)(w)


def test_factors_are_second_moments_of_inputs_and_of_derivatives(x64):
    params, batch, w, model = problem()
    rows, columns = asked(w, model, batch, "kernel", "torch")

    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(KEY, 0), i))(jnp.arange(N))
    drawn = [
        sampler(outputs(params, (x[None], None)), (None, None), key)[1][0]
        for x, key in zip(batch[0], keys, strict=True)
    ]
    given = np.asarray(batch[0])
    hidden = np.tanh(given @ params["kernel"] + params["bias"])
    mean = hidden.mean(axis=1)
    error = mean @ params["torch"].T + params["tied"].sum() - np.stack(drawn)
    slope = (error @ params["torch"])[:, None] * (1 - hidden**2) / PLACES
    flat = lambda x: x.reshape(-1, x.shape[-1])  # noqa: E731
    expected = {
        "kernel": (flat(given).T @ flat(given) / N, flat(slope).T @ flat(slope) / (N * PLACES)),
        "torch": (error.T @ error / N, mean.T @ mean / N),
    }
    for name, sides in expected.items():
        for found, side in zip((rows[name], columns[name]), sides, strict=True):
            np.testing.assert_allclose(found, side, rtol=1e-12, atol=1e-12)
    assert rows["bias"] is None


def test_one_example_has_exactly_the_outer_product_of_its_gradient(x64):
    """K-FAC's block is exact there: vec(x'e) vec(x'e)' = x x' (x) e e'."""
    params, batch, w, model = problem()
    one = batch[0][:1, :1], batch[1][:1]
    rows, columns = asked(w, model, one, "kernel")
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    drawn = sampler(outputs(params, one), one, key)
    gradient = jax.grad(lambda p: loss(outputs(p, one), drawn))(params)["kernel"]
    block = np.outer(gradient.ravel(), gradient.ravel())
    np.testing.assert_allclose(
        np.kron(rows["kernel"], columns["kernel"]), block, rtol=1e-11, atol=1e-13
    )


def test_slices_give_the_mean_of_their_factors(x64):
    _, batch, w, model = problem(micro_batches=3)
    rows, _ = asked(w, model, batch, "kernel")
    whole, _ = asked(w, problem()[3], batch, "kernel")
    np.testing.assert_allclose(rows["kernel"], whole["kernel"], rtol=1e-12)


def test_a_weight_without_a_layer_is_refused_with_its_name(x64):
    _, batch, w, model = problem()
    with pytest.raises(ValueError, match="`tied`, and the model multiplies nothing by it"):
        asked(w, model, batch, "tied")
