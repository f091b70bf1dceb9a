"""Stages: what each kind does to the signal, alone and in groups."""

from collections.abc import Callable
from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, correction, declare, did_you_mean
from ..library import names as library_names
from ..spec import Spec, SpecGroup, SpecStage
from ..types import Type
from . import expressions, shapes, views
from .builder import MISTAKE, Value
from .calls import UNKNOWN_RULE, a_kind, declared, rule
from .context import TYPE_MISMATCH, Binding, Context, Scope, Site
from .draft import DraftRegion, Passage
from .evaluation import evaluation_region

WRONG_RETURN = declare(
    "wrong-return",
    "a rule returns something that its stage cannot use",
    """
    `perturb`, `clip`, `precondition`, `decay`, `constrain` and `average` rules return a field.
    The expression of `tune step` is one number, or one number per tensor. A `guard` rule returns a
    condition.
    """,
)


class Stages:
    """The stages of one optimizer, and what they have made so far.

    `gradient` is the gradient at the weights before any stage, `direction` and `eta` what `tune
    step` received and gave, `weights_next` the weights after the step where stages made them.
    """

    def __init__(self, spec: Spec, report: Diagnostics, ctx: Context) -> None:
        self.spec = spec
        self.report = report
        self.ctx = ctx
        self.scope = Scope()
        self.signal_name = "g"
        self.gradient = MISTAKE
        self.direction: Value | None = None
        self.eta: Value | None = None
        self.group_values: dict[str, dict[str, Value]] = {}
        self.weights_next: Value | None = None
        self.region_of_evaluation: DraftRegion | None = None
        self.passages: list[Passage] = []

    def run(self, stage: SpecStage, signal: Value) -> Value:
        """The signal after a stage."""
        if stage.kind in ("constrain", "average"):
            return self._after_step(stage, signal)
        if stage.kind == "tune":
            result = self._tune(stage, signal)
        else:
            name = "u" if stage.kind == "decay" else "g"
            result = self._transform(stage, signal, {name: signal, "w": self.ctx.weights})
        self.passages.append(Passage(stage.index, signal.id, result.id))
        return result

    def groups(self, signal: Value) -> Value:
        """The signal after the groups, each of which acts on its own tensors."""
        ctx, groups = self.ctx, self.spec.groups
        if not groups:
            return signal
        results: list[tuple[int, Value, Value | None, Value | None]] = []
        outer = self.direction, self.eta
        for group in groups:
            self.direction, self.eta = outer
            first = group.stages[0].index if group.stages else -1
            with ctx.in_domain(group.domain):
                with ctx.in_stage(first):
                    own = views.arranged(ctx, signal)
                for stage in group.stages:
                    with ctx.in_stage(stage.index):
                        ctx.place = stage.syntax.rule.span
                        own = self.run(stage, own)
            given = self.direction or own
            self.group_values[group.name] = {"u": given} | ({"eta": self.eta} if self.eta else {})
            results.append(self._restored(group, own, signal))
        *firsts, (_, result, direction, eta) = results
        for domain, own, own_direction, own_eta in reversed(firsts):
            result = self._merged(domain, own, result)
            if direction and own_direction:
                direction = self._merged(domain, own_direction, direction)
            if eta and own_eta:
                eta = self._merged(domain, own_eta, eta)
        self.direction, self.eta = direction, eta
        return result

    def _restored(
        self, group: SpecGroup, own: Value, signal: Value
    ) -> tuple[int, Value, Value | None, Value | None]:
        """The tensors of a group, its result, direction and step size, as all others see them."""
        last = group.stages[-1].index if group.stages else -1
        domain = group.declared.domain
        with self.ctx.in_domain(domain), self.ctx.in_stage(last):
            found = (own, self.direction, self.eta)
            back = [v and views.restored(self.ctx, v, signal) for v in found]
        return domain, back[0] or MISTAKE, back[1], back[2]

    def _merged(self, domain: int, inside: Value, outside: Value) -> Value:
        if inside.type.is_unknown or outside.type.is_unknown:
            return MISTAKE
        return self.ctx.merge(domain, inside, outside)

    def _transform(self, stage: SpecStage, signal: Value, signals: dict[str, Value]) -> Value:
        result = self._limited(stage, signal, lambda: self.rule(stage, signals))
        return self._field(stage, result)

    def _limited(self, stage: SpecStage, old: Value, make: Callable[[], Value]) -> Value:
        """What `make` gives for the stage's tensors, and `old` for the others."""
        ctx = self.ctx
        if stage.domain == ctx.domain:
            return make()
        before = dict(ctx.cells)
        with ctx.in_domain(stage.domain):
            inside = make()
        for key, value in before.items():
            if ctx.cells[key].id != value.id:
                ctx.cells[key] = ctx.merge(stage.domain, ctx.cells[key], value)
        if inside.type.is_unknown or old.type.is_unknown:
            return MISTAKE
        return ctx.merge(stage.domain, inside, old, self._result_name(stage))

    def _field(self, stage: SpecStage, value: Value) -> Value:
        if value.type.is_unknown:
            return MISTAKE
        if value.type.is_like_weights and value.type.dtype == "float":
            return value
        returned = shapes.described(self.ctx, value.type)
        message = f"this `{stage.kind}` rule returns {returned}; the stage needs a field"
        self.report.add(WRONG_RETURN.at(stage.syntax.rule.span, message))
        return MISTAKE

    def _tune(self, stage: SpecStage, signal: Value) -> Value:
        ctx = self.ctx
        gradient = views.arranged(ctx, self.gradient)
        signals = {"u": signal, "g": gradient, "w": ctx.weights}
        self.enter_hyperparameters()
        if self._is_extern(stage):
            # It gives the whole step, so the size that it is multiplied with is 1.
            step = self.rule(stage, signals)
            self.direction, self.eta = step, ctx.constant(1.0)
            return step
        site = Site("tune", stage.label, signals, stage.declarations)
        outside = replace(site, kind="tune")
        eta = expressions.expression(ctx, outside, self.scope, stage.syntax.rule, "eta")
        if not eta.type.is_unknown and not _is_rate(eta.type):
            message = f"the step size is {eta.type}; it must be a number, or one per tensor"
            ctx.report.add(WRONG_RETURN.at(stage.syntax.rule.span, message))
            eta = MISTAKE
        self.direction, self.eta = signal, ctx.as_float(eta)
        if eta.type.is_unknown or signal.type.is_unknown:
            return MISTAKE
        return ctx.apply("mul", self.eta, signal, name="step")

    def _is_extern(self, stage: SpecStage) -> bool:
        """Whether the step is named as a whole: `tune step mine(...)`, of an `extern tune`."""
        call = _as_call(stage.syntax.rule)
        if call is None or not isinstance(call.function, syntax.Name):
            return False
        found = declared(stage.declarations, "tune", call.function.id)
        return found is not None and isinstance(found.decl, syntax.ExternDecl)

    def _after_step(self, stage: SpecStage, step: Value) -> Value:
        old = self.next_weights(step)
        signals = self.step_signals() | {"g": self.gradient, "w_next": old}
        result = self._limited(stage, old, lambda: self.rule(stage, signals))
        self.weights_next = self._field(stage, result)
        self.passages.append(Passage(stage.index, old.id, self.weights_next.id))
        if stage.kind == "average":
            self._keep_evaluation()
        return step

    def next_weights(self, step: Value) -> Value:
        """The weights after a step, as the stages so far leave them."""
        if self.weights_next is not None:
            return self.weights_next
        if step.type.is_unknown:
            return MISTAKE
        return self.ctx.apply("sub", self.ctx.weights, step, name="w_next")

    def step_signals(self) -> dict[str, Value]:
        """What stages after `tune step` see."""
        return {
            "w": self.ctx.weights,
            "u": self.direction or MISTAKE,
            "eta": self.eta or MISTAKE,
        }

    def _keep_evaluation(self) -> None:
        ctx = self.ctx
        if ctx.evaluation is not None and self.region_of_evaluation is None:
            assert self.weights_next is not None
            value, span = ctx.evaluation
            if value.type.domain:
                # The tensors that the rule does not see are evaluated as they are.
                value = ctx.merge(value.type.domain, value, self.weights_next)
                ctx.evaluation = value, span
            self.region_of_evaluation = evaluation_region(ctx, self.weights_next)

    def rule(self, stage: SpecStage, signals: dict[str, Value]) -> Value:
        """The result of the rule that a stage names."""
        call = _as_call(stage.syntax.rule)
        if call is None or not isinstance(call.function, syntax.Name):
            message = f"a `{stage.kind}` stage names one rule"
            help = f"write `{stage.kind} NAME(...)`"
            self.report.add(TYPE_MISMATCH.at(stage.syntax.rule.span, message, help=help))
            return MISTAKE
        name = call.function
        found = stage.declarations.find(stage.kind, name.id)
        if found is None:
            if stage.kind in syntax.KINDS:
                self._unknown_rule(stage, name)
            return MISTAKE
        site = replace(self.site(stage), result=self._result_name(stage))
        return rule(self.ctx, site, self.scope, call, found, signals)

    def _result_name(self, stage: SpecStage) -> str:
        """What the result of a stage is called: the signal has a name of its own at each point."""
        match stage.kind:
            case "perturb":
                return "g"
            case "constrain" | "average":
                return "w_next"
            case "guard":
                return "ok"
        if self.direction is not None:
            return "step"
        if stage.kind in ("precondition", "decay"):
            self.signal_name = "u"
        return self.signal_name

    def _unknown_rule(self, stage: SpecStage, name: syntax.Name) -> None:
        kind = stage.kind
        if name.id in stage.declarations.broken:
            return
        known = stage.declarations.names(kind)
        help = did_you_mean(name.id, known)
        if help is None and (kinds := stage.declarations.kinds_of(name.id)):
            help = f"`{name.id}` is {a_kind(kinds[0])}"
        if help is None and (shelf := library_names(kind)):
            help = f"the library has {', '.join(f'`{n}`' for n in shelf)}"
        message = f"no {kind} rule is named `{name.id}`"
        fix = correction(name.span, known)
        self.report.add(UNKNOWN_RULE.at(name.span, message, label="not a rule", help=help, fix=fix))

    def site(self, stage: SpecStage) -> Site:
        """Where the arguments of a stage are lowered."""
        self.enter_hyperparameters()
        return Site("stage", stage.label, {}, stage.declarations)

    def enter_hyperparameters(self) -> None:
        """Let arguments speak of the hyperparameters."""
        for name in self.ctx.hyperparameters:
            value = self.ctx.hyperparameter(name)
            self.scope.names.setdefault(name, Binding("parameter", None, value))


def _is_rate(type: Type) -> bool:
    if type.dtype == "bool":
        return False
    return type.is_scalar or (type.is_field and type.per == "tensor")


def _as_call(expr: syntax.Expr) -> syntax.Call | None:
    match expr:
        case syntax.Call():
            return expr
        case syntax.Name():
            return syntax.Call(expr.span, expr, ())
        case _:
            return None
