"""Trees come in and go out unchanged; what cannot be trained is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.runtime.tree import Tree, matches


def test_paths_are_the_keys_joined_with_slashes(params):
    tree, _ = Tree.of(params)
    paths = [leaf.path for leaf in tree.leaves]
    assert paths[0] == "layers/0/bias"
    assert paths[-1] == "scale"


def test_unflatten_is_the_inverse_of_of(params):
    tree, tensors = Tree.of(params)
    again = tree.unflatten(tensors)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert all(a is b for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True))


def test_trees_of_equal_weights_are_equal_and_hash_alike(params):
    a, _ = Tree.of(params)
    b, _ = Tree.of(jax.tree.map(jnp.copy, params))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Tree.of(params["layers"])[0]


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (np.arange(3), "`layers/1` has dtype int"),
        (np.ones(3, bool), "`layers/1` has dtype bool"),
        (np.ones(3, np.complex64), "`layers/1` has dtype complex"),
        (jnp.tanh, "`layers/1` is a .*, not an array"),
    ],
)
def test_a_leaf_that_cannot_be_trained_is_named(leaf, words):
    with pytest.raises(TypeError, match=words + ".*partition it out"):
        Tree.of({"layers": [jnp.ones(2), leaf]})


def test_matches_searches_anywhere_in_the_path():
    assert matches("encoder/0/kernel", "kernel$")
    assert not matches("encoder/0/kernel", "^kernel")
