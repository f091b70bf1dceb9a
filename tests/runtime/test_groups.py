"""Groups proved against a tree: where each tensor goes, and what was not meant."""

import json
import re
import warnings

import jax
import jax.numpy as jnp
import pytest

from optc import runtime as rt

PARAMS = {"bias": jnp.zeros(3), "head": jnp.zeros((3, 2)), "kernel": jnp.zeros((4, 3))}

MATRICES = rt.Group("matrices", lambda tensor: tensor.ndim >= 2, "ndim >= 2", "a.opt:3")
HEADS = rt.Group("heads", lambda tensor: tensor.path == "head", 'path == "head"', "a.opt:6")
DEEP = rt.Group("deep", lambda tensor: tensor.ndim == 4, "ndim == 4", "a.opt:9")
REST = rt.Group("rest", line="a.opt:12")


def program(*groups, limited=()):
    return rt.Program(
        "one", init=lambda w, h: {}, step=lambda *_: None, needs={}, groups=groups, limited=limited
    )


def test_each_tensor_goes_to_the_first_group_that_takes_it():
    table = program(HEADS, MATRICES, REST).groups(PARAMS)
    assert [row.group for row in table.rows] == ["rest", "heads", "matrices"]
    assert table.findings == ()


def test_the_table_names_the_limited_stages_that_a_tensor_passes():
    limited = (
        rt.Limited("decay", lambda tensor: tensor.rows > 3),
        rt.Limited("matrices.clip", lambda tensor: tensor.cols == 3, group="matrices"),
    )
    rows = program(MATRICES, REST, limited=limited).groups(PARAMS).rows
    assert [row.stages for row in rows] == [(), (), ("decay", "matrices.clip")]


def test_a_tensor_in_no_group_is_found_and_refused_by_init():
    table = program(HEADS, DEEP).groups(PARAMS)
    assert table.findings[0] == rt.Finding("leftover", None, ("bias", "kernel"))
    message = (
        "2 tensors are in no group: bias, kernel; the groups are\n"
        '  group heads where path == "head"  (a.opt:6)\n'
        "  group deep where ndim == 4  (a.opt:9)\n"
        "add `group rest { ... }`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        program(HEADS, DEEP)().init(PARAMS)


def test_hidden_and_empty_groups_are_found_and_warned_of_by_init():
    one = program(MATRICES, HEADS, DEEP, REST)
    hidden, empty = one.groups(PARAMS).findings
    assert hidden == rt.Finding("hidden", "heads", ("head",), ("matrices",), "a.opt:6")
    assert empty == rt.Finding("empty", "deep", ("bias", "head", "kernel"), line="a.opt:9")
    with pytest.warns(rt.GroupWarning) as caught:
        one().init(PARAMS)
    assert [str(warning.message) for warning in caught] == [
        "the group `heads` (a.opt:6) is hidden: `matrices` took head",
        "the group `deep` (a.opt:9) matches no tensor; there are bias, head, kernel",
    ]
    assert caught[0].filename == __file__


def test_an_empty_rest_and_an_empty_tree_are_no_mistake():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program(MATRICES, REST)().init({"kernel": jnp.zeros((2, 2))})
        program(MATRICES, DEEP)().init({})


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: PARAMS)
    one = program(MATRICES, DEEP, REST)
    assert one.groups(shapes) == one.groups(PARAMS) == one().groups(shapes)
    with pytest.raises(TypeError, match="params leaf `steps` has dtype int32"):
        one.groups({"steps": jax.ShapeDtypeStruct((), jnp.int32)})


def test_the_table_prints_aligned_and_as_json():
    table = program(MATRICES, HEADS, REST).groups(PARAMS)
    assert str(table).splitlines() == [
        "tensor  shape   dtype    group",
        "bias    (3,)    float32  rest",
        "head    (3, 2)  float32  matrices",
        "kernel  (4, 3)  float32  matrices",
        "! the group `heads` (a.opt:6) is hidden: `matrices` took head",
    ]
    plain = table.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["rows"][0]["shape"] == [3]
