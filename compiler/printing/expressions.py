"""Python expressions of values: what is inlined, and in which parentheses."""

from collections.abc import Callable, Mapping, Sequence

from ..constants import NAMED
from ..graph import Node, is_plain_mean, rounds
from ..op import CALL
from ..ops import FISHER, MAKERS, OPS, draws, knots
from ..predicate import OPPOSITES
from ..quoting import quoted
from ..records import Scalar
from .layout import Labelled, Piece, call, flat, list_of, tuple_of

Name = Callable[[int], str | None]
"""The variable that holds a value, or None for a value that is printed where it is used."""


class Expressions:
    """Prints values over the variables of one function."""

    def __init__(self, nodes: Mapping[int, Node], name: Name, externs: Mapping[int, str]) -> None:
        self._nodes = nodes
        self._name = name
        self._externs = externs

    def operand(self, id: int, binding: int = 0) -> str:
        """A value where it is used: its variable, or its expression in parentheses as needed."""
        name = self._name(id)
        if name is not None:
            return name
        text, strength = self._text(self._nodes[id])
        return f"({text})" if strength < binding else text

    def condition(self, id: int) -> str:
        """A value that stands alone: of a static condition without the parentheses around it."""
        text = self.operand(id)
        wrapped = self._nodes[id].op in ("and", "or", "not") and self._name(id) is None
        return text[1:-1] if wrapped else text

    def negation(self, id: int) -> str:
        """That a static condition does not hold: `x != y` for `x == y`."""
        node = self._nodes[id]
        if self._name(id) is None and (opposite := OPPOSITES.get(node.op)):
            return self._text(node.model_copy(update={"op": opposite}))[0]
        return f"not {self.operand(id, 6)}"

    def value(self, id: int) -> Piece:
        """The expression that defines a value, as a piece that can be laid out."""
        node = self._nodes[id]
        if node.type.static and node.op in ("and", "or", "not"):
            return self._text(node)[0][1:-1]
        pieces = self._call(node) if OPS[node.op].op_class != "leaf" else None
        return pieces if pieces is not None else self._text(node)[0]

    def _text(self, node: Node) -> tuple[str, int]:
        if node.op == "const":
            return literal(node["value"])
        if node.op == "nan":
            return "jnp.nan", CALL
        pieces = self._call(node)
        if pieces is not None:
            return flat(pieces), CALL
        op = OPS[node.op]
        return self._operator(node, self._template(node), op.binding)

    def _template(self, node: Node) -> str:
        op = OPS[node.op]
        return op.static if node.type.static and op.static is not None else op.python

    def _operator(self, node: Node, template: str, binding: int) -> tuple[str, int]:
        if node.op == "pow":
            return self._power(node), binding
        # Only the right operand of a left-grouping operator needs parentheses at equal strength,
        # and both operands of a comparison, which would chain.
        left = binding + 1 if binding == 6 else binding
        operands = [self.operand(node.inputs[0], left)]
        operands += [self.operand(i, binding + 1) for i in node.inputs[1:]]
        return template.format(*operands), binding

    def _power(self, node: Node) -> str:
        base, exponent = self.operand(node.inputs[0], 15), self.operand(node.inputs[1], 13)
        # Formatters hug the operator between simple operands.
        simple = all(_is_simple(text) for text in (base, exponent))
        return f"{base}**{exponent}" if simple else f"{base} ** {exponent}"

    def _call(self, node: Node) -> Piece | None:
        """The node as a call, or None when it is an operator."""
        op = OPS[node.op]
        if node.op == "point" or op.op_class == "control":
            return None
        if node.op == "interpolate":
            points = [f"({literal(x)[0]}, {literal(y)[0]})" for x, y in knots(node)]
            return call(op.python, self.operand(node.inputs[0]), tuple_of(points))
        if op.op_class == "random":
            return self._random(node)
        if is_plain_mean(node):
            return f"{op.python.format(self.operand(node.inputs[0]))}()"
        if node.op == "sampled_outputs_grad":
            asked = (self.operand(node.inputs[0]), self._key(node.inputs[1:]), str(node["site"]))
            return op.python.format(*asked)
        if node.op in FISHER:
            mask = self._name(-node.type.domain) or ""
            drawn = (self._key(node.inputs[1:]), str(node["site"]), mask)
            return call(f"{self.operand(node.inputs[0])}.{node.op}", *drawn)
        if node.op == "feature_alignment":
            point, *more = (self.operand(i) for i in node.inputs[: op.arity])
            key = self._key(node.inputs[op.arity :])
            return op.python.format(point, ", ".join((key, str(node["site"]), *more)))
        if node.op == "measured":
            point, like, what = (self.operand(i) for i in node.inputs)
            return op.python.format(point, ", ".join((what, str(node["per"]), like)))
        if op.op_class == "reduction":
            return self._reduction(node)
        if op.op_class == "fill":
            return self._fill(node)
        if op.op_class == "spectral":
            return self.spectral(node)
        if node.id in self._externs:
            return self._extern(node)
        if op.op_class == "shape":
            return self._shape(node)
        if op.op_class == "matrix":
            return self._matrix(node)
        if node.op == "history":
            return self._history(node)
        template = self._template(node)
        if "{" not in template:
            return call(template, *(self.operand(i) for i in node.inputs))
        if op.op_class == "oracle" or op.binding == CALL:
            return template.format(*(self.operand(i) for i in node.inputs))
        return None

    def _extern(self, node: Node) -> Piece:
        operands: list[Piece] = [self.operand(i) for i in node.inputs]
        if node.op == "extern_init":
            return call(f"{self._externs[node.id]}.init", *operands)
        extra = str(node["extra"]).split()
        if "value_fn" in extra:
            operands.append("oracles.loss_at")
        plain = len(operands) - len(extra)
        named = zip(extra, operands[plain:], strict=True)
        labelled = [Labelled(f"{name}=", operand) for name, operand in named]
        return call(f"{self._externs[node.id]}.update", *operands[:plain], *labelled)

    def _reduction(self, node: Node) -> Piece:
        operands = [self.operand(i) for i in node.inputs]
        function = OPS[node.op].python
        if (per := node.get("per")) is not None:
            part = str(per) if isinstance(per, int) else quoted(str(per))
            return call(f"{function}_per", *operands, part)
        return call(function, *operands)

    def _fill(self, node: Node) -> Piece:
        operands = [self.operand(i) for i in node.inputs]
        function = OPS[node.op].python
        if node.type.domain and node.op != "copy":
            mask = self._name(-node.type.domain)
            operands.append(mask or "")
        return call(function, *operands)

    def _shape(self, node: Node) -> Piece:
        operands = [self.operand(i) for i in node.inputs]
        function = OPS[node.op].python
        if node.op == "extent":
            return call(function, *operands, str(node["axis"]))
        if node.op in ("rank_as", "blocks", "unblocks"):
            return call(function, *operands)
        fields = 2 if node.op == "unview" else 1
        given = iter(operands[fields:])
        sizes = (size if size[-1] != "=" else size + next(given) for size in self._sizes(node))
        return call(function, *operands[:fields], quoted(str(node["pattern"])), *sizes)

    def _matrix(self, node: Node) -> Piece | None:
        """A function of matrices; None for a product and a transpose, which are operators."""
        op = OPS[node.op]
        if op.binding < CALL:
            return None
        if "{" in op.python:
            return op.python.format(self.operand(node.inputs[0], CALL))
        operands: list[Piece] = [self.operand(i) for i in node.inputs]
        if node.op == "gram_loop":
            first = [Labelled("first=", operands[-1])] if node.get("first") else []
            return call(op.python, operands[0], *self._rounds(node), *first)
        if node.op in MAKERS:
            named = iter(operands[1:])
            words = str(node["lengths"]).split()
            lengths = [w if w.lstrip("-").isdigit() else next(named) for w in words]
            value = [literal(node["value"])[0]] if node.op == "filled" else []
            return call(op.python, operands[0], *value, *lengths)
        known = dict(node.attributes)
        if known.pop("otherwise", False):
            operands[-1] = Labelled("otherwise=", operands[-1])
        more = (Labelled(f"{key}=", literal(value)[0]) for key, value in known.items())
        return call(op.python, *operands, *more)

    def _rounds(self, node: Node) -> list[Piece]:
        """The polynomials of a `gram_loop` in lists, one polynomial for each round."""
        lists: list[Piece] = []
        single: list[Piece] = []
        for times, coefficients in rounds(node):
            polynomial = tuple_of([self.operand(i) for i in coefficients])
            number = self._nodes[times]
            if number.op == "const" and number["value"] == 1:
                single.append(polynomial)
                continue
            lists += [list_of(single)] if single else []
            single = []
            lists.append(list_of([polynomial], f" * {self.operand(times, 13)}"))
        return [*lists, list_of(single)] if single else lists

    def _sizes(self, node: Node) -> list[str]:
        return str(node["sizes"]).split()

    def spectral(self, node: Node, *functions: str) -> Piece:
        """What is asked of an operator or a spectrum, with the function that it is asked with."""
        op = OPS[node.op]
        operands = [self.operand(i) for i in node.inputs[: op.arity]]
        if draws(op):
            key = self._key(node.inputs[op.arity :])
            operands = [key, str(node["site"]), *operands]
        given = (*operands, *functions) if node.op == "quadrature" else (*functions, *operands)
        return call(op.python, *given)

    def _history(self, node: Node) -> Piece:
        operands: list[Piece] = [self.operand(i) for i in node.inputs]
        products = [Labelled("products=", "True")] if node.get("products") else []
        return call(OPS[node.op].python, *operands, *products)

    def _random(self, node: Node) -> Piece:
        key, site = self._key(node.inputs[1:]), str(node["site"])
        if not node.type.is_field:
            return call("rt.number", quoted(node.op), key, site)
        like = self.operand(node.inputs[0])
        extra = ('"bfloat16"',) if node.op == "round_stochastic" else ()
        return call(OPS[node.op].python, key, site, like, *extra)

    def _key(self, rounds: Sequence[int]) -> str:
        """The key of what is drawn: the step's, and another for each round of the loops around."""
        key = "oracles.key"
        for round in rounds:
            key = f"jax.random.fold_in({key}, {self.operand(round)})"
        return key


def literal(value: Scalar) -> tuple[str, int]:
    """A literal and how tightly it binds."""
    if isinstance(value, str):
        return quoted(value), CALL
    if value == NAMED["pi"]:
        return "jnp.pi", CALL
    if isinstance(value, float) and abs(value) == float("inf"):
        return ("jnp.inf", CALL) if value > 0 else ("-jnp.inf", 13)
    negative = not isinstance(value, bool) and value < 0
    # Formatters write exponents without a plus sign.
    return repr(value).replace("e+", "e"), 13 if negative else CALL


def _is_simple(text: str) -> bool:
    bare = text.removeprefix("-")
    if bare.replace(".", "", 1).replace("e-", "", 1).replace("e", "", 1).isdigit():
        return True
    return all(part.isidentifier() for part in bare.split("."))
