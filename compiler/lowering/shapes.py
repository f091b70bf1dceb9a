"""Shapes of matrices and vectors while lowering: lengths, what must agree, and how it is said."""

from collections.abc import Sequence
from itertools import combinations

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ...grammar.source import Span
from ..parameters import Bounds
from ..records import Term
from ..types import ONE_FOR_ALL, WHOLE, Dim, Dims, Type, broadcast
from .builder import MISTAKE, Value
from .context import Context, Scope

SHAPE_MISMATCH = declare(
    "shape-mismatch",
    "matrices whose shapes do not fit",
    """
    `when g is [rows, cols]` gives the lengths of a matrix names, and every matrix that is made of
    it has a shape in these names: `g.T` is [cols, rows], `g @ g.T` and `eye(rows)` are
    [rows, rows]. `a @ b` needs as many rows in `b` as there are columns in `a`, and `+`, `*` and
    the others need equal shapes. Lengths are equal where they have one name: `g @ g` is refused,
    though some matrix is square.

        when g is [rows, cols] {
          state L = zeros(rows, rows)
          L <- L + g @ g.T
        }
    """,
)
NO_MATRIX = declare(
    "no-matrix",
    "a matrix operation on what may be no matrix",
    """
    `@`, `.T` and the functions of matrices take tensors that are sure to have two axes: by a `when`
    around the line, by a group for which `ndim == 2` holds, or by its `view`. More axes before
    those two are one matrix for each of their places.

        when g is [.., rows, cols] {
          return polar(g)
        } else {
          return sign(g)
        }
    """,
)
NO_LENGTH = declare(
    "no-length",
    "a length that is not known by a name",
    """
    `eye(n)`, `zeros(m, n)`, `ones(m, n)` and `arange(n)` take lengths: names that a `when` around
    the line gave to the axes of a tensor, `int` parameters, or whole numbers from 1. What is worked
    out of them is a number, and no length.

        when g is [rows, cols] {
          state basis = zeros(rows, rank)
        }
    """,
)

_FROM_ONE = Bounds(low=1)

_TWO = Term(op="ge", arguments=(Term(op="ndim"), Term(op="literal", arguments=(2,))))


def length(ctx: Context, scope: Scope, value: Value, expr: syntax.Expr) -> Dim | None:
    """What a value says as a length; None where a mistake was reported."""
    if value.type.is_unknown:
        return None
    node, span = ctx.made[value.id], expr.span
    if node.op == "extent":
        return int(node["axis"])
    known = value.constant if value.constant is not None else ctx.default_of(value)
    if value.type.is_scalar and value.type.dtype == "int" and (known is None or int(known) >= 1):
        if node.op == "parameter":
            ctx.tighten(value, _FROM_ONE)
            name = str(node["name"])
            binding = scope.find(expr.id) if isinstance(expr, syntax.Name) else None
            if binding is not None and binding.span is not None:
                ctx.lengths = ctx.lengths | {name: syntax.Name(binding.span, binding.span.text)}
            return name
        if isinstance(known, int):
            return known
    what = described(ctx, value.type) if known is None else f"{known}"
    if known is None and value.type.dtype == "int":
        what = "an integer that is worked out"
    message = f"a length is needed; this is {what}"
    help = "lengths are names of `when g is [rows, cols]`, `int` parameters and whole numbers"
    ctx.report.add(NO_LENGTH.at(span, message, help=help, others=ctx.asker_of(span)))
    return None


def extent(ctx: Context, value: Value, dim: Dim, name: str) -> Value:
    """A length as a number: one for each tensor, or for all."""
    if isinstance(dim, str):
        return ctx.hyperparameter(dim)
    if dim > 0:
        return ctx.constant(dim, name)
    type = Type("field", "float", "tensor", ctx.domain)
    return ctx.node("extent", (ctx.weights,), type, name=name, attributes={"axis": dim})


def is_matrix(ctx: Context, type: Type) -> bool:
    """Whether there surely is a matrix for each tensor (and each place of the axes before)."""
    if not type.is_field or type.per != "element":
        return False
    return has_two_axes(ctx) if type.dims is None else not type.is_vector


def has_two_axes(ctx: Context) -> bool:
    """Whether the tensors here surely are matrices."""
    return not ctx.placed or ctx.sure(_TWO)


def matrix(
    ctx: Context, value: Value, span: Span, function: str, *, or_vector: bool = False
) -> Dims | None:
    """The shape of a matrix; None, with a report, where the value is none."""
    type = value.type
    if type.is_unknown:
        return None
    if type.is_vector and or_vector and not type.is_indices:
        return type.dims
    if is_matrix(ctx, type) and type.dtype == "float":
        return type.dims or WHOLE
    if type.is_like_weights and type.dtype == "float":
        _report_no_matrix(ctx, span, f"`{function}` takes matrices")
        return None
    wanted = "matrices and vectors" if or_vector else "matrices"
    ctx.mistyped(span, f"`{function}` takes {wanted}; this is {described(ctx, type)}")
    return None


def has_matrices(ctx: Context, span: Span, function: str) -> bool:
    """Whether there surely is a matrix of each weight, for which another is made."""
    if has_two_axes(ctx):
        return True
    _report_no_matrix(ctx, span, f"`{function}` makes one of each matrix")
    return False


def _report_no_matrix(ctx: Context, span: Span, what: str) -> None:
    message = f"{what}; the tensors here may have fewer than two axes"
    help = "do it in a `when` for matrices: `when g is [rows, cols] { ... }`"
    others = ctx.asker_of(span)
    ctx.report.add(NO_MATRIX.at(span, message, label="any shape", help=help, others=others))


def square(ctx: Context, value: Value, span: Span, function: str) -> Dims | None:
    """The shape of a square matrix; None, with a report, where the value is none."""
    dims = matrix(ctx, value, span, function)
    if dims is None or dims[0] == dims[1]:
        return dims
    message = f"`{function}` takes a square matrix; this is {shown(ctx, dims)}"
    ctx.report.add(SHAPE_MISMATCH.at(span, message, others=sources(ctx, span, dims)))
    return None


def agree(ctx: Context, values: Sequence[Value], spans: Sequence[Span], what: str) -> bool:
    """Whether fields have shapes that broadcast; else a report of `what` asks for it."""
    fields = [(v.type, s) for v, s in zip(values, spans, strict=True) if v.type.is_field]
    parts = [(t, s) for t, s in fields if t.per not in ONE_FOR_ALL]
    for (one, at), (other, span) in combinations(parts, 2):
        if not broadcast(one, other):
            shapes = [shown(ctx, t.dims or WHOLE) for t in (one, other)]
            message = f"{what} equal shapes; these are {shapes[0]} and {shapes[1]}"
            labels = (*sources(ctx, span, one.dims, other.dims), Label(at, shapes[0]))
            ctx.report.add(SHAPE_MISMATCH.at(span, message, label=shapes[1], others=labels))
            return False
    return True


# ---- how shapes are said


def shown(ctx: Context, dims: Dims) -> str:
    """A shape in the names that hold here: `[rows, cols]`."""
    return f"[{', '.join(called(ctx, dim) for dim in dims)}]"


def called(ctx: Context, dim: Dim) -> str:
    """A length in the names that hold here."""
    if (name := ctx.lengths.get(dim)) is not None:
        return name.id
    return {-1: "cols", -2: "rows"}.get(dim, str(dim)) if isinstance(dim, int) else dim


def described(ctx: Context, type: Type) -> str:
    """A type as messages say it, with its shape where it has one of its own."""
    return str(type) if type.dims is None else f"{type} {shown(ctx, type.dims)}"


def sources(ctx: Context, span: Span, *shapes: Dims | None) -> tuple[Label, ...]:
    """Labels that show where the lengths of some shapes got their names, and who asks."""
    dims = dict.fromkeys(dim for dims in shapes for dim in dims or WHOLE)
    names = [ctx.lengths[dim] for dim in dims if dim in ctx.lengths]
    names.sort(key=lambda name: (name.span.source.name, name.span.start))
    labels = tuple(Label(name.span, f"`{name.id}` is named here") for name in names)
    return (*labels, *ctx.asker_of(span))


def mismatched(
    ctx: Context, span: Span, message: str, *shapes: Dims | None, help: str | None = None
) -> Value:
    """Report shapes that do not fit."""
    labels = sources(ctx, span, *shapes)
    ctx.report.add(SHAPE_MISMATCH.at(span, message, help=help, others=labels))
    return MISTAKE
