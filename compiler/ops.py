"""The table of operations: a row (`compiler.op`) for each.

Passes may match on ops, never on rules: after lowering, rules do not exist.
"""

import math
import operator
from typing import Literal

from .growth import (
    CHOICE,
    COMPARISON,
    EXTREME,
    FIXED,
    INVERSE_ROOT,
    LINEAR,
    POWER,
    PRODUCT,
    QUOTIENT,
    ROOT,
    SIGN,
    SIZE,
    SQUARE,
    SUM,
    Growth,
)
from .op import AS_CALL, CALL, Attributed, Dtype, Meaning, Notation, Op, Takes


def _all(what: Literal["number", "bool", "any"], arity: int) -> Takes:
    return (what,) * arity


def _operator(
    name: str,
    numpy: str,
    symbol: str,
    binding: int,
    scalar: Meaning,
    *,
    gives: Dtype = "join",
    notation: Notation | None = None,
    flops: int = 1,
    growth: Growth | None = None,
) -> Op:
    text = f"{{0}} {symbol} {{1}}"
    takes: Takes = ("number", "number")
    shown = notation or ("infix", symbol)
    return Op(
        *(name, "elementwise", takes, gives, numpy, text, shown, binding, flops, text, scalar),
        growth=growth,
    )


def _function(
    name: str,
    scalar: Meaning | None = None,
    *,
    numpy: str | None = None,
    python: str | None = None,
    arity: int = 1,
    gives: Dtype = "float",
    notation: Notation = AS_CALL,
    flops: int = 1,
    static: str | None = None,
    growth: Growth | None = None,
) -> Op:
    takes = _all("number", arity)
    meaning = numpy or name
    text = python or f"jnp.{meaning}"
    return Op(
        *(name, "elementwise", takes, gives, meaning, text, notation, CALL, flops, static, scalar),
        growth=growth,
    )


def _logical(name: str, arity: int, notation: Notation, static: str, scalar: Meaning) -> Op:
    takes = _all("bool", arity)
    meaning = f"logical_{name}"
    return Op(
        name,
        "elementwise",
        takes,
        "bool",
        meaning,
        f"jnp.{meaning}",
        notation,
        CALL,
        1,
        static,
        scalar,
    )


def _reduction(
    name: str, python: str, growth: Growth, notation: Notation = AS_CALL, arity: int = 1
) -> Op:
    takes = _all("number", arity)
    return Op(name, "reduction", takes, "float", name, python, notation, CALL, 2, growth=growth)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


ELEMENTWISE = (
    _operator("add", "add", "+", 11, operator.add, growth=SUM),
    _operator("sub", "subtract", "-", 11, operator.sub, growth=SUM),
    _operator("mul", "multiply", "*", 12, operator.mul, notation=("infix", "·"), growth=PRODUCT),
    _operator(
        "div",
        "true_divide",
        "/",
        12,
        operator.truediv,
        gives="float",
        notation=("fraction", ""),
        growth=QUOTIENT,
    ),
    _operator("mod", "mod", "%", 12, operator.mod, notation=("infix", "mod")),
    _operator(
        "pow", "power", "**", 14, operator.pow, notation=("power", ""), flops=8, growth=POWER
    ),
    _operator("lt", "less", "<", 6, operator.lt, gives="bool", growth=COMPARISON),
    _operator(
        "le",
        "less_equal",
        "<=",
        6,
        operator.le,
        gives="bool",
        notation=("infix", "≤"),
        growth=COMPARISON,
    ),
    _operator("gt", "greater", ">", 6, operator.gt, gives="bool", growth=COMPARISON),
    _operator(
        "ge",
        "greater_equal",
        ">=",
        6,
        operator.ge,
        gives="bool",
        notation=("infix", "≥"),
        growth=COMPARISON,
    ),
    _operator(
        "eq",
        "equal",
        "==",
        6,
        operator.eq,
        gives="bool",
        notation=("infix", "="),
        growth=COMPARISON,
    ),
    _operator(
        "ne",
        "not_equal",
        "!=",
        6,
        operator.ne,
        gives="bool",
        notation=("infix", "≠"),
        growth=COMPARISON,
    ),
    Op(
        "neg",
        "elementwise",
        ("number",),
        "join",
        "negative",
        "-{0}",
        ("prefix", "-"),
        13,
        1,
        "-{0}",
        operator.neg,
        growth=LINEAR,
    ),
    _function("min", min, numpy="minimum", arity=2, gives="join", static="min", growth=EXTREME),
    _function("max", max, numpy="maximum", arity=2, gives="join", static="max", growth=EXTREME),
    _function(
        "clamp", numpy="clip", arity=3, gives="join", flops=2, growth=Growth((1, 1, 1), alike=True)
    ),
    _function("abs", abs, gives="join", notation=("fence", "||"), growth=SIZE),
    _function(
        "float",
        float,
        numpy="float64",
        python="jnp.asarray({0}, float)",
        notation=("same", ""),
        growth=LINEAR,
    ),
    _function("sign", _sign, growth=SIGN),
    _function("square", lambda x: x * x, notation=("power", "2"), growth=SQUARE),
    _function("sqrt", math.sqrt, notation=("root", ""), flops=4, growth=ROOT),
    _function("exp", math.exp, flops=8),
    _function("expm1", math.expm1, flops=8),
    _function("log", math.log, flops=8),
    _function("log1p", math.log1p, flops=8),
    _function("sin", math.sin, flops=8),
    _function("cos", math.cos, flops=8),
    _function("tan", math.tan, flops=8),
    _function("sinh", math.sinh, flops=8),
    _function("cosh", math.cosh, flops=8),
    _function("tanh", math.tanh, flops=8),
    _function("arcsin", math.asin, flops=8),
    _function("arccos", math.acos, flops=8),
    _function("arctan", math.atan, flops=8),
    _function("arctan2", math.atan2, arity=2, flops=8, growth=COMPARISON),
    _function("round"),
    _function("floor"),
    _function("ceil"),
    _function("interpolate", numpy="interp", python="rt.interpolate", flops=8),
    _function("isfinite", math.isfinite, gives="bool", notation=("call", "finite"), growth=SIGN),
    _logical("and", 2, ("infix", "∧"), "({0} and {1})", lambda x, y: x and y),
    _logical("or", 2, ("infix", "∨"), "({0} or {1})", lambda x, y: x or y),
    _logical("not", 1, ("prefix", "¬"), "(not {0})", operator.not_),
    Op(
        "where",
        "elementwise",
        ("bool", "any", "any"),
        "join",
        "where",
        "jnp.where",
        ("cases", ""),
        flops=1,
        growth=CHOICE,
    ),
)
"""Ops that act on each element, scalars broadcast over fields."""

REDUCTIONS = (
    _reduction("sum", "rt.sum", LINEAR),
    _reduction("mean", "rt.mean", LINEAR),
    _reduction("largest", "rt.max", SIZE, ("call", "max")),
    _reduction("smallest", "rt.min", SIZE, ("call", "min")),
    _reduction("norm", "rt.norm", SIZE, ("fence", "‖‖")),
    _reduction("dot", "rt.dot", PRODUCT, ("fence", "⟨⟩"), arity=2),
    Op("all", "reduction", ("bool",), "bool", "all", "rt.all", growth=LINEAR),
    Op("any", "reduction", ("bool",), "bool", "any", "rt.any", growth=LINEAR),
)
"""Over the whole parameter vector, or with the attribute `per` over a part of each tensor."""

SHAPES = (
    Op("extent", "shape", ("any",), "float", "", "rt.extent", ("call", "length"), growth=FIXED),
    Op("view", "shape", ("any",), "join", "", "rt.view", ("call", "arrange"), growth=LINEAR),
    Op(
        "unview",
        "shape",
        ("any", "any"),
        "join",
        "",
        "rt.unview",
        ("call", "arrange back"),
        growth=LINEAR,
    ),
    Op(
        "blocks",
        "shape",
        ("any", "number"),
        "join",
        "",
        "rt.blocks",
        ("call", "blocks"),
        growth=LINEAR,
    ),
    Op(
        "unblocks",
        "shape",
        ("any", "any", "number"),
        "join",
        "",
        "rt.unblocks",
        ("call", "whole"),
        growth=LINEAR,
    ),
    Op("rank_as", "shape", ("any", "any"), "float", "", "rt.rank_as", ("same", ""), growth=LINEAR),
)
"""What looks at the shape of each tensor, or gives it another one; see `compiler.rearrange`.

`extent` is the length of the attribute `axis`, counted from the end. `view` and its inverse take
the sizes of axes that are parameters as further inputs. `blocks` cuts the last two axes into blocks
of at most its second input, and its inverse takes a field of the shape before, and the same."""


_PRODUCT: Notation = ("infix", "·")


def _matrix(
    name: str,
    takes: Takes = ("number",),
    notation: Notation = AS_CALL,
    *,
    numpy: str | None = None,
    python: str | None = None,
    binding: int = CALL,
    growth: Growth | None = LINEAR,
) -> Op:
    shown = python or f"rt.{name}"
    meaning = numpy or name
    return Op(name, "matrix", takes, "float", meaning, shown, notation, binding, growth=growth)


MATRICES = (
    _matrix("filled", ("any",), ("sign", ""), growth=FIXED),
    _matrix("eye", ("any",), ("sign", "I"), growth=FIXED),
    _matrix("arange", ("any",), growth=FIXED),
    _matrix(
        "matmul", ("number", "number"), _PRODUCT, python="{0} @ {1}", binding=12, growth=PRODUCT
    ),
    _matrix("matvec", ("number", "number"), _PRODUCT, python="jnp.matvec", growth=PRODUCT),
    _matrix("transpose", notation=("transpose", ""), python="{0}.mT", binding=15),
    _matrix("trace", notation=("call", "tr")),
    _matrix("diagonal", notation=("call", "diag")),
    _matrix("diagonal_matrix", notation=("call", "diag")),
    _matrix("triu", python="jnp.triu"),
    _matrix("tril", python="jnp.tril"),
    _matrix("inverse_root", ("number", "number"), ("inverse root", ""), growth=INVERSE_ROOT),
    _matrix("matrix_power", ("number", "number"), ("power", ""), growth=POWER),
    _matrix("orthonormal", notation=("call", "orth"), growth=SIGN),
    _matrix("polar", growth=SIGN),
    _matrix("eigenbasis", growth=SIGN),
    _matrix("eigenvalues", growth=SIZE),
    _matrix("cholesky", notation=("call", "chol"), growth=ROOT),
    _matrix("solve", ("number", "number"), ("inverse", ""), growth=Growth((-1, 1), signed=True)),
    _matrix("argsort", growth=SIGN),
    _matrix("take", ("number", "number"), growth=Growth((1, "other"), signed=True)),
    _matrix("gram_loop", notation=("call", "iterate"), growth=None),
    _matrix("onto_matrix", python="{0}[..., None]", notation=("same", "")),
    _matrix("onto_vector", python="{0}[..., 0]", notation=("same", "")),
)
"""Algebra on the last two axes of each tensor, one matrix for each place of the axes before.

`filled`, `eye` and `arange` look at the shape of their first input alone and have `lengths`: axes
from the end, numbers, and names of hyperparameters, which are further inputs. Factors with the
attribute `otherwise` have a last input that stands for what is not finite. `onto_vector` gives the
numbers of a matrix the rank of a vector, and `onto_matrix` those of a vector that of a matrix.

`gram_loop`, which only a pass makes, is rounds y <- p(yy')y of a matrix y. For each sort of round
it takes their number and the coefficients of p, as many as the attribute `sizes` says. With the
attribute `first` the last input says how many of all these rounds are done."""

MAKERS = ("filled", "eye", "arange")
"""Ops that make a tensor of nothing but a shape."""

STRUCTURE = (
    Op("const", "leaf", ()),
    Op("nan", "leaf", (), "float", notation=("sign", "NaN")),
    Op("parameter", "leaf", ()),
    Op("input", "leaf", ()),
    Op("state", "leaf", ()),
    Op("argument", "leaf", ()),
    Op("item", "leaf", ("any",)),
    Op("merge", "local", ("any", "any"), growth=SUM),
    Op("restrict", "fill", ("any",), "join", "copy", "rt.restrict", ("same", ""), growth=LINEAR),
    Op("zeros", "fill", ("any",), "float", "zeros_like", "rt.zeros", ("sign", "0"), growth=FIXED),
    Op("ones", "fill", ("any",), "float", "ones_like", "rt.ones", ("sign", "𝟏"), growth=FIXED),
    Op("nans", "fill", ("any",), "float", "", "rt.nans", ("sign", "NaN"), growth=FIXED),
    Op(
        "full",
        "fill",
        ("any", "number"),
        "float",
        "full_like",
        "rt.full",
        ("second", ""),
        growth=Growth(("shape", 1), signed=True),
    ),
    Op("copy", "fill", ("any",), "join", "copy", "rt.copy", ("same", ""), growth=LINEAR),
    Op(
        "moved",
        "fill",
        ("any", "any"),
        "float",
        "subtract",
        "oracles.moved",
        ("infix", "-"),
        growth=SUM,
    ),
    Op(
        "unmoved", "fill", ("any",), "float", "copy", "oracles.unmoved", ("same", ""), growth=LINEAR
    ),
    Op("normal", "random", ("any",), "float", "", "rt.normal", ("sample", "N(0, I)"), growth=FIXED),
    Op(
        "rademacher",
        "random",
        ("any",),
        "float",
        "",
        "rt.rademacher",
        ("sample", "±1"),
        growth=FIXED,
    ),
    Op(
        "uniform",
        "random",
        ("any",),
        "float",
        "",
        "rt.uniform",
        ("sample", "U[0, 1)"),
        growth=FIXED,
    ),
    Op("round_stochastic", "random", ("any",), "float", "", "rt.round_stochastic", growth=LINEAR),
    Op("if", "control", ("bool",)),
    Op("loop", "control", ("any",)),
    Op("stagger", "control", ("number", "number")),
)
"""Inputs, choices by tensor, fills, random fields and control flow.

`moved` is the weights minus a step and `unmoved` the weights, which only a pass makes; who asks for
the step itself is given the step, and zeros.

`stagger` takes a period, the count of steps and what is kept, and has a region that makes all of it
anew: each tensor has the new values at one of so many steps, as `compiler.turns` says."""

HISTORIES = (
    Op("history", "history", ("any", "number"), "float", "", "rt.history", ("sign", "∅")),
    Op("push", "history", ("any", "any"), "float", "", "rt.push"),
    Op(
        "inverse_fisher",
        "history",
        ("any", "any", "number"),
        "float",
        "",
        "rt.inverse_fisher",
        ("call", "F⁻¹"),
    ),
    Op(
        "inverse_hessian",
        "history",
        ("any", "any", "any", "number"),
        "float",
        "",
        "rt.inverse_hessian",
        ("call", "H⁻¹"),
    ),
)
"""The last few fields, and matrices that are made of them: see `compiler.histories`.

`history` is empty and has places for as many fields as its second input says; with the attribute
`products` it keeps their inner products beside them."""

ORACLES = (
    Op("point", "oracle", ("any",), notation=("same", "")),
    Op("loss", "oracle", ("any",), "float", "", "{0}.loss", ("call", "L")),
    Op("grad", "oracle", ("any",), "float", "", "{0}.grad", ("call", "∇L")),
    Op("outputs", "oracle", ("any",), "float", "", "{0}.outputs", ("call", "F")),
    Op("outputs_grad", "oracle", ("any",), "float", "", "{0}.outputs_grad", ("call", "∇ℓ")),
    Op("pullback", "oracle", ("any", "any"), "float", "", "{0}.pullback({1})", ("product", "Jᵀ")),
    Op(
        "sampled_outputs_grad",
        "oracle",
        ("any",),
        "float",
        "",
        "{0}.sampled_outputs_grad({1}, {2})",
        ("call", "∇ℓₛ"),
    ),
    Op(
        "feature_alignment",
        "oracle",
        ("any", "any", "number", "number", "bool"),
        "float",
        "",
        "{0}.feature_alignment({1})",
        ("call", "ρ"),
    ),
    Op("fisher_rows", "oracle", ("any",), "float", "", "{0}.fisher_rows({1})", ("call", "F₁")),
    Op(
        "fisher_columns", "oracle", ("any",), "float", "", "{0}.fisher_columns({1})", ("call", "F₂")
    ),
    Op("measured", "oracle", ("any", "any", "any"), "float", "", "{0}.measured({1})"),
    Op("examples", "oracle", ("any",), "float", "", "{0}.examples", ("sign", "B")),
    Op(
        "per_example_grad",
        "oracle",
        ("any",),
        "float",
        "",
        "{0}.per_example_grad()",
        ("call", "∇Lᵢ"),
    ),
    Op("per_example_mean", "oracle", ("any",), "float", "", "{0}.mean"),
    Op("hvp", "oracle", ("any", "any"), "float", "", "{0}.hvp({1})", ("product", "∇²L")),
    Op("ggn", "oracle", ("any", "any"), "float", "", "{0}.ggn({1})", ("product", "G")),
    Op(
        "curvature",
        "oracle",
        ("any", "any"),
        "float",
        "",
        "{0}.curvature({1})",
        ("quadratic", "∇²L"),
    ),
    Op(
        "ggn_curvature",
        "oracle",
        ("any", "any"),
        "float",
        "",
        "{0}.ggn_curvature({1})",
        ("quadratic", "G"),
    ),
)
"""Questions to the objective. `point` linearises it once; the others ask at that point, but for
`per_example_mean`, which asks the answer of `per_example_grad`: its region is a function of one
example's gradient.

`measured` is what the model measures under a name, its third input, for the tensors of a field: one
number for each place of the axis `per`."""

ASKED = (
    *("loss", "grad", "outputs", "outputs_grad", "sampled_outputs_grad", "pullback"),
    *("feature_alignment", "fisher_rows", "fisher_columns"),
    *("hvp", "curvature", "ggn", "ggn_curvature", "per_example_grad"),
)
"""The questions that are counted, where it is said what a step costs."""

SPECTRAL = (
    Op("lanczos", "spectral", ("any", "number"), "float", "", "rt.lanczos"),
    Op("quadrature", "spectral", ("any",), "float", "", "rt.quadrature"),
    Op("matrix_function", "spectral", ("any", "number"), "float", "", "rt.matrix_function"),
    Op("highest", "spectral", ("any",), "float", "", "rt.highest", ("call", "max")),
    Op("lowest", "spectral", ("any",), "float", "", "rt.lowest", ("call", "min")),
    Op("no_spectrum", "spectral", ("number",), "float", "", "rt.no_spectrum", ("sign", "NaN")),
    Op("hutchinson", "spectral", ("any", "number"), "float", "", "rt.hutchinson", ("call", "tr")),
    Op("xtrace", "spectral", ("any", "number"), "float", "", "rt.xtrace", ("call", "tr")),
)
"""What is asked of an operator on fields, which is a region with one argument.

`lanczos` gives a spectrum, on which `quadrature` has a function of one node, a region too.
`matrix_function` has both: an operator, and a function of one node."""

KRYLOV = ("lanczos", "matrix_function")
"""Ops that iterate from a field, their first input, and keep a field for each step."""

OPERATORS = (*KRYLOV, "hutchinson", "xtrace")
"""Ops that apply an operator: as many times as their second input says, `xtrace` twice as often."""

EXTERNS = (
    Op("extern_init", "opaque", ("any",)),
    Op("extern", "opaque", ("any", "any", "any"), "float", notation=("call", "T")),
    Op("select", "opaque", ("bool", "any", "any"), "join", "", "rt.select", ("cases", "")),
)
"""Transformations of optax. `extern` takes signal, state and weights, and gives signal and state.

The attributes `module`, `function`, the names of `inputs` and `=NAME` for literals say what makes
the transformation; inputs follow the weights, and then the `extra` arguments of its update.
"""

OPS: dict[str, Op] = {
    op.name: op
    for row in (
        *(ELEMENTWISE, REDUCTIONS, SHAPES, MATRICES, STRUCTURE),
        *(HISTORIES, ORACLES, SPECTRAL, EXTERNS),
    )
    for op in row
}
"""Every op by its name."""


FISHER = ("fisher_rows", "fisher_columns")
"""The factors of a layer's block of the Fisher matrix that meet a side of its weight."""

_DRAWING = ("hutchinson", "xtrace", "sampled_outputs_grad", "feature_alignment", *FISHER)


def draws(op: Op) -> bool:
    """Whether an op draws random numbers."""
    return op.op_class == "random" or op.name in _DRAWING


def knots(node: Attributed) -> tuple[tuple[float, float], ...]:
    """The table of an `interpolate`, which is in its attributes: points `(x, y)`."""
    values = [float(value) for _, value in node.attributes]
    return tuple(zip(values[::2], values[1::2], strict=True))
