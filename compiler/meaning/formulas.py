"""From the nodes of a graph to formulas: one formula for each value, in one algebra.

A field is its element: the formula says what one number of it is, in terms of the numbers at the
same place of other fields, of scalars, and of whole fields (in reductions and oracles). Two fields
that exist for different tensors may have one formula; what runs over tensors names its domain, by
the condition on a tensor that its predicates make. How many numbers a field has for each tensor is
no part of its formula; it is its *form*, which what reduces or rearranges a field names too.

Branches are choices by a condition, as `where` is. A loop of a few rounds is written out; any other
is an atom of what it starts from and of what its body makes of arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph import Graph, Node, Region, index, walk
from ..ops import OPS, knots
from ..records import Hyperparameter, Term
from ..types import Dim, Dims, Type
from .algebra import Algebra
from .arrangements import Arrangements
from .forms import ELEMENTS, Form, Formula, joined
from .operations import Operations
from .products import Products
from .reductions import Reductions
from .terms import Terms
from .values import BELOW_ONE, NONNEGATIVE, POSITIVE, Value

_MOST_ROUNDS = 3


_Values = dict[int, Formula]


@dataclass(frozen=True)
class Step:
    """What a step makes: the weights, the slots, whether it counts, what it reports."""

    weights: Value
    evaluation: Value
    applied: Value
    slots: tuple[Value, ...]
    observed: tuple[tuple[str, Value], ...]


class Formulas:
    """The formulas of one graph, with terms for some of its hyperparameters."""

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Term],
        known: Sequence[Hyperparameter],
        algebra: Algebra,
    ) -> None:
        self._graph = graph
        self._nodes = index(graph)
        self._algebra = algebra
        self._operations = Operations(algebra)
        self._terms = Terms(graph, parameters, known, algebra, self._operations)
        nodes = [node for region in graph.regions() for node in walk(region)]
        sites = {int(site) for node in nodes if (site := node.get("site")) is not None}
        self._views = Arrangements(algebra)
        self._products = Products(algebra)
        self._reductions = Reductions(algebra)
        self._multiplies = any(node.op in ("matmul", "transpose") for node in nodes)
        self._sites = {site: place for place, site in enumerate(sorted(sites))}
        self._region = ""
        self._depth = 0
        self._states: Sequence[Formula] = ()
        self._values: _Values = {}
        self._results: dict[int, list[Formula]] = {}

    def starts(self) -> list[Formula]:
        """The slots of a fresh state."""
        return self._run("start", self._graph.start, ())

    def step(self, states: Sequence[Formula]) -> Step:
        """One step from these states."""
        weights = self._algebra.atom("weights", scalar=False)
        evaluation = weights
        if self._graph.evaluation is not None:
            ((evaluation),) = (
                x.value for x in self._run("evaluation", self._graph.evaluation, states)
            )
        results = self._run("step", self._graph.step, states)
        slots: dict[int, Value] = {}
        observed = []
        applied = self._algebra.one
        for output, result in zip(self._graph.outputs, results, strict=True):
            match output.role:
                case "step":
                    weights = self._algebra.sub(weights, result.value)
                case "weights":
                    weights = result.value
                case "slot":
                    slots[output.index] = result.value
                case "applied":
                    applied = result.value
                case "observed" | "requested":
                    observed.append((output.label, result.value))
                case "loss":
                    pass
        updates = tuple(slots[n] for n in range(len(slots)))
        return Step(weights, evaluation, applied, updates, tuple(observed))

    # ---- regions

    def _run(self, name: str, region: Region, states: Sequence[Formula]) -> list[Formula]:
        self._region, self._states = name, states
        self._values, self._results = {}, {}
        return self._inside(region)

    def _inside(self, region: Region) -> list[Formula]:
        for node in region.nodes:
            if node.op != "argument":
                self._values[node.id] = self._node(node)
        return [self._values[i] for i in region.results]

    def _node(self, node: Node) -> Formula:
        inputs = [self._values[i] for i in node.inputs]
        match OPS[node.op].op_class:
            case "leaf":
                return self._leaf(node, inputs)
            case "elementwise":
                return self._elementwise(node, inputs)
            case "reduction":
                return self._reduction(node, inputs)
            case "shape":
                return self._shape(node, inputs)
            case "matrix":
                return self._matrix(node, inputs)
            case "local":
                mask = Formula(self._terms.mask(int(node["domain"])))
                return self._elementwise(node, [mask, *inputs], "where")
            case "fill":
                return self._fill(node, inputs)
            case "random":
                return self._random(node, inputs)
            case "history":
                return self._history(node, inputs)
            case "oracle":
                return self._oracle(node, inputs)
            case "spectral":
                return self._spectral(node, inputs)
            case "control":
                return self._control(node, inputs)
            case "opaque":
                return self._opaque(node, inputs)

    def _atom(self, node: Node, *description: object, of: Sequence[Value] = ()) -> Formula:
        """An atom of the type of a node."""
        is_scalar = not node.type.has_tensors
        make = self._algebra.condition if node.type.dtype == "bool" else self._algebra.atom
        return Formula(make(*description, of=of, scalar=is_scalar), self._form(node.type))

    def _leaf(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        match node.op:
            case "const":
                return Formula(self._operations.literal(node["value"]))
            case "nan":
                return Formula(self._operations.literal(float("nan")))
            case "parameter":
                return Formula(self._terms.parameter(str(node["name"])))
            case "state":
                return self._states[int(node["name"])]
            case "item":
                return self._results[node.inputs[0]][int(node["index"])]
            case _ if node["name"] == "w":
                return Formula(self._algebra.atom("weights", scalar=False), self._form(node.type))
            case _:
                # The first step is the step 1; outside of steps the count may be 0.
                facts = POSITIVE if self._region == "step" else 0
                name = f"{node['name']} of {self._region}"
                return Formula(self._algebra.atom("input", name, facts=facts))

    def _elementwise(self, node: Node, inputs: Sequence[Formula], op: str = "") -> Formula:
        form = joined(inputs) or self._form(node.type)
        values = [x.value for x in inputs]
        if node.op == "interpolate":
            table = [self._operations.literal(float(y)) for pair in knots(node) for y in pair]
            return Formula(self._atom(node, node.op, of=[*values, *table]).value, form)
        if self._multiplies and node.op in ("add", "sub") and node.type.is_field:
            sign = 1 if node.op == "add" else -1
            x, y = values
            return Formula(self._products.added(x, y, str(form), sign), form)
        found = self._operations.apply(op or node.op, *values)
        return Formula(found, form if node.type.has_tensors else None)

    # ---- reductions

    def _reduction(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        per = node.get("per")
        domains = [self._domain(i) for i in node.inputs]
        values = [x.value for x in inputs]
        over = [self._over(per, x, d) for x, d in zip(inputs, domains, strict=True)]
        found = self._reductions.of(node.op, over, values, scalar=not node.type.is_field)
        if not node.type.is_field:
            return Formula(found)
        arrangement = inputs[0].form.arrangement if inputs[0].form else ""
        return Formula(found, Form((str(per),), arrangement, self._dims(node.type)))

    def _domain(self, id: int) -> int:
        return self._nodes[id].type.domain

    def _over(self, per: object, x: Formula, domain: int) -> str:
        """What a reduction runs over: parts of each tensor, or the tensors of a domain."""
        where = self._terms.mask(domain).key if per is None else f"per {per}"
        return f"{where} of {x.form}"

    # ---- shapes, fills, random fields

    def _shape(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        x, *more = inputs
        form = x.form or self._form(node.type)
        assert form is not None
        if node.op == "extent":
            length = self._algebra.atom("extent", node["axis"], str(form), scalar=False)
            self._algebra.knowing(length, POSITIVE)
            return Formula(length, Form(("tensor",), form.arrangement))
        if node.op == "rank_as":
            like = more[0].form
            return Formula(x.value, Form(form.pers, like.arrangement if like else ""))
        if node.op in ("blocks", "unblocks"):
            return self._blocks(node, x.value, form, more)
        return self._view(node, x.value, form, more)

    def _blocks(self, node: Node, x: Value, form: Form, more: Sequence[Formula]) -> Formula:
        name, pers = self._views.cut(more[-1].value), (str(node.type.per),)
        if node.op == "unblocks":
            arrangement = more[0].form.arrangement if more[0].form else ""
            return Formula(self._views.undone(x, str(form), name), Form(pers, arrangement))
        arrangement = self._views.arrangement(form.arrangement, name, "")
        return Formula(self._views.padded(x, str(form), name), Form(pers, arrangement))

    def _view(self, node: Node, x: Value, form: Form, more: Sequence[Formula]) -> Formula:
        pattern, sizes = str(node["pattern"]), str(node["sizes"])
        pers = (str(node.type.per),)
        if node.op == "unview":
            like, *given = more
            name = self._views.name(pattern, sizes, [size.value for size in given])
            arrangement = like.form.arrangement if like.form else ""
            return Formula(self._views.undone(x, str(form), name), Form(pers, arrangement))
        name = self._views.name(pattern, sizes, [size.value for size in more])
        opposite = self._views.opposite(pattern, sizes)
        arrangement = self._views.arrangement(form.arrangement, name, opposite)
        return Formula(self._views.seen(x, str(form), name, opposite), Form(pers, arrangement))

    def _matrix(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        form = self._form(node.type)
        if (around := joined(inputs)) is not None and form is not None:
            form = replace(form, arrangement=around.arrangement)
        if node.op == "filled":
            return Formula(self._operations.literal(node["value"]), form)
        values, forms = [x.value for x in inputs], [str(x.form) for x in inputs]
        found = self._products.apply(node.op, values, (*forms, str(form)), dict(node.attributes))
        return Formula(found, form)

    def _form(self, type: Type) -> Form | None:
        if type.kind == "outputs":
            return Form(("outputs",))
        if not type.is_field:
            return None
        return Form((str(type.per),), dims=self._dims(type))

    def _dims(self, type: Type) -> Dims | None:
        return type.dims and tuple(self._length(dim) for dim in type.dims)

    def _length(self, dim: Dim) -> Dim:
        """A length that is the same in both programs if it has one value."""
        if isinstance(dim, str):
            return self._terms.parameter(dim).key
        return dim if dim < 0 else self._algebra.number(dim).key

    def _fill(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        form = inputs[0].form or self._form(node.type)
        match node.op:
            case "zeros":
                return Formula(self._algebra.zero, form)
            case "ones":
                return Formula(self._algebra.one, form)
            case "full":
                return Formula(inputs[1].value, form)
            case "nans":
                return Formula(self._operations.literal(float("nan")), self._form(node.type))
            case _:
                return Formula(inputs[0].value, form)

    def _random(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        x, *rounds = inputs
        site = self._sites[int(node["site"])]
        form = x.form or self._form(node.type)
        drawn = [each.value for each in rounds]
        if node.op == "round_stochastic":
            drawn.append(x.value)
        others = [(key, value) for key, value in node.attributes if key != "site"]
        found = self._atom(node, node.op, self._region, site, others, str(form), of=drawn).value
        known = NONNEGATIVE | BELOW_ONE if node.op == "uniform" else 0
        return Formula(self._algebra.knowing(found, known), form if node.type.is_field else None)

    # ---- histories

    def _history(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        values = [x.value for x in inputs]
        tensors = self._terms.mask(node.type.domain)
        match node.op:
            case "history":
                form = self._form(self._nodes[node.inputs[0]].type)
                return Formula(
                    self._algebra.atom("history", str(form), of=[values[1], tensors], scalar=False)
                )
            case "push":
                return Formula(self._algebra.atom("push", of=values, scalar=False))
            case "inverse_fisher":
                history, x, damping = values
                found = self._reductions.linear(node.op, x, history, damping, scalar=False)
                return Formula(found, ELEMENTS)
            case _:
                *pairs, x, scale = values
                found = self._reductions.linear(node.op, x, *pairs, scale, scalar=False)
                return Formula(found, ELEMENTS)

    # ---- oracles, control flow, transformations

    def _oracle(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        values = [x.value for x in inputs]
        match node.op:
            case "hvp" | "pullback" | "ggn":
                at, vector = values
                product = self._reductions.linear(node.op, vector, at, scalar=False)
                return Formula(product, self._form(node.type))
            case "curvature" | "ggn_curvature":
                at, along = values
                times = "hvp" if node.op == "curvature" else "ggn"
                product = self._reductions.linear(times, along, at, scalar=False)
                over = self._over(
                    None, Formula(along, inputs[1].form), self._domain(node.inputs[1])
                )
                along = self._algebra.mul(along, product)
                return Formula(self._reductions.sum(over, along, scalar=True))
            case "per_example_mean":
                (region,) = node.regions
                result = self._body(region, [self._values.get(region.arguments[0])])[0]
                of = [values[0], result.value]
                return self._atom(node, node.op, str(result.form), of=of)
            case "measured":
                found = self._atom(node, node.op, node["per"], of=values)
                arrangement = inputs[1].form.arrangement if inputs[1].form else ""
                return Formula(found.value, Form((str(node["per"]),), arrangement))
            case "sampled_outputs_grad" | "feature_alignment" | "fisher_rows" | "fisher_columns":
                site = self._sites[int(node["site"])]
                return self._atom(node, node.op, self._region, site, of=values)
            case _:
                found = self._atom(node, node.op, of=values)
                known = POSITIVE if node.op == "examples" else 0
                self._algebra.knowing(found.value, known)
                return found

    def _spectral(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        """What is asked of an operator: of what it makes of a field of which nothing is known."""
        made = [x for region in node.regions for x in self._body(region, [None])]
        of = [x.value for x in (*inputs, *made)]
        site = node.get("site")
        drawn = () if site is None else (self._region, self._sites[int(site)])
        return self._atom(node, node.op, *drawn, of=of)

    def _control(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        match node.op:
            case "if":
                self._results[node.id] = self._branches(inputs[0].value, node)
            case "stagger":
                self._results[node.id] = self._stagger(node, *inputs)
            case _:
                self._results[node.id] = self._loop(node, inputs[0].value, inputs[1:])
        return Formula(self._algebra.zero)

    def _branches(self, condition: Value, node: Node) -> list[Formula]:
        yes, no = node.regions
        if condition.number is not None:
            return self._inside(yes if condition.number else no)
        return [
            Formula(self._algebra.choose(condition, a.value, b.value), joined([a, b]))
            for a, b in zip(self._inside(yes), self._inside(no), strict=True)
        ]

    def _stagger(
        self, node: Node, period: Formula, count: Formula, *kept: Formula
    ) -> list[Formula]:
        """What is kept or made anew; the shapes of all that is kept say when, as a whole."""
        made = self._inside(node.regions[0])
        whole = sorted(kept, key=lambda x: (x.value.key, repr(x.form)))
        forms = repr([x.form for x in whole])
        tensors = self._terms.mask(self._domain(node.inputs[2]))
        of = [period.value, count.value, tensors, *(x.value for x in whole)]
        turn = self._algebra.condition("turn", forms, of=of, scalar=False)
        return [
            Formula(self._algebra.choose(turn, new.value, old.value), joined([new, old]))
            for new, old in zip(made, kept, strict=True)
        ]

    def _loop(self, node: Node, count: Value, carried: Sequence[Formula]) -> list[Formula]:
        body, *condition = node.regions
        rounds = count.number
        if rounds is not None and (rounds <= 0 or (rounds <= _MOST_ROUNDS and not condition)):
            for round in range(int(rounds)):
                number = Formula(self._algebra.number(round))
                self._values |= zip(body.arguments, (number, *carried), strict=True)
                carried = self._inside(body)
            return list(carried)
        made = [*self._body(body, [None, *carried])]
        asked = [x for region in condition for x in self._body(region, carried)]
        of = [x.value for x in (*carried, *made, *asked)]
        forms = repr([x.form for x in (*carried, *made)])
        whole = self._algebra.atom("loop", len(made), forms, of=[count, *of])
        return [
            self._atom(self._nodes[id], "result", place, of=[whole])
            for place, id in enumerate(body.results)
        ]

    def _body(self, region: Region, likes: Sequence[Formula | None]) -> list[Formula]:
        """What a region makes of arguments of which nothing is known."""
        self._depth += 1
        for place, (id, like) in enumerate(zip(region.arguments, likes, strict=True)):
            found = self._atom(self._nodes[id], "argument", self._depth, place)
            if like is not None and like.form is not None:
                found = Formula(found.value, like.form)
            if like is not None and like.value.wild:
                wild = self._algebra.atom("argument", self._depth, place, wild=True)
                found = Formula(wild, found.form)
            self._values[id] = found
        results = self._inside(region)
        self._depth -= 1
        return results

    def _opaque(self, node: Node, inputs: Sequence[Formula]) -> Formula:
        values = [x.value for x in inputs]
        if node.op == "select":
            return Formula(self._algebra.choose(*values))
        given = [(key, repr(value)) for key, value in node.attributes if key != "name"]
        tensors = [self._terms.mask(self._domain(i)) for i in node.inputs]
        found = self._algebra.atom(node.op, given, of=[*values, *tensors], scalar=False)
        field, state = (
            self._algebra.atom("result", place, of=[found], scalar=False) for place in (0, 1)
        )
        self._results[node.id] = [Formula(field, ELEMENTS), Formula(state)]
        return Formula(found)
