"""The op table keeps its word: every function that it names exists and takes what it says."""

import ast
import inspect
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import graph_of, print_program
from specimens import SPECIMENS

from optc import runtime as rt
from optc.compiler.ops import (
    ELEMENTWISE,
    EXTERNS,
    FISHER,
    HISTORIES,
    MATRICES,
    OPS,
    ORACLES,
    REDUCTIONS,
    SHAPES,
    SPECTRAL,
    STRUCTURE,
    draws,
)
from optc.grammar import syntax


def test_names_are_unique():
    tables = (
        *ELEMENTWISE,
        *REDUCTIONS,
        *SHAPES,
        *MATRICES,
        *STRUCTURE,
        *HISTORIES,
        *ORACLES,
        *SPECTRAL,
        *EXTERNS,
    )
    assert len(OPS) == len(tables)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_an_elementwise_op_means_in_jax_what_it_means_in_numpy(op):
    values = [0.25, 0.75, 0.5][: op.arity]
    if op.takes[0] == "bool":
        values = [True, False][: op.arity] if op.name != "where" else [True, 0.75, 0.5]
    if op.name == "interpolate":
        values.append(((0.0, 1.0), (0.5, 3.0), (1.0, 0.0)))
        expected = np.interp(values[0], *zip(*values[1], strict=True))
    else:
        expected = getattr(np, op.numpy)(*values)
    places = range(len(values))
    text = (
        op.python if "{" in op.python else f"{op.python}({', '.join(map('{{{}}}'.format, places))})"
    )
    with jax.enable_x64(True):
        found = eval(text.format(*map(repr, values)), {"jnp": jnp, "rt": rt})
    # Transcendental functions of two libraries may differ in the last bit.
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-15)
    if op.scalar is not None:
        assert op.scalar(*values) == pytest.approx(expected, rel=1e-15)
    if op.static is not None:
        static = (
            op.static
            if "{" in op.static
            else f"{op.static}({', '.join(map('{{{}}}'.format, range(op.arity)))})"
        )
        assert eval(static.format(*map(repr, values))) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_the_notation_takes_every_input(op):
    layout, sign = op.notation
    arities = {"infix": 2, "fraction": 2, "prefix": 1, "root": 1, "fence": 1, "same": 1, "cases": 3}
    arities["power"] = 1 if sign else 2
    assert arities.get(layout, op.arity) == op.arity


def parameters(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p for p in inspect.signature(function).parameters.values() if p.kind in kinds]
    return [p for p in found if p.default is p.empty], found


@pytest.mark.parametrize("op", REDUCTIONS, ids=lambda op: op.name)
def test_a_reduction_exists_over_all_and_by_part(op):
    name = op.python.removeprefix("rt.")
    required, every = parameters(getattr(rt, name))
    assert len(required) == len(every) == op.arity
    if op.gives != "bool":
        required, _ = parameters(getattr(rt, f"{name}_per"))
        assert len(required) == op.arity + 1
        assert required[-1].name == "per"


@pytest.mark.parametrize(
    "op", [op for op in STRUCTURE if op.python.startswith("rt.")], ids=lambda op: op.name
)
def test_a_fill_or_draw_exists_with_fitting_parameters(op):
    required, every = parameters(getattr(rt, op.python.removeprefix("rt.")))
    match op.op_class:
        case "random":
            # The key and the site come first; rounding takes the dtype behind.
            assert [p.name for p in required[:2]] == ["key", "site"]
            assert len(required) == 2 + op.arity + (op.name == "round_stochastic")
        case "fill":
            mask = op.name != "copy"
            assert len(every) == op.arity + mask


ASKED_AT = [op for op in ORACLES if op.name not in ("point", "per_example_mean")]


@pytest.mark.parametrize("op", ASKED_AT, ids=lambda op: op.name)
def test_an_oracle_is_an_attribute_or_a_method_of_a_point(op):
    name = op.python.partition(".")[2].partition("(")[0]
    if "(" in op.python:
        asked = typing.get_type_hints(rt.Point)[name]
        given, _ = typing.get_args(asked)
        beside = 2 * draws(op)  # the key and the site
        beside += op.name in FISHER  # the tensors that are asked
        beside += op.name == "measured"  # the axis
        assert len(given) == op.arity - 1 + beside  # what it acts on, but for the point itself
    else:
        assert name in inspect.get_annotations(rt.Point)


def test_every_name_that_is_printed_exists(specimen_name):
    tree = ast.parse(print_program(graph_of(SPECIMENS[specimen_name])).source)
    modules = {"rt": rt, "jnp": jnp, "jax": jax}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            assert module is None or hasattr(module, node.attr), ast.unparse(node)


def test_every_keyword_that_is_printed_is_a_parameter(specimen_name):
    tree = ast.parse(print_program(graph_of(SPECIMENS[specimen_name])).source)
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        text = ast.unparse(call.func)
        if text in ("rt.Program", "rt.Outcome", "rt.Hyperparameter"):
            known = inspect.signature(getattr(rt, text[3:])).parameters
            assert {k.arg for k in call.keywords} <= set(known)


def test_plain_numbers_mean_what_numpy_means_at_the_edges():
    assert OPS["sign"].scalar(0) == 0
    assert OPS["mod"].scalar(-1, 3) == np.mod(-1, 3)
    assert OPS["mod"].scalar(-0.5, 3) == np.mod(-0.5, 3)
    assert math.isinf(OPS["max"].scalar(math.inf, 1))


def test_kinds_of_stages_are_not_ops():
    assert not set(syntax.KINDS) & set(OPS)
