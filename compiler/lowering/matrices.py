"""Matrix algebra: products, transposes, factors, and matrices of a shape of their own."""

from collections.abc import Mapping

from ...grammar import syntax
from ...grammar.diagnostic import Label
from ...grammar.source import Span
from ..parameters import OUT_OF_RANGE
from ..records import Scalar
from ..types import Dim, Dims, DType, Type, matrix_of
from . import expressions, shapes
from .arguments import match, too_many
from .builder import MISTAKE, Value
from .context import Context, Scope, Site

FACTORS = (
    *("inverse_root", "matrix_power", "orthonormal", "polar", "eigenbasis", "eigenvalues"),
    *("cholesky", "solve"),
)
"""Functions that may fail, and take what stands `otherwise` for a factor that is not finite."""

MATRICES = (*FACTORS, "eye", "arange", "trace", "diag", "triu", "tril", "argsort", "take")
"""Functions of the language about matrices."""

_ANY_SHAPE = ("orthonormal", "polar")


def of_matrices(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """The value of a call of one of `MATRICES`."""
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    call = _Call(ctx, site, scope, expr, function, name)
    match function:
        case "eye" | "arange":
            return call.of_length()
        case "trace" | "diag" | "triu" | "tril":
            return call.part()
        case "argsort":
            return call.argsort()
        case "take":
            return call.take()
        case "solve":
            return call.solve()
        case _:
            return call.factor()


def filled(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value | None:
    """`zeros(m, n)`, `ones(n)`, and what `normal(m, n)` is shaped like; None for other calls."""
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    if not expr.arguments or any(argument.name for argument in expr.arguments):
        return None
    if too_many(
        ctx, expr, 2, f"`{function}` takes a field, or the lengths of a vector or a matrix"
    ):
        return MISTAKE
    first = expr.arguments[0].value
    if len(expr.arguments) == 1 and not isinstance(first, syntax.Name | syntax.Number):
        return None
    values = [expressions.expression(ctx, site, scope, a.value) for a in expr.arguments]
    if len(values) == 1 and (values[0].type.is_unknown or not _is_length(ctx, values[0])):
        return None
    lengths = [
        shapes.length(ctx, scope, v, a.value) for v, a in zip(values, expr.arguments, strict=True)
    ]
    dims = tuple(each for each in lengths if each is not None)
    if len(dims) < len(lengths) or not shapes.has_matrices(ctx, expr.span, function):
        return MISTAKE
    return made(ctx, "filled", dims, name, value=1.0 if function == "ones" else 0.0)


def _is_length(ctx: Context, value: Value) -> bool:
    """Whether a value is the name of a length, or a whole number, which no field is."""
    node = ctx.made[value.id]
    return node.op == "extent" or (value.type.is_scalar and value.type.dtype == "int")


def made(ctx: Context, op: str, dims: Dims, name: str | None = None, **more: Scalar) -> Value:
    """A matrix or a vector of this shape, for each matrix of the weights."""
    lengths = dims[:1] if op == "eye" else dims
    inputs = [ctx.weights, *(ctx.hyperparameter(dim) for dim in lengths if isinstance(dim, str))]
    attributes: dict[str, Scalar] = {"lengths": " ".join(map(str, lengths)), **more}
    dtype: DType = "int" if op == "arange" else "float"
    type = Type("field", dtype, domain=ctx.domain, dims=matrix_of(dims))
    return ctx.node(op, inputs, type, name=name, attributes=attributes)


def transpose(ctx: Context, value: Value, span: Span) -> Value:
    """`a.T`: of each matrix."""
    dims = shapes.matrix(ctx, value, span, ".T")
    if dims is None:
        return MISTAKE
    return _node(ctx, "transpose", (value,), dims[::-1], None)


def product(
    ctx: Context, scope: Scope, expr: syntax.Binary, left: Value, right: Value, name: str | None
) -> Value:
    """`a @ b` of two matrices, or of a matrix and a vector."""
    if left.type.is_unknown or right.type.is_unknown:
        return MISTAKE
    spans = (expr.left.span, expr.right.span)
    if (wrong := expressions.differently_arranged(ctx, (left, right), spans)) is not None:
        return wrong
    if left.type.is_vector:
        help = "write `a.T @ v` for `v @ a`, and `dot(u, v, per = matrix)` for two vectors"
        shape = shapes.described(ctx, left.type)
        return ctx.mistyped(expr.left.span, f"`@` takes a matrix here; this is {shape}", help)
    one = shapes.matrix(ctx, left, expr.left.span, "@")
    two = shapes.matrix(ctx, right, expr.right.span, "@", or_vector=True)
    if one is None or two is None:
        return MISTAKE
    if one[-1] != two[0]:
        return _no_product(ctx, scope, expr, one, two)
    op = "matvec" if len(two) == 1 else "matmul"
    return _node(ctx, op, (left, right), (*one[:-1], *two[1:]), name)


def _no_product(ctx: Context, scope: Scope, expr: syntax.Binary, one: Dims, two: Dims) -> Value:
    shown = [shapes.shown(ctx, dims) for dims in (one, two)]
    message = f"`@` cannot multiply {shown[0]} by {shown[1]}"
    cols, rows = (shapes.called(ctx, dim) for dim in (one[-1], two[0]))
    left, right = expr.left.span.text, expr.right.span.text
    help = None
    if len(two) == 2 and one[-1] == two[-1] and isinstance(expr.right, syntax.Name):
        help = f"`{left} @ {right}.T` is {shapes.shown(ctx, (one[0], two[0]))}"
    elif one[0] == two[0] and isinstance(expr.left, syntax.Name):
        help = f"`{left}.T @ {right}` is {shapes.shown(ctx, (one[-1], *two[1:]))}"
    labels = [
        *_declared(ctx, scope, expr.left, shown[0]),
        *_declared(ctx, scope, expr.right, shown[1]),
        *shapes.sources(ctx, expr.span, one, two),
    ]
    ctx.report.add(
        shapes.SHAPE_MISMATCH.at(
            expr.span,
            message,
            label=f"`{cols}` columns meet `{rows}` rows",
            help=help,
            others=tuple(dict.fromkeys(labels)),
        )
    )
    return MISTAKE


def _declared(ctx: Context, scope: Scope, expr: syntax.Expr, shown: str) -> list[Label]:
    """A label of the line that made what a name stands for."""
    binding = scope.find(expr.id) if isinstance(expr, syntax.Name) else None
    if binding is None or binding.span is None or binding.kind == "parameter":
        return []
    return [Label(binding.span, f"{shown}")]


def _node(
    ctx: Context,
    op: str,
    inputs: tuple[Value, ...],
    dims: Dims,
    name: str | None,
    attributes: Mapping[str, Scalar] | None = None,
    *,
    indices: bool = False,
) -> Value:
    dtype: DType = "int" if indices else "float"
    type = Type("field", dtype, domain=ctx.domain, dims=matrix_of(dims))
    return ctx.node(op, inputs, type, name=name, attributes=attributes or {})


class _Call:
    """One call of a function of matrices."""

    def __init__(
        self,
        ctx: Context,
        site: Site,
        scope: Scope,
        expr: syntax.Call,
        function: str,
        name: str | None,
    ) -> None:
        self.ctx = ctx
        self.site = site
        self.scope = scope
        self.expr = expr
        self.function = function
        self.name = name
        self.matched: dict[str, syntax.Argument] = {}

    def _match(self, names: tuple[str, ...], required: int) -> bool:
        matched = match(self.ctx, self.expr, names, names[:required], self.function)
        self.matched = matched or {}
        return matched is not None

    def _value(self, key: str) -> Value:
        expr = self.matched[key].value
        return expressions.expression(self.ctx, self.site, self.scope, expr)

    def _span(self, key: str) -> Span:
        return self.matched[key].value.span

    def of_length(self) -> Value:
        """`eye(n)` and `arange(n)`."""
        if not self._match(("n",), 1):
            return MISTAKE
        expr = self.matched["n"].value
        dim = shapes.length(self.ctx, self.scope, self._value("n"), expr)
        if dim is None or not shapes.has_matrices(self.ctx, self.expr.span, self.function):
            return MISTAKE
        dims: tuple[Dim, ...] = (dim, dim) if self.function == "eye" else (dim,)
        return made(self.ctx, self.function, dims, self.name)

    def part(self) -> Value:
        """`trace(a)`, `diag(a)`, `triu(a)`, `tril(a)`."""
        ctx, function = self.ctx, self.function
        if not self._match(("a",), 1):
            return MISTAKE
        value, span = self._value("a"), self._span("a")
        if function == "diag" and value.type.is_vector:
            dims = shapes.matrix(ctx, value, span, function, or_vector=True)
            made = dims and _node(ctx, "diagonal_matrix", (value,), dims * 2, self.name)
            return made or MISTAKE
        takes = shapes.matrix if function in ("triu", "tril") else shapes.square
        dims = takes(ctx, value, span, function)
        if dims is None:
            return MISTAKE
        if function == "trace":
            type = Type("field", "float", "matrix", ctx.domain)
            return ctx.node("trace", (value,), type, name=self.name)
        op = "diagonal" if function == "diag" else function
        return _node(ctx, op, (value,), dims[:1] if function == "diag" else dims, self.name)

    def argsort(self) -> Value:
        """`argsort(v, descending = true)`; of a permutation it is the inverse."""
        ctx = self.ctx
        if not self._match(("v", "descending"), 1):
            return MISTAKE
        value = self._value("v")
        if value.type.is_unknown:
            return MISTAKE
        if not value.type.is_vector or value.type.dtype == "bool":
            shape = shapes.described(ctx, value.type)
            return ctx.mistyped(self._span("v"), f"`argsort` takes a vector; this is {shape}")
        descending = False
        if "descending" in self.matched:
            flag = self.matched["descending"].value
            if not isinstance(flag, syntax.Bool):
                message = "`descending` is `true` or `false`, written out"
                return ctx.mistyped(flag.span, message)
            descending = flag.value
        attributes = {"descending": descending}
        dims = value.type.dims or ()
        return _node(ctx, "argsort", (value,), dims, self.name, attributes, indices=True)

    def take(self) -> Value:
        """`take(x, indices, axis = 0)`."""
        ctx = self.ctx
        if not self._match(("x", "indices", "axis"), 2):
            return MISTAKE
        value, indices = self._value("x"), self._value("indices")
        dims = shapes.matrix(ctx, value, self._span("x"), "take", or_vector=True)
        if dims is None or indices.type.is_unknown:
            return MISTAKE
        if not (indices.type.is_indices and indices.type.dims):
            shape = shapes.described(ctx, indices.type)
            help = "`argsort(v)` and `arange(n)` give indices"
            message = f"`take` needs indices; this is {shape}"
            return ctx.mistyped(self._span("indices"), message, help)
        axis = self._axis(dims)
        if axis is None:
            return MISTAKE
        taken = (*dims[:axis], *indices.type.dims, *dims[axis + 1 :])
        attributes = {"axis": axis - len(dims)}
        return _node(ctx, "take", (value, indices), taken, self.name, attributes)

    def _axis(self, dims: Dims) -> int | None:
        """The axis along which `take` takes, counted from the first of the matrix or vector."""
        if "axis" not in self.matched:
            if len(dims) == 1:
                return 0
            message = "`take` of a matrix needs `axis = 0` for rows or `axis = 1` for columns"
            self.ctx.mistyped(self.expr.span, message)
            return None
        given = self.matched["axis"].value
        match given:
            case syntax.Number(value=int(axis)) if 0 <= axis < len(dims):
                return axis
        known = "0, of a vector" if len(dims) == 1 else "0 for rows or 1 for columns"
        self.ctx.mistyped(given.span, f"`axis` is {known}, written out")
        return None

    def solve(self) -> Value:
        """`solve(a, b, triangular = "upper")`."""
        ctx = self.ctx
        if not self._match(("a", "b", "triangular", "otherwise"), 2):
            return MISTAKE
        a, b = self._value("a"), self._value("b")
        one = shapes.square(ctx, a, self._span("a"), "solve")
        two = shapes.matrix(ctx, b, self._span("b"), "solve", or_vector=True)
        if one is None or two is None:
            return MISTAKE
        if one[0] != two[0]:
            shown = [shapes.shown(ctx, dims) for dims in (one, two)]
            message = f"`solve` cannot solve {shown[0]} for {shown[1]}"
            return shapes.mismatched(ctx, self.expr.span, message, one, two)
        attributes: dict[str, Scalar] = {}
        if "triangular" in self.matched:
            given = self.matched["triangular"].value
            match given:
                case syntax.String(value="upper" | "lower" as which):
                    attributes["triangular"] = which
                case _:
                    message = '`triangular` is "upper" or "lower", written out'
                    return ctx.mistyped(given.span, message)
        return self._otherwise("solve", (a, b), two, attributes)

    def factor(self) -> Value:
        """A factor, root or power of one matrix."""
        ctx, function = self.ctx, self.function
        number = {"inverse_root": ("k",), "matrix_power": ("p",)}.get(function, ())
        if not self._match(("a", *number, "otherwise"), 1 + len(number)):
            return MISTAKE
        value = self._value("a")
        takes = shapes.matrix if function in _ANY_SHAPE else shapes.square
        dims = takes(ctx, value, self._span("a"), function)
        inputs = [value]
        for key in number:
            expr = self.matched[key].value
            given = expressions.number(ctx, self.site, self.scope, expr)
            if key == "k" and 0 in (given.constant, ctx.default_of(given)):
                message = "`k` is 0; there is no root of degree 0"
                ctx.report.add(OUT_OF_RANGE.at(expr.span, message, label="outside"))
                return MISTAKE
            inputs.append(given)
        if dims is None or any(v.type.is_unknown for v in inputs):
            return MISTAKE
        result = dims[:1] if function == "eigenvalues" else dims
        return self._otherwise(function, tuple(inputs), result, {})

    def _otherwise(
        self, op: str, inputs: tuple[Value, ...], dims: Dims, attributes: dict[str, Scalar]
    ) -> Value:
        """The node of a factor, with what stands for it where it is not finite."""
        if "otherwise" in self.matched:
            ctx, value, span = self.ctx, self._value("otherwise"), self._span("otherwise")
            found = shapes.matrix(ctx, value, span, self.function, or_vector=len(dims) == 1)
            if found is None:
                return MISTAKE
            if found != dims:
                shown = [shapes.shown(ctx, each) for each in (dims, found)]
                message = f"`{self.function}` gives {shown[0]} here; `otherwise` is {shown[1]}"
                return shapes.mismatched(ctx, span, message, dims, found)
            inputs, attributes = (*inputs, value), attributes | {"otherwise": True}
        return _node(self.ctx, op, inputs, dims, self.name, attributes)
