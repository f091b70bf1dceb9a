"""What lowering knows while it walks: scopes of names, the program so far, mistakes found."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, Label, Rule, correction, declare, did_you_mean
from ...grammar.source import Span
from .. import coverage
from ..constants import known_value
from ..declarations import DUPLICATE_NAME, Declarations
from ..ops import OPS
from ..parameters import Bounds
from ..predicate import OPPOSITES
from ..records import TRUE, Domain, Hyperparameter, Refusal, Scalar, Slot, Term, View, distinct
from ..types import INT, Dim, Type
from . import views
from .builder import MISTAKE, Builder, TooLargeError, Value
from .draft import DraftRegion

UNKNOWN_NAME = declare(
    "unknown-name",
    "a name that stands for nothing here",
    """
    A rule sees its parameters, the names it made before, `t` (the step count, from 1), `pi`,
    `inf`, and what its kind of stage is given: `g` and `w` in perturb, clip and precondition; `u`
    and `w` in decay; `u`, `g` and `w` in tune; `w`, `g`, `u`, `eta` and `w_next` in constrain and
    average; those and `loss` in guard. `observe` sees `g`, `u`, `eta`, `w`, `w_next`, `loss` and
    the named values of stages (`clip.scale`).
    """,
)
TYPE_MISMATCH = declare(
    "type-mismatch",
    "a value of the wrong type",
    """
    A value is a scalar, a field (one tensor for every weight tensor), a condition, a text, or
    model outputs. Arithmetic takes scalars and fields and broadcasts scalars; `if`, `and`, `or`
    and `where` take conditions; reductions take fields; a rule's parameters take scalars, or one
    for each tensor.
    """,
)

REFUSED = declare(
    "refused",
    "a rule refuses this combination",
    """
    A rule says `error "..."` where it has no meaning; the headline is its own sentence, and the
    label shows the line of the rule that says it. Values that an optimizer gives, and the defaults
    of its parameters, are refused when it is checked, other values when they are bound, and tensors
    by `init`.
    """,
)
REFUSES = "the rule refuses here"

_MOST_EXPANSIONS = 5_000
"""A program is refused when it expands more calls than this."""

_LONGEST = 200
"""No condition of more parts is worked out before the program runs."""


@dataclass
class Binding:
    """What a name stands for: a fixed value, the cell of a state or var, or a function.

    `axis` is the axis, from the end, whose length a name of `when g is [rows, cols]` stands for.
    """

    kind: Literal["let", "var", "state", "parameter", "signal"]
    span: Span | None
    value: Value = MISTAKE
    cell: int = -1
    axis: int = 0
    closure: "Closure | None" = None


class Scope:
    """The names of one block, and of the blocks around it."""

    def __init__(self, outer: "Scope | None" = None) -> None:
        self.outer = outer
        self.names: dict[str, Binding] = {}

    def find(self, name: str) -> Binding | None:
        """What `name` stands for here."""
        found = self.names.get(name)
        return found if found or self.outer is None else self.outer.find(name)

    def known(self) -> set[str]:
        """Every name that stands for something here."""
        return set(self.names) | (self.outer.known() if self.outer else set())

    def dimensions(self) -> dict[str, Term]:
        """The names that stand for the lengths of the last two axes, as predicates say them."""
        outer = self.outer.dimensions() if self.outer else {}
        own = {n: Term(op=_AXES[b.axis]) for n, b in self.names.items() if b.axis in _AXES}
        return outer | own


_AXES = {-1: "cols", -2: "rows"}


@dataclass(frozen=True)
class Site:
    """Where a body is being lowered: its kind, the stage's label, its names and declarations.

    `signals` are what the stage's kind sees, and `result` what the stage's result is called;
    `prefix` is put before slot names of rules that a rule calls.
    """

    kind: str
    label: str
    signals: Mapping[str, Value]
    declarations: Declarations
    prefix: str = ""
    result: str = ""


@dataclass(frozen=True)
class Closure:
    """A function value: what was written, and what its names stand for there.

    `active` are the declarations that were being expanded there.
    """

    function: syntax.Lambda | syntax.Name
    site: Site
    scope: Scope
    active: tuple[syntax.Node, ...]


@dataclass
class Context(Builder):
    """The program so far.

    A function that is checked alone is not `placed`: it may be called where tensors are matrices.
    """

    report: Diagnostics
    hyperparameters: dict[str, Hyperparameter]
    domains: list[Domain]
    slots: list[Slot] = field(default_factory=list)
    named: dict[str, Value] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    active: list[syntax.Node] = field(default_factory=list)
    callers: list[Span] = field(default_factory=list)
    expansions: int = 0
    parameter_names: dict[int, str] = field(default_factory=dict)
    evaluation: tuple[Value, Span] | None = None
    accumulated: bool = False
    pipeline_depth: int = 1
    place: Span | None = None
    starts: list[Value] = field(default_factory=list)
    stochastic: set[int] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    assumed: list[Term] = field(default_factory=list)
    choices: int = 0
    random_sites: int = 0
    sides: dict[int, tuple[Span, Span]] = field(default_factory=dict)
    micro_step: Value | None = None
    placed: bool = True
    lengths: dict[Dim, syntax.Name] = field(default_factory=dict)
    decided: dict[tuple[int, Term, int, tuple[Term, ...]], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def define(self, scope: Scope, name: syntax.Name, binding: Binding) -> None:
        """Give a name its meaning in a scope; a second meaning is reported."""
        known = scope.find(name.id)
        if known is not None:
            others = (Label(known.span, "declared here"),) if known.span else ()
            message = f"`{name.id}` already has a meaning here"
            self.report.add(DUPLICATE_NAME.at(name.span, message, label="again", others=others))
        scope.names[name.id] = binding

    @contextmanager
    def expanding(self, active: Iterable[syntax.Node]) -> Iterator[None]:
        """Lower for a while what was written where other declarations were being expanded."""
        outer, self.active = self.active, [*active]
        yield
        self.active = outer

    @contextmanager
    def naming(self, names: Mapping[Dim, syntax.Name]) -> Iterator[None]:
        """Lower for a while what knows the lengths of axes, counted from the end, by names."""
        outer, self.lengths = self.lengths, {**self.lengths, **names}
        yield
        self.lengths = outer

    def expanded(self) -> None:
        """Count that a declaration is expanded, which may make nothing and be done very often."""
        self.expansions += 1
        if self.expansions > _MOST_EXPANSIONS:
            raise TooLargeError(f"more than {_MOST_EXPANSIONS:,} calls")

    # ---- inputs

    @property
    def weights(self) -> Value:
        """`w`, the weights before the step, as the current domain sees them."""
        w = self.input("input", "w", Type("field"), "w")
        return w if self.view_of(self.domain) is None else views.weights(self, w)

    @property
    def count(self) -> Value:
        """`t`, the number of this step, from 1."""
        return self.input("input", "t", INT, "t")

    def hyperparameter(self, name: str) -> Value:
        """A parameter of the program."""
        known = self.hyperparameters[name]
        if known.kind == "str":
            type = Type("text", static=True)
        else:
            type = Type("scalar", known.kind, static=known.static)
        value = self.input("parameter", name, type, name)
        self.parameter_names[value.id] = name
        return value

    def tighten(self, value: Value, bounds: Bounds) -> None:
        """A hyperparameter handed to a rule takes over the range that the rule declares."""
        if (name := self.parameter_names.get(value.id)) is None:
            return
        old = self.hyperparameters[name]
        new = Bounds(old.low, old.high, old.low_open, old.high_open).both(bounds)
        self.hyperparameters[name] = replace(
            old, low=new.low, high=new.high, low_open=new.low_open, high_open=new.high_open
        )

    def add_domain(self, name: str, term: Term) -> int:
        """The tensors of the current domain for which `term` holds."""
        parent = self.domain
        for number, known in enumerate(self.domains):
            if number and known.parent == parent and known.predicate == term:
                return number
        name = distinct(name, [known.name for known in self.domains])
        self.domains.append(Domain(name, parent, term, self.domains[parent].view))
        return len(self.domains) - 1

    def view_of(self, domain: int) -> View | None:
        """The arrangement of the values of a domain."""
        return self.domains[domain].view

    def sure(self, term: Term) -> bool:
        """Whether `term` holds for each tensor of the current domain, whatever the weights are."""
        asked = (self.domain, term, len(self.refusals), tuple(self.assumed))
        if asked not in self.decided:
            self.decided[asked] = self._is_sure(term)
        return self.decided[asked]

    def _is_sure(self, term: Term) -> bool:
        chain, number = [self.domain], self.domain
        while number:
            number = self.domains[number].parent
            chain.append(number)
        chain = [n for n in chain if self.view_of(n) == self.view_of(self.domain)]
        known = [self.domains[n].predicate for n in chain]
        assumed = [_all(self.assumed[:n]) for n in range(len(self.assumed) + 1)]
        surely = [r.domain for r in self.refusals if r.condition in assumed]
        refused = [self.domains[domain] for domain in surely if domain is not None]
        known += [Term(op="not", arguments=(d.predicate,)) for d in refused if d.parent in chain]
        return coverage.implies(known, term)

    def random(
        self,
        op: str,
        inputs: Sequence[Value],
        type: Type,
        name: str | None = None,
        regions: tuple[DraftRegion, ...] = (),
        shared: bool = False,
    ) -> Value:
        """What is drawn from a stream of its own, another in each micro-step and round of a loop.

        The first of the inputs is the field whose shapes are drawn. What is `shared` comes from the
        one stream 0.
        """
        self.random_sites += not shared
        rounds = [b.index for b in self.frame.blocks if b.index is not None]
        if self.micro_step is not None:
            rounds.insert(0, self.micro_step)
        site = {"site": 0 if shared else self.random_sites}
        drawn = (*inputs, *rounds)
        return self.node(op, drawn, type, name=name, attributes=site, regions=regions)

    def default_of(self, value: Value) -> Scalar | None:
        """The default of the hyperparameter that `value` is, if it is one."""
        name = self.parameter_names.get(value.id)
        return self.hyperparameters[name].default if name else None

    # ---- values for a fresh state

    def can_transplant(self, value: Value) -> bool:
        """Whether a number is made of literals, hyperparameters and lengths alone."""
        node = self.made.get(value.id)
        if node is None or node.op in ("const", "parameter", "extent"):
            return node is not None
        return OPS[node.op].op_class == "elementwise" and all(
            self.can_transplant(Value(i, value.type)) for i in node.inputs
        )

    def transplant(self, value: Value) -> Value:
        """The same scalar, in the current frame."""
        node = self.made[value.id]
        if node.op == "extent":
            attributes = dict(node.attributes)
            weights = (self.weights,)
            return self.node("extent", weights, node.type, name=node.name, attributes=attributes)
        if node.op == "const":
            return self.constant(node["value"], node.name)
        if node.op == "parameter":
            return self.hyperparameter(str(node["name"]))
        inputs = [self.transplant(Value(i, self.made[i].type)) for i in node.inputs]
        return self.node(node.op, inputs, node.type, name=node.name, constant=value.constant)

    # ---- refusals

    def refuse(self, refuse: syntax.Refuse, domain: int | None = None) -> None:
        """Refuse, where all that is assumed holds, weights that have tensors of `domain`.

        Without one, and outside all choices by tensor, it is the values that are refused.
        """
        if domain is None and self.choices:
            domain = self.domain
        message, condition = refuse.message.value, _all(self.assumed)
        self.refusals.append(Refusal(domain, message, self.stage, condition))
        known = {h.name: h.default for h in self.hyperparameters.values() if h.default is not None}
        if domain is None and known_value(condition, known):
            self.blame(REFUSED, refuse.span, message, REFUSES)

    @contextmanager
    def assuming(self, condition: Value, holds: bool) -> Iterator[None]:
        """Lower for a while what a choice by static parameters guards."""
        term = self._term(condition, [_LONGEST])
        self.assumed.append(term if holds else _not(term))
        yield
        self.assumed.pop()

    def number(self, value: Value) -> Term | None:
        """A whole number that is known when a program is bound."""
        is_number = value.type.is_scalar and value.type.static and value.type.dtype == "int"
        return self.term(value) if is_number else None

    def term(self, value: Value) -> Term:
        """A static value as what a caller can work out."""
        return self._term(value, [_LONGEST])

    def _term(self, value: Value, left: list[int]) -> Term:
        """A static value as what a caller can work out, of no more than `left` parts."""
        left[0] -= 1
        if left[0] < 0:
            raise TooLargeError(f"a condition of more than {_LONGEST} parts")
        node = self.made[value.id]
        match node.op:
            case "const":
                return Term("literal", (node["value"],))
            case "parameter":
                return Term("parameter", (node["name"],))
            case _:
                inputs = (Value(i, self.made[i].type) for i in node.inputs)
                return Term(node.op, tuple(self._term(each, left) for each in inputs))

    # ---- mistakes

    def mistyped(
        self, span: Span, message: str, help: str | None = None, others: Iterable[Label] = ()
    ) -> Value:
        """Report a value of the wrong type; in another file, with the stage whose rule has it."""
        labels = (*others, *self.asker_of(span))
        self.report.add(TYPE_MISMATCH.at(span, message, help=help, others=labels))
        return MISTAKE

    def asker_of(self, span: Span) -> tuple[Label, ...]:
        """A label that shows what is being lowered where `span` is in another file.

        It is a call of a function, of the file of the stage if there is one, or the stage itself.
        """
        for call in reversed(self.callers):
            own = self.place is None or call.source is self.place.source
            if own and call.source is not span.source:
                return (Label(call, "called here"),)
        if self.place is None or self.place.source is span.source:
            return ()
        return (Label(self.place, "for this stage"),)

    def blame(self, rule: Rule, inside: Span, message: str, label: str) -> None:
        """Report a stage for what its rule does at `inside`; a rule without a stage itself."""
        if self.place is None or self.place == inside:
            self.report.add(rule.at(inside, message))
        else:
            self.report.add(rule.at(self.place, message, others=(Label(inside, label),)))

    def unknown_dtype(self, name: syntax.Name, known: Iterable[str], rule: Rule) -> None:
        """Report a dtype that does not exist."""
        help = did_you_mean(name.id, known) or f"the dtypes are {', '.join(known)}"
        self.report.add(rule.at(name.span, f"there is no dtype `{name.id}`", help=help))

    def unknown(
        self, name: syntax.Name, known: Iterable[str], what: str = "is not known here"
    ) -> Value:
        """Report a name that stands for nothing."""
        known = tuple(known)
        self.report.add(
            UNKNOWN_NAME.at(
                name.span,
                f"`{name.id}` {what}",
                label="unknown",
                help=did_you_mean(name.id, known),
                fix=correction(name.span, known),
            )
        )
        return MISTAKE


def _all(conditions: Sequence[Term]) -> Term:
    """That all of some conditions hold."""
    together, *more = conditions or [TRUE]
    for each in more:
        together = Term("and", (together, each))
    return together


def _not(condition: Term) -> Term:
    """That a condition does not hold."""
    opposite = OPPOSITES.get(condition.op)
    if opposite:
        return Term(opposite, condition.arguments)
    return condition.terms[0] if condition.op == "not" else Term("not", (condition,))
