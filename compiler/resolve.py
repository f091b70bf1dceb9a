"""From the syntax of an optimizer to a `Spec`: stages in a legal order, each with its tensors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, declare
from ..grammar.source import Source, Span
from . import assertions, coverage, lifting, predicate, rearrange
from .declarations import DUPLICATE_NAME, Declarations
from .parameters import hyperparameters
from .predicate import BAD_PREDICATE
from .records import ALL, Assertion, Domain, Group, Hyperparameter, Stage, Term, View, distinct
from .requests import is_known_request
from .spec import Labels, Spec, SpecGroup, SpecObserve, SpecStage

STAGE_ORDER = declare(
    "stage-order",
    "a stage stands where it cannot",
    """
    A pipeline is read from top to bottom: `perturb` stages come first, since they make the
    gradient that the others see; `accumulate` comes before anything that needs the mean
    gradient; `clip`, `precondition` and `decay` stand in any order before or after `tune step`;
    `constrain` and `average` act on the weights after the step. Groups stand together, and hold
    only `clip`, `precondition`, `decay`, `tune step` and `observe`.
    """,
)
NO_STEP = declare(
    "no-step",
    "a path from the gradient to the weights without a step size",
    """
    Every path from the gradient to the weights passes exactly one `tune step`: it turns the
    direction into the step that is subtracted from the weights. With groups, either each group
    has its own, or one follows after them.

        optimizer sgd(lr = 0.1) { tune step lr }
    """,
)
TWO_STEPS = declare(
    "two-steps",
    "a path from the gradient to the weights with two step sizes",
    """
    A second `tune step` would multiply the rate in twice. Multiply the two expressions in one
    line instead: `tune step warmup(500) * cdat(2.0)`.
    """,
)
BAD_WHERE = declare(
    "bad-where",
    "a stage that cannot be limited to some tensors",
    """
    `where` limits a stage to some tensors and lets the others pass unchanged. `tune step`,
    `accumulate` and `guard` concern the step as a whole, so they take no `where`; to give tensors
    different step sizes, use groups.
    """,
)
BAD_GROUP = declare(
    "bad-group",
    "groups that do not divide the tensors",
    """
    Groups are tried in order, and the last may be `group rest`, which takes what is left. A group
    after `rest` would be empty, and a group without a predicate must be called `rest`. An optimizer
    has at most 100 groups.
    """,
)

_RANK = {"perturb": 0, "accumulate": 0, "constrain": 2, "average": 3}
"""Order of the kinds with a fixed place; the others have rank 1, and `guard` stands anywhere."""

_MOST_GROUPS = 100
"""Each group's tensors are those that no group before takes, so conditions nest as deep as this."""

_IN_GROUPS = ("clip", "precondition", "decay", "tune")


def resolve(
    decl: syntax.OptimizerDecl, scopes: Mapping[Source, Declarations], report: Diagnostics
) -> Spec:
    """The spec of one optimizer. Its mistakes are reported; the spec then has gaps.

    `scopes` are the names that hold in each text that the optimizer is made of: its own, and
    those of its bases if it is a variant.
    """
    return _Resolver(decl, scopes, report).spec()


@dataclass
class _Resolver:
    decl: syntax.OptimizerDecl
    scopes: Mapping[Source, Declarations]
    report: Diagnostics
    domains: list[Domain] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    labels: Labels = field(default_factory=Labels)
    observes: list[SpecObserve] = field(default_factory=list)
    parameters: tuple[Hyperparameter, ...] = ()

    def spec(self) -> Spec:
        self.domains.append(ALL)
        body = self.decl.body
        first, last = _group_places(body)
        self.parameters = hyperparameters(self.decl.params, self.report)
        self._check_groups_stand_together(body, first, last)
        before = self._stages(_lines(body[:first]))
        groups = self._groups([e for e in body if isinstance(e, syntax.Group)])
        after = self._stages(_lines(body[first:]))
        self._check_order((*before, *after), bool(groups), len(before))
        self._check_steps(before, groups, after)
        return Spec(
            name=self.decl.name.id,
            doc=self.decl.doc.text if self.decl.doc else "",
            equals=self.decl.equals,
            file=self.decl.span.source.name,
            span=self.decl.name.span,
            hyperparameters=self.parameters,
            domains=tuple(self.domains),
            stages=tuple(self.stages),
            before=before,
            groups=groups,
            after=after,
            observes=tuple(self.observes),
            assertions=self._assertions(),
            lifting=lifting.lifting(body, self.report),
        )

    def _assertions(self) -> tuple[Assertion, ...]:
        lines = (line for line in self.decl.body if isinstance(line, syntax.Assert))
        found = [assertions.assertion(line, self.report) for line in lines]
        return tuple(each for each in found if each is not None)

    def _stages(
        self, lines: Iterable[syntax.Stage | syntax.Observe], group: str = "", parent: int = 0
    ) -> tuple[SpecStage, ...]:
        found = []
        for line in lines:
            match line:
                case syntax.Observe():
                    self._observe(line, group)
                case syntax.Stage():
                    found.append(self._stage(line, group, parent))
        return tuple(found)

    def _stage(self, stage: syntax.Stage, group: str, parent: int) -> SpecStage:
        kind = stage.kind.id
        domain = parent
        if stage.where is not None:
            domain = self._limited(stage, parent)
        label = self.labels.next(kind, group)
        index = self._note(label, stage.span, domain, group)
        declarations = self.scopes[stage.rule.span.source]
        return SpecStage(kind, label, stage, domain, index, declarations)

    def _limited(self, stage: syntax.Stage, parent: int) -> int:
        assert stage.where is not None
        if stage.kind.id in ("tune", "accumulate", "guard"):
            name = "tune step" if stage.kind.id == "tune" else stage.kind.id
            message = f"`{name}` cannot be limited to some tensors"
            self.report.add(BAD_WHERE.at(stage.where.span, message))
            return parent
        term = self._chosen(stage.where)
        return parent if term is None else self.domain(f"{stage.kind.id}_tensors", parent, term)

    def domain(self, name: str, parent: int, term: Term, view: View | None = None) -> int:
        """The number of a set of tensors; equal sets are one."""
        view = view or (self.domains[parent].view if parent else None)
        for number, known in enumerate(self.domains):
            if number and (known.parent, known.predicate, known.view) == (parent, term, view):
                return number
        name = "matrices" if term == _MATRICES else name
        name = distinct(name, [known.name for known in self.domains])
        self.domains.append(Domain(name, parent, term, view))
        return len(self.domains) - 1

    def _note(self, label: str, span: Span, domain: int = 0, group: str = "") -> int:
        text, file = span.in_one_line, span.source.name
        self.stages.append(Stage(label, text, file, span.line, domain, group))
        return len(self.stages) - 1

    def _observe(self, observe: syntax.Observe, group: str) -> None:
        name = observe.name.id
        for known in self.observes:
            if known.name == name:
                self.report.add(
                    DUPLICATE_NAME.at(
                        observe.name.span,
                        f"`{name}` is reported twice",
                        others=(Label(known.syntax.name.span, "named here"),),
                    )
                )
                return
        if not is_known_request(observe, self.report):
            return
        index = self._note(f"{observe.word} {name}", observe.span)
        declarations = self.scopes[observe.value.span.source]
        self.observes.append(SpecObserve(name, observe, group, index, declarations))

    def _groups(self, groups: list[syntax.Group]) -> tuple[SpecGroup, ...]:
        found: list[SpecGroup] = []
        taken: list[Term] = []
        understood = True
        for further in groups[_MOST_GROUPS : _MOST_GROUPS + 1]:
            message = f"an optimizer has at most {_MOST_GROUPS} groups, and this one {len(groups)}"
            help = 'one group may take many tensors: `path matches "a|b"`'
            self.report.add(BAD_GROUP.at(further.name.span, message, help=help))
        for place, group in enumerate(groups[:_MOST_GROUPS]):
            name = group.name.id
            if any(g.name == name for g in found):
                message = f"the group `{name}` is declared twice"
                self.report.add(DUPLICATE_NAME.at(group.name.span, message))
            after_rest = any(earlier.where is None for earlier in groups[:place])
            if after_rest:
                message = f"no tensor is left for the group `{name}`: it stands after `rest`"
                self.report.add(BAD_GROUP.at(group.name.span, message))
            known = self._group_term(group)
            understood = understood and known is not None
            own = term = known or ALL.predicate
            if group.where is not None and understood and not after_rest:
                coverage.check(term, taken, group, groups, self.report)
            for other in taken:
                own = _and(own, Term(op="not", arguments=(other,)))
            taken.append(term)
            outer = domain = self.domain(name, 0, own)
            view = rearrange.parse(group, self.parameters, self.report)
            if view is not None:
                domain = self.domain(f"{name}_view", outer, rearrange.rank(view), view)
            stages = self._stages(group.stages, name, domain)
            for stage in stages:
                self._check_in_group(stage)
            declared = _declared(group, outer, term, view)
            found.append(SpecGroup(name=name, domain=domain, declared=declared, stages=stages))
        return tuple(found)

    def _group_term(self, group: syntax.Group) -> Term | None:
        """The predicate of a group, or None where it was reported as wrong."""
        if group.where is None:
            if group.name.id != "rest":
                message = f"the group `{group.name.id}` does not say which tensors it takes"
                help = "add `where ...`, or call it `rest`"
                self.report.add(BAD_GROUP.at(group.name.span, message, help=help))
            return ALL.predicate
        return self._chosen(group.where)

    def _chosen(self, where: syntax.Expr) -> Term | None:
        """What chooses tensors, or None where it was reported as wrong."""
        named = {p.name: p for p in self.parameters if p.name not in predicate.TENSOR_NAMES}
        wrong = [
            n for n in predicate.names_in(where) if n.id in named and named[n.id].kind != "int"
        ]
        for name in wrong:
            message = f"`{name.id}` is a {named[name.id].kind}, which chooses no tensors"
            help = "compare with literals and `int` parameters"
            self.report.add(BAD_PREDICATE.at(name.span, message, help=help))
        known = {name: Term("parameter", (name,)) for name in named}
        term = predicate.predicate(where, self.report, known)
        return None if wrong else term

    # ---- order

    def _check_groups_stand_together(
        self, body: tuple[syntax.Element, ...], first: int, last: int
    ) -> None:
        for element in body[first:last]:
            if isinstance(element, syntax.Stage):
                message = "a stage stands between two groups"
                self.report.add(STAGE_ORDER.at(element.kind.span, message, label="move it"))

    def _check_in_group(self, stage: SpecStage) -> None:
        if stage.kind not in _IN_GROUPS:
            message = f"`{stage.kind}` cannot stand in a group"
            help = f"put it outside the groups{'' if stage.kind == 'guard' else ', with `where`'}"
            self.report.add(STAGE_ORDER.at(stage.syntax.kind.span, message, help=help))

    def _check_order(self, stages: tuple[SpecStage, ...], grouped: bool, before: int) -> None:
        latest: SpecStage | None = None
        rank, tuned = 0, False
        for place, stage in enumerate(stages):
            if stage.kind == "guard":
                continue
            own = _RANK.get(stage.kind, 1)
            tuned = tuned or stage.kind == "tune" or (grouped and place >= before)
            if own < rank and latest is not None:
                self._misplaced(stage, f"`{stage.kind}` stands after `{latest.kind}`", latest)
            elif own >= 2 and not tuned:
                self._misplaced(stage, f"`{stage.kind}` stands before `tune step`", None)
            if own >= rank:
                rank, latest = own, stage

    def _misplaced(self, stage: SpecStage, message: str, after: SpecStage | None) -> None:
        others = (Label(after.syntax.kind.span, "this stands first"),) if after else ()
        self.report.add(
            STAGE_ORDER.at(stage.syntax.kind.span, message, label="out of place", others=others)
        )

    def _check_steps(
        self,
        before: tuple[SpecStage, ...],
        groups: tuple[SpecGroup, ...],
        after: tuple[SpecStage, ...],
    ) -> None:
        outside = _tunes((*before, *after))
        for first, second in pairwise(outside):
            self._two_steps(first, second)
        if not groups and not outside:
            message = f"the optimizer `{self.decl.name.id}` has no `tune step`"
            help = "add a line such as `tune step 0.1`"
            self.report.add(NO_STEP.at(self.decl.name.span, message, help=help))
        for group in groups:
            inside = _tunes(group.stages)
            for first, second in pairwise(inside):
                self._two_steps(first, second)
            if inside and outside:
                self._two_steps(*sorted((inside[0], outside[0]), key=lambda s: s.syntax.span.start))
            elif not inside and not outside:
                span = self._group_span(group.name)
                self.report.add(NO_STEP.at(span, f"the group `{group.name}` has no `tune step`"))

    def _two_steps(self, first: SpecStage, second: SpecStage) -> None:
        self.report.add(
            TWO_STEPS.at(
                second.syntax.kind.span,
                "a second `tune step` on one path",
                label="the rate would be applied twice",
                others=(Label(first.syntax.kind.span, "the first stands here"),),
                help="multiply the two expressions in one `tune step`",
            )
        )

    def _group_span(self, name: str) -> Span:
        groups = (e for e in self.decl.body if isinstance(e, syntax.Group))
        return next(g.name.span for g in groups if g.name.id == name)


_MATRICES = Term(op="ge", arguments=(Term(op="ndim"), Term(op="literal", arguments=(2,))))


def _declared(group: syntax.Group, domain: int, term: Term, view: View | None) -> Group:
    span = group.name.span
    place = span.place
    if group.where is None:
        return Group(group.name.id, domain, None, "", place, view)
    text = group.where.span.in_one_line
    return Group(group.name.id, domain, term, text, place, view)


def _and(left: Term, right: Term) -> Term:
    return right if left.op == "literal" else Term(op="and", arguments=(left, right))


def _tunes(stages: Iterable[SpecStage]) -> list[SpecStage]:
    return [s for s in stages if s.kind == "tune"]


def _lines(body: Iterable[syntax.Element]) -> list[syntax.Stage | syntax.Observe]:
    return [line for line in body if isinstance(line, syntax.Stage | syntax.Observe)]


def _group_places(body: tuple[syntax.Element, ...]) -> tuple[int, int]:
    """Where the first group stands, and where the last one ends; the body's end without any."""
    places = [i for i, element in enumerate(body) if isinstance(element, syntax.Group)]
    return (places[0], places[-1]) if places else (len(body), len(body))
