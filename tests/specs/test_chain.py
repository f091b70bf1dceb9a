"""What `--emit optax` prints, executed: the same updates as the program, by the interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from interpreted import Run

from optc.compiler import library
from optc.compiler.driver import optax_chain
from optc.compiler.locate import Located, find
from optc.grammar.diagnostic import SpecError
from optc.grammar.source import Source

STEPS = 4
SHAPES = {"embed": (4, 2), "layer": {"bias": (3,), "kernel": (2, 3)}, "scale": ()}
PATHS = ("embed", "layer/bias", "layer/kernel", "scale")


def chain(spec):
    """The text that is printed for a spec or an optimizer of the library; None where it cannot."""
    where = Located(Source("<test>", spec)) if "{" in spec else find(spec)
    try:
        return optax_chain(where)
    except SpecError as error:
        if {d.code for d in error.diagnostics} != {"no-optax-twin"}:
            raise
        return None


def draws(size):
    """Trees of random tensors, one for each step, all of another size."""
    rng = np.random.default_rng(size)

    def draw(shape):
        return rng.normal(size=(STEPS, *shape))

    drawn = jax.tree.map(draw, SHAPES, is_leaf=lambda x: isinstance(x, tuple))
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i] * 3.0**-i), drawn) for i in range(STEPS)]


def assert_same(spec, text):
    """The updates of the printed transformation are the steps of the program."""
    names = {}
    exec(text, names)
    name = text.rpartition("\ndef ")[2].partition("(")[0]
    weights, *_ = draws(1)
    run = Run(spec, jax.tree.leaves(weights), PATHS)
    with jax.enable_x64(True), np.errstate(all="ignore"):
        tx = optax.with_extra_args_support(names[name]())
        params = jax.tree.map(jnp.asarray, weights)
        state = tx.init(params)
        for i, grads in enumerate(draws(2)):
            updates, state = tx.update(grads, state, params, value=jnp.asarray(1.0 / (i + 1)))
            params = optax.apply_updates(params, updates)
            run.step(jax.tree.leaves(grads), loss=1.0 / (i + 1))
            for ours, theirs in zip(run.weights, jax.tree.leaves(params), strict=True):
                # Schedules of optax are float32 where they count.
                np.testing.assert_allclose(ours, theirs, rtol=STEPS * 2.0**-23, atol=1e-12)


OPTIMIZERS = library.names("optimizer")


@pytest.mark.rest  # it prints every chain again, to count them
def test_a_third_of_the_library_has_a_chain():
    assert sum(chain(name) is not None for name in OPTIMIZERS) > len(OPTIMIZERS) / 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_printed_makes_the_steps_of_the_program(name):
    if (text := chain(name)) is not None:
        assert_same(name, text)


def test_groups_are_a_partition_and_choices_by_path_are_masks():
    spec = """
    optimizer grouped(lr = 0.1) {
      clip global_norm(1.0)
      group inner where ndim >= 2 and not path matches "embed" {
        precondition momentum(0.9)
        decay        weights(0.1) where rows < cols
        tune step    0.5 * cosine_decay(lr, 3)
      }
      group thin where rows > 3 {
        precondition adam(0.8)
        tune step    linear(lr, 0.01, 2)
      }
      group rest { tune step 0.3 }
      decay weights(0.01) where path matches "kernel|scale"
    }
    """
    text = chain(spec)
    assert "optax.partition(" in text
    assert_same(spec, text)


def test_an_int_parameter_chooses_tensors_in_a_chain_too():
    spec = """
    optimizer sized(lr = 0.1, limit: int = 2) {
      clip global_norm(1.0) where ndim >= limit
      group thin where rows <= limit and path matches "e" {
        precondition momentum(0.9)
        tune step    lr
      }
      group rest { tune step 0.3 }
    }
    """
    text = chain(spec)
    assert "group_of(keys, tensor, limit)" in text
    assert_same(spec, text)


def test_a_tensor_of_no_group_is_named():
    text = chain("optimizer x() { group a where ndim > 0 { tune step 0.1 } }")
    names = {}
    exec(text, names)
    with pytest.raises(ValueError, match="`scale` falls into no group"):
        names["x"]().init(draws(1)[0])


def test_a_claim_cannot_name_anything_but_optax():
    spec = """
    rule precondition mine() equals os.system("true") { return g }
    optimizer x() equals optax._src.alias.sgd(0.1) { precondition mine() tune step 0.1 }
    """
    assert chain(spec) is None


def test_a_group_with_a_view_has_no_chain():
    group = 'group a where ndim == 2 view "a b -> b a" { tune step 0.1 }'
    assert chain(f"optimizer x() {{ {group} group rest {{ tune step 0.1 }} }}") is None
