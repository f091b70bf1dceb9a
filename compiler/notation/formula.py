"""Values of a graph as formulas in papers' notation."""

from collections.abc import Callable, Mapping
from typing import assert_never

from ..graph import Graph, Node, index, is_plain_mean, rounds
from ..lengths import parsed
from ..op import CALL
from ..ops import OPS, knots
from ..predicate import OPPOSITES, TENSOR_NAMES
from ..records import TRUE, Refusal, Scalar, Term
from ..types import lengths
from .plain import TextWriter
from .symbols import symbol
from .tree import (
    Call,
    Cases,
    Fence,
    Formula,
    Fraction,
    Infix,
    Number,
    Power,
    Prefix,
    Root,
    Sign,
    Symbol,
    Words,
)

Known = Callable[[Node], Formula | None]
"""What stands for a value where it is used: its symbol, or None for what is written out."""


def formula(graph: Graph, node_id: int, depth: int = 8) -> str:
    """One value in text notation: `m / (1 − β₁ᵗ)`. Named values in it are not written out.

    What lies deeper than `depth` is an ellipsis.
    """
    nodes = index(graph)
    names = {number: slot.name for number, slot in enumerate(graph.slots)}

    def known(level: int) -> Known:
        def at(node: Node) -> Formula | None:
            if node.id == node_id:
                return None
            leaf = _leaf(node, names)
            if leaf is not None:
                return leaf
            if node.name:
                return symbol(node.name)
            if level >= depth:
                return Sign("…")
            return Formulas(graph, nodes, known(level + 1)).of(node)

        return at

    found = nodes[node_id]
    leaf = _leaf(found, names)
    return TextWriter().write(leaf or Formulas(graph, nodes, known(1)).of(found))


def _leaf(node: Node, slots: Mapping[int, str]) -> Formula | None:
    match node.op:
        case "parameter":
            return symbol(str(node["name"]), "hyperparameter")
        case "state":
            return symbol(slots[int(node["name"])], "state")
        case "input":
            return symbol(str(node["name"]))
        case "argument":
            return symbol(node.name or "x")
        case "const":
            return literal(node["value"])
        case _:
            return None


def literal(value: Scalar) -> Formula:
    """A literal as a formula."""
    if isinstance(value, str):
        return Words(f'"{value}"')
    if value == 3.141592653589793:
        return Symbol("pi")
    return Number(value)


def loss_sign(graph: Graph) -> str:
    """What the loss is written as: L, but where a matrix of the spec is."""
    return "ℒ" if any(slot.name == "L" for slot in graph.slots) else "L"


def tensors(graph: Graph, number: int, within: int = 0) -> str:
    """Which tensors a domain has, in words: `ndim >= 2`, `group hidden`; empty for all.

    What holds for the domain `within` is not said again.
    """
    said = _conditions(graph, within)
    return " and ".join(c for c in _conditions(graph, number) if c not in said)


def refused(graph: Graph, refusal: Refusal) -> str:
    """What is refused, of the tensors and of the values, in words."""
    values = "" if refusal.condition == TRUE else spoken(refusal.condition, 4)
    which = "" if refusal.domain is None else tensors(graph, refusal.domain)
    return " and ".join(filter(None, (which, values))) or "any tensor"


def _conditions(graph: Graph, number: int) -> list[str]:
    groups = {group.domain: group.name for group in graph.groups}
    words: list[str] = []
    ranked = False
    while number:
        if number in groups:
            words.append(f"group {groups[number]}")
            break
        condition = graph.domains[number].predicate
        text = spoken(condition, 4)
        # A number of axes says all that is asked of it further out.
        if text not in words and not (ranked and _asks_rank(condition)):
            words.append(text)
        ranked = ranked or (condition.op == "eq" and _asks_rank(condition))
        number = graph.domains[number].parent
    return words[::-1]


def _asks_rank(condition: Term) -> bool:
    if condition.op == "not":
        return _asks_rank(condition.terms[0])
    return condition.op in OPS and any(term.op == "ndim" for term in condition.terms)


def spoken(term: Term, binding: int = 0) -> str:
    """A predicate nearly as specs write it."""
    if term.op == "literal":
        (value,) = term.arguments
        return f'"{value}"' if isinstance(value, str) else str(value)
    if term.op == "parameter":
        return str(term.arguments[0])
    if term.op in TENSOR_NAMES:
        return term.op
    if term.op == "not" and (opposite := OPPOSITES.get(term.terms[0].op)):
        return spoken(Term(opposite, term.terms[0].arguments), binding)
    words = {"or": 3, "and": 4, "not": 5, "matches": 6}
    strength = words.get(term.op) or OPS[term.op].binding
    # What stands on the right of `-` or `/` binds tighter, and what is called has parentheses.
    right = int(term.op not in words)
    inner = strength if strength < CALL else 0
    parts = [spoken(part, inner + right * place) for place, part in enumerate(term.terms)]
    match term.op:
        case "not":
            text = f"not {parts[0]}"
        case "matches" | "and" | "or":
            text = f" {term.op} ".join(parts)
        case op if OPS[op].notation[0] in ("infix", "fraction"):
            text = f" {OPS[op].notation[1] or '/'} ".join(parts)
        case op if OPS[op].notation[0] == "prefix":
            text = f"{OPS[op].notation[1]}{parts[0]}"
        case op:
            text = f"{op}({', '.join(parts)})"
    return f"({text})" if strength < binding else text


_MOST_PARTS = 6


def _power_of_s(coefficient: Formula, exponent: int) -> Formula:
    s = Symbol("s")
    return Infix("·", coefficient, s if exponent == 1 else Power(s, Number(exponent)))


class Formulas:
    """Writes values of a graph out, down to those that `known` has a formula for."""

    def __init__(self, graph: Graph, nodes: Mapping[int, Node], known: Known) -> None:
        self._graph = graph
        self._nodes = nodes
        self._known = known
        self._loss = loss_sign(graph)
        products = (node for node in nodes.values() if node.op in ("matmul", "matvec"))
        self._multiplied = {node.type.domain for node in products}

    def use(self, id: int) -> Formula:
        """A value where it is used."""
        node = self._nodes[id]
        return self._known(node) or self.of(node)

    def of(self, node: Node) -> Formula:
        """A value written out."""
        inputs = [self.use(i) for i in node.inputs]
        if node.get("otherwise"):
            *inputs, kept = inputs
            return Cases(((self._laid_out(node, inputs), Words("finite")),), kept)
        return self._laid_out(node, inputs)

    def _laid_out(self, node: Node, inputs: list[Formula]) -> Formula:
        layout, sign = OPS[node.op].notation
        if self._loss != "L" and OPS[node.op].op_class == "oracle":
            sign = sign.replace("L", self._loss)
        match layout:
            case "infix":
                sign = "⊙" if node.op == "mul" and self._is_of_elements(node) else sign
                return Infix(sign, *inputs)
            case "prefix":
                return Prefix(sign, *inputs)
            case "fraction":
                return Fraction(*inputs)
            case "power":
                exponent = Number(2) if sign else inputs[1]
                elements = OPS[node.op].op_class == "elementwise" and self._is_of_elements(node)
                return Power(inputs[0], Prefix("⊙", exponent) if elements else exponent)
            case "transpose":
                return Power(inputs[0], Sign("⊤"))
            case "inverse root":
                return Power(inputs[0], Fraction(Number(-1), inputs[1]))
            case "inverse" if which := node.get("triangular"):
                return Call("solve", tuple(inputs), str(which))
            case "inverse":
                return Infix("·", Power(inputs[0], Number(-1)), inputs[1])
            case "root":
                return Root(*inputs)
            case "same":
                return inputs[0]
            case "second":
                return inputs[1]
            case "sign" if node.op == "filled":
                return Sign("𝟏") if node["value"] else Number(0)
            case "sign":
                return Number(0) if sign == "0" else Sign(sign)
            case "sample":
                return Sign(sign if node.type.is_field else sign.replace("I", "1"))
            case "fence":
                return Fence(sign, tuple(inputs), self._part(node))
            case "product":
                return Infix("·", Call(sign, (inputs[0],)), inputs[1])
            case "quadratic":
                product = Infix("·", Call(sign, (inputs[0],)), inputs[1])
                return Fence("⟨⟩", (inputs[1], product))
            case "cases":
                return _flat(Cases(((inputs[1], inputs[0]),), inputs[2]))
            case "call":
                return self._call(node, sign or node.op, inputs)
            case _:
                assert_never(layout)

    def _is_of_elements(self, node: Node) -> bool:
        """Whether arithmetic is of each element, where a reader could take it for matrices'."""
        types = [self._nodes[i].type for i in node.inputs]
        whole = [t for t in types if t.is_field and t.per == "element"]
        both = len(whole) == len(types) or node.op in ("pow", "square")
        return node.type.domain in self._multiplied and bool(whole) and both

    def _part(self, node: Node) -> str:
        per = node.get("per")
        if per is None:
            return ""
        return f"axis {per}" if isinstance(per, int) else str(per)

    def _call(self, node: Node, name: str, inputs: list[Formula]) -> Formula:
        match node.op:
            case "merge":
                chosen = tensors(self._graph, int(node["domain"]), node.type.domain)
                if not chosen:
                    return inputs[0]
                return _flat(Cases(((inputs[0], Words(chosen)),), inputs[1]))
            case "gram_loop":
                return Call(name, (inputs[0], *self._rounds(node)))
            case "interpolate":
                points = [Words(f"({_digits(x)}, {_digits(y)})") for x, y in knots(node)]
                return Call(name, (*inputs, *points))
            case "view" | "unview":
                return Call(name, (Words(f'"{node["pattern"]}"'), inputs[0]))
            case "blocks":
                return Call(name, (inputs[1], inputs[0]))
            case "arange":
                dims = parsed(str(node["lengths"]))
                return Call(name, (Words(*lengths(dims)),))
            case "argsort":
                order = (Words("descending"),) if node["descending"] else ()
                return Call(name, (*inputs, *order))
            case "take":
                parts = {-2: "rows", -1: "columns"}[int(node["axis"])]
                return Call(name, tuple(inputs), "" if node.type.is_vector else parts)
            case "unblocks":
                return Call(name, (inputs[0],))
            case "extent":
                return Call(name, (inputs[0], Words(f"axis {node['axis']}")))
            case "measured":
                return Call(name, (inputs[2],), self._part(node))
            case "extern":
                given = self._arguments(node, inputs[3:])
                return Call(self._path(node), (*inputs[:2], *given))
            case "extern_init":
                return Call(f"{self._path(node)}.init", (inputs[0],))
            case "hutchinson" | "xtrace":
                return Call(name, (*self._functions(node), inputs[1]))
            case "matrix_function":
                operator, function = self._functions(node)
                return Call(name, (function, operator, *inputs))
            case "lanczos" | "quadrature":
                return Call(name, (*self._functions(node), *inputs))
            case "per_example_mean":
                if is_plain_mean(node):
                    return Call("mean", tuple(inputs), "examples")
                return Call("mean", (*self._functions(node), *inputs), "examples")
            case _:
                return Call(name, tuple(inputs), self._part(node))

    def _rounds(self, node: Node) -> list[Formula]:
        """How many rounds there are, and what each makes of a singular value."""
        parts: list[Formula] = []
        for times, coefficients in rounds(node):
            first, *others = map(self.use, coefficients)
            total = _power_of_s(first, 1)
            for place, coefficient in enumerate(others):
                sign = "+"
                if isinstance(coefficient, Number) and coefficient.value < 0:
                    sign, coefficient = "-", Number(-coefficient.value)
                total = Infix(sign, total, _power_of_s(coefficient, 2 * place + 3))
            singular = Infix("↦", Symbol("s"), total)
            parts += [self.use(times), singular]
        first = self.use(node.inputs[-1])
        most = [Infix("≤", Words("rounds"), first)] if node.get("first") else []
        if len(parts) > _MOST_PARTS:
            return [*parts[:_MOST_PARTS], Words("and others"), *most]
        return [*parts, *most]

    def _functions(self, node: Node) -> list[Formula]:
        """The functions of one value that a node has as its regions."""
        return [
            Infix("↦", self.use(region.arguments[0]), self.use(region.results[0]))
            for region in node.regions
        ]

    def _path(self, node: Node) -> str:
        return f"{node['module']}.{node['function']}"

    def _arguments(self, node: Node, given: list[Formula]) -> list[Formula]:
        names = str(node["inputs"]).split()
        named = [Infix("=", Sign(n), value) for n, value in zip(names, given, strict=False)]
        literals = [(k[1:], v) for k, v in node.attributes if k.startswith("=")]
        return [*named, *(Infix("=", Sign(name), literal(value)) for name, value in literals)]


def _digits(x: float) -> str:
    """All the digits of a number, and no more."""
    return repr(x).removesuffix(".0")


def _flat(cases: Cases) -> Cases:
    """A choice whose last case is a choice is one choice of more cases."""
    if isinstance(cases.otherwise, Cases):
        return Cases((*cases.rows, *cases.otherwise.rows), cases.otherwise.otherwise)
    return cases
