"""The pipeline of stages: the signal from the gradient to the weights."""

from collections.abc import Callable
from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, correction, declare, did_you_mean
from ..library import names as library_names
from ..records import Output, Slot, Term
from ..spec import Spec, SpecObserve, SpecStage
from ..types import BOOL, FIELD, INT, SCALAR, Type
from . import expressions
from .builder import MISTAKE, Cell, TooLargeError, Value
from .calls import UNKNOWN_RULE, a_kind, rule
from .context import TYPE_MISMATCH, Binding, Context, Scope, Site
from .draft import Draft, DraftRegion
from .evaluation import evaluation_region
from .oracles import ask
from .statements import every

WRONG_RETURN = declare(
    "wrong-return",
    "a rule returns something that its stage cannot use",
    """
    `perturb`, `clip`, `precondition`, `decay`, `constrain` and `average` rules return a field.
    The expression of `tune step` is one number, or one number per tensor. A `guard` rule returns a
    condition.
    """,
)
BAD_ACCUMULATE = declare(
    "bad-accumulate",
    "a number of micro-batches that is not a fixed whole number",
    """
    `accumulate 4` applies the mean of four gradients on every fourth call. The number is a literal
    or an `int` parameter, at least 1.
    """,
)
TOO_LARGE = declare(
    "program-too-large",
    "a program that expands beyond all bounds",
    """
    Calls are replaced by bodies, so rules that call rules that call rules can grow without end.
    The compiler stops at 100,000 operations.
    """,
)


def lower(spec: Spec, report: Diagnostics) -> Draft:
    """The program of a spec. Mistakes in rules and arguments are reported; it then has gaps."""
    pipeline = _Pipeline(spec, report)
    try:
        return pipeline.draft()
    except TooLargeError:
        message = f"the optimizer `{spec.name}` expands to more than 100,000 operations"
        report.add(TOO_LARGE.at(spec.span, message))
        return pipeline.unfinished()


class _Pipeline:
    def __init__(self, spec: Spec, report: Diagnostics) -> None:
        self.spec = spec
        self.report = report
        self.ctx = Context(report, {h.name: h for h in spec.hyperparameters}, list(spec.domains))
        self.scope = Scope()
        self.signal_name = "g"
        self.mini_step = -1
        self.gradient = MISTAKE
        self.loss = MISTAKE
        self.direction: Value | None = None
        self.eta: Value | None = None
        self.group_values: dict[str, dict[str, Value]] = {}
        self.guards: list[SpecStage] = []
        self.observed: dict[str, Value] = {}
        self.weights_next: Value | None = None
        self.step: Value = MISTAKE
        self.applied: Value | None = None
        self.region_of_evaluation: DraftRegion | None = None

    def draft(self) -> Draft:
        ctx = self.ctx
        for name in ctx.hyperparameters:
            ctx.parameter_names[ctx.hyperparameter(name).id] = name
        self.loss = self._oracle("loss")
        self.gradient = self._oracle("grad")
        for stage in self._all_stages():
            if stage.kind == "accumulate":
                # Random fields of the stages above differ in each micro-step.
                self.mini_step = self._own_state(stage, "mini_step", INT)
                ctx.micro_step = ctx.cells[self.mini_step]
        self._run((*self.spec.before, None, *self.spec.after), self.gradient)
        return self._finish()

    def unfinished(self) -> Draft:
        """What there is of the program; never compiled, since a mistake was reported."""
        self.ctx.frame = self.ctx.step
        del self.ctx.frame.blocks[1:]
        return self._finish()

    def _oracle(self, oracle: str) -> Value:
        where = syntax.Name(self.spec.span, self.spec.name)
        name = "g" if oracle == "grad" else "loss"
        return ask(self.ctx, oracle, self.ctx.weights, None, where, name)

    # ---- stages in order; None stands for the groups

    def _run(self, stages: tuple[SpecStage | None, ...], signal: Value) -> None:
        ctx = self.ctx
        for place, stage in enumerate(stages):
            if stage is None:
                signal = self._groups(signal)
            elif stage.kind == "accumulate":
                self._accumulate(stage, stages[place + 1 :], signal)
                return
            else:
                with ctx.in_stage(stage.index):
                    ctx.place = stage.syntax.rule.span
                    signal = self._stage(stage, signal)
        self.step = signal
        verdicts = self._verdicts()
        self._observe_all()
        self._guard(verdicts)

    def _stage(self, stage: SpecStage, signal: Value) -> Value:
        match stage.kind:
            case "perturb" | "clip" | "precondition":
                return self._transform(stage, signal, {"g": signal, "w": self.ctx.weights})
            case "decay":
                return self._transform(stage, signal, {"u": signal, "w": self.ctx.weights})
            case "tune":
                return self._tune(stage, signal)
            case "constrain" | "average":
                return self._after_step(stage, signal)
            case "guard":
                self.guards.append(stage)
        return signal

    def _transform(self, stage: SpecStage, signal: Value, signals: dict[str, Value]) -> Value:
        result = self._limited(stage, signal, lambda: self._rule(stage, signals))
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
        if value.type.is_field and (value.type.dtype, value.type.per) == ("float", "element"):
            return value
        message = f"this `{stage.kind}` rule returns {value.type}; the stage needs a field"
        self.report.add(WRONG_RETURN.at(stage.syntax.rule.span, message))
        return MISTAKE

    def _rule(self, stage: SpecStage, signals: dict[str, Value]) -> Value:
        """The result of the rule that a stage names."""
        call = _as_call(stage.syntax.rule)
        if call is None or not isinstance(call.function, syntax.Name):
            message = f"a `{stage.kind}` stage names one rule"
            help = f"write `{stage.kind} NAME(...)`"
            self.report.add(TYPE_MISMATCH.at(stage.syntax.rule.span, message, help=help))
            return MISTAKE
        name = call.function
        found = self.spec.declarations.find(stage.kind, name.id)
        if found is None:
            if stage.kind in syntax.KINDS:
                self._unknown_rule(stage.kind, name)
            return MISTAKE
        site = replace(self._site(stage), result=self._result_name(stage))
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

    def _unknown_rule(self, kind: str, name: syntax.Name) -> None:
        known = self.spec.declarations.names(kind)
        help = did_you_mean(name.id, known)
        if help is None and (kinds := self.spec.declarations.kinds_of(name.id)):
            help = f"`{name.id}` is {a_kind(kinds[0])}"
        if help is None and (shelf := library_names(kind)):
            help = f"the library has {', '.join(f'`{n}`' for n in shelf)}"
        message = f"no {kind} rule is named `{name.id}`"
        fix = correction(name.span, known)
        self.report.add(UNKNOWN_RULE.at(name.span, message, label="not a rule", help=help, fix=fix))

    def _site(self, stage: SpecStage) -> Site:
        self._enter_hyperparameters()
        return Site("stage", stage.label, {}, self.spec.declarations)

    def _enter_hyperparameters(self) -> None:
        for name in self.ctx.hyperparameters:
            value = self.ctx.hyperparameter(name)
            self.scope.names.setdefault(name, Binding("parameter", None, value))

    # ---- groups

    def _groups(self, signal: Value) -> Value:
        ctx, groups = self.ctx, self.spec.groups
        if not groups:
            return signal
        results: list[tuple[int, Value, Value | None, Value | None]] = []
        outer = self.direction, self.eta
        for group in groups:
            own = signal
            self.direction, self.eta = outer
            with ctx.in_domain(group.domain):
                for stage in group.stages:
                    with ctx.in_stage(stage.index):
                        ctx.place = stage.syntax.rule.span
                        own = self._stage(stage, own)
            given = self.direction or own
            self.group_values[group.name] = {"u": given} | ({"eta": self.eta} if self.eta else {})
            results.append((group.domain, own, self.direction, self.eta))
        self._refuse_leftovers()
        *firsts, (_, result, direction, eta) = results
        for domain, own, own_direction, own_eta in reversed(firsts):
            result = self._merged(domain, own, result)
            if direction and own_direction:
                direction = self._merged(domain, own_direction, direction)
            if eta and own_eta:
                eta = self._merged(domain, own_eta, eta)
        self.direction, self.eta = direction, eta
        return result

    def _merged(self, domain: int, inside: Value, outside: Value) -> Value:
        if inside.type.is_unknown or outside.type.is_unknown:
            return MISTAKE
        return self.ctx.merge(domain, inside, outside)

    def _refuse_leftovers(self) -> None:
        """Tensors that fall into no group are refused when a state is made."""
        ctx = self.ctx
        terms = [ctx.domains[g.domain].predicate for g in self.spec.groups]
        if self.spec.groups[-1].name == "rest":
            return
        left = Term(op="not", arguments=(terms[0],))
        for term in terms[1:]:
            left = Term(op="and", arguments=(left, Term(op="not", arguments=(term,))))
        domain = ctx.add_domain("leftover_tensors", left)
        with ctx.in_stage(0):
            ctx.refuse_tensors(domain, "a tensor falls into no group; add `group rest { ... }`")

    # ---- the step

    def _tune(self, stage: SpecStage, signal: Value) -> Value:
        ctx = self.ctx
        signals = {"u": signal, "g": self.gradient, "w": ctx.weights}
        self._enter_hyperparameters()
        site = Site("tune", stage.label, signals, self.spec.declarations)
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

    def _after_step(self, stage: SpecStage, step: Value) -> Value:
        old = self._next_weights(step)
        signals = self._step_signals() | {"w_next": old}
        result = self._limited(stage, old, lambda: self._rule(stage, signals))
        self.weights_next = self._field(stage, result)
        if stage.kind == "average":
            self._keep_evaluation()
        return step

    def _next_weights(self, step: Value) -> Value:
        if self.weights_next is not None:
            return self.weights_next
        if step.type.is_unknown:
            return MISTAKE
        return self.ctx.apply("sub", self.ctx.weights, step, name="w_next")

    def _step_signals(self) -> dict[str, Value]:
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

    # ---- the step as a whole

    def _accumulate(
        self, stage: SpecStage, rest: tuple[SpecStage | None, ...], signal: Value
    ) -> None:
        ctx = self.ctx
        with ctx.in_stage(stage.index):
            count = self._micro_batches(stage)
            if count.type.is_unknown or signal.type.is_unknown:
                return
            total = self._own_state(stage, "gradient", FIELD)
            seen = self.mini_step
            summed = ctx.apply("add", ctx.cells[total], signal, name="gradient")
            now = ctx.apply("add", ctx.cells[seen], ctx.constant(1), name="mini_step")
            last = ctx.apply("ge", now, count, name="last")
        ctx.cells[total], ctx.cells[seen] = summed, now

        def finish() -> None:
            with ctx.in_stage(stage.index):
                mean = ctx.apply("div", summed, count, name="g")
                ctx.cells[total] = ctx.node("zeros", (ctx.weights,), FIELD)
                ctx.cells[seen] = ctx.constant(0)
            # Below here `g` is the mean: a value that is not finite in any micro-batch shows in it.
            self.gradient = mean
            ctx.accumulated = True
            ctx.pipeline_depth += 1
            self._run(rest, mean)
            ctx.pipeline_depth -= 1
            self._into_cells(results)

        def wait() -> None:
            pass

        results = self._result_cells(rest)
        ctx.branch(last, finish, wait)
        self._out_of_cells(results)
        self.applied = ctx.apply("and", self.applied, last) if self.applied else last

    def _micro_batches(self, stage: SpecStage) -> Value:
        site = self._site(stage)
        count = expressions.expression(
            self.ctx, site, self.scope, stage.syntax.rule, "micro_batches"
        )
        if count.type.is_unknown:
            return count
        fixed = count.type.is_scalar and count.type.static and count.type.dtype == "int"
        if not fixed or (isinstance(count.constant, int) and count.constant < 1):
            message = "`accumulate` takes a fixed whole number of micro-batches, at least 1"
            self.report.add(BAD_ACCUMULATE.at(stage.syntax.rule.span, message))
            return MISTAKE
        return count

    def _own_state(self, stage: SpecStage, name: str, type: Type) -> int:
        """A state that the compiler keeps for a stage; fields start as zeros."""
        ctx = self.ctx
        with ctx.in_frame(ctx.start):
            start = ctx.node("zeros", (ctx.weights,), type) if type.is_field else ctx.constant(0)
        ctx.starts.append(start)
        ctx.slots.append(Slot(stage=stage.label, name=name, type=type))
        number = len(ctx.slots) - 1
        cell = Cell(type, name, number)
        return ctx.new_cell(cell, ctx.read(number, cell))

    def _result_cells(self, rest: tuple[SpecStage | None, ...]) -> dict[str, int]:
        """Cells that carry results out of the branch that applies the mean."""
        ctx = self.ctx
        replaces = any(s is not None and s.kind in ("constrain", "average") for s in rest)
        if replaces:
            cells = {"weights": ctx.new_cell(Cell(FIELD, "w_next"), ctx.weights)}
        else:
            still = ctx.node("zeros", (ctx.weights,), FIELD)
            cells = {"step": ctx.new_cell(Cell(FIELD, "step"), still)}
        guarded = any(s.kind == "guard" for s in self._all_stages())
        if guarded:
            cells["applied"] = ctx.new_cell(Cell(BOOL, "applied"), ctx.constant(False))
        for observe in self.spec.observes:
            cell = Cell(SCALAR, observe.name)
            cells[f"observed {observe.name}"] = ctx.new_cell(cell, self._nan())
        return cells

    def _all_stages(self) -> tuple[SpecStage, ...]:
        return (*self.spec.before, *self.spec.after)

    def _into_cells(self, cells: dict[str, int]) -> None:
        values: dict[str, Value | None] = {"step": self.step, "weights": self.weights_next}
        values["applied"] = self.applied
        values |= {f"observed {name}": value for name, value in self.observed.items()}
        for key, cell in cells.items():
            value = values.get(key)
            if value is not None:
                self.ctx.cells[cell] = value

    def _out_of_cells(self, cells: dict[str, int]) -> None:
        current = {key: self.ctx.cells[cell] for key, cell in cells.items()}
        self.step = current.get("step", self.step)
        self.weights_next = current.get("weights", self.weights_next)
        self.applied = current.get("applied")
        self.observed = {
            key.removeprefix("observed "): value
            for key, value in current.items()
            if key.startswith("observed ")
        }

    def _verdicts(self) -> list[Value]:
        """What the guards say, wherever they stand: each sees the whole step."""
        found = []
        for stage in self.guards:
            with self.ctx.in_stage(stage.index):
                self.ctx.place = stage.syntax.rule.span
                found.append(self._guard_value(stage))
        return found

    def _guard_value(self, stage: SpecStage) -> Value:
        ctx = self.ctx
        signals = self._step_signals() | {"g": self.gradient, "loss": self.loss}
        signals["w_next"] = self._next_weights(self.step)
        value = self._rule(stage, signals)
        if value.type.is_unknown or (value.type.is_scalar and value.type.dtype == "bool"):
            return value
        message = f"this `guard` rule returns {value.type}; the stage needs a condition"
        ctx.report.add(WRONG_RETURN.at(stage.syntax.rule.span, message))
        return MISTAKE

    def _guard(self, verdicts: list[Value]) -> None:
        """Keep everything as it was where a guard says no."""
        ctx = self.ctx
        if not verdicts:
            return
        with ctx.in_stage(self.guards[0].index):
            ok = verdicts[0]
            for other in verdicts[1:]:
                ok = ctx.apply("and", ok, other)
            for key, cell in ctx.cell_info.items():
                slot = cell.slot
                if slot < 0 or key not in ctx.cells or ctx.slots[slot].stage == "accumulate":
                    continue
                old = ctx.read(slot, cell)
                if ctx.cells[key].id != old.id:
                    with ctx.in_domain(cell.type.domain):
                        new = ctx.apply("where", ok, ctx.cells[key], old, name=cell.name)
                        ctx.cells[key] = new
            if self.weights_next is not None:
                kept = ctx.apply("where", ok, self.weights_next, ctx.weights, name="w_next")
                self.weights_next = kept
            else:
                zero = ctx.constant(0.0)
                self.step = ctx.apply("where", ok, self.step, zero, name="step")
        self.applied = ok

    # ---- observations

    def _nan(self) -> Value:
        return self.ctx.node("nan", (), SCALAR)

    def _observe_all(self) -> None:
        accumulated, self.ctx.accumulated = self.ctx.accumulated, False
        for observe in self.spec.observes:
            with self.ctx.in_stage(observe.index):
                self.ctx.place = observe.syntax.value.span
                self.observed[observe.name] = self._observe(observe)
        self.ctx.accumulated = accumulated

    def _observe(self, observe: SpecObserve) -> Value:
        ctx = self.ctx
        self._enter_hyperparameters()
        signals = self._step_signals() | {"g": self.gradient, "loss": self.loss}
        group = next((g for g in self.spec.groups if g.name == observe.group), None)
        if group is None or self.weights_next is not None:
            signals["w_next"] = self._next_weights(self.step)
        signals |= self.group_values.get(observe.group, {})
        site = Site("observe", observe.name, signals, self.spec.declarations)
        with ctx.in_domain(group.domain if group else 0):
            if observe.syntax.every is None:
                return self._observed(site, observe)
            period = expressions.number(ctx, site, self.scope, observe.syntax.every)
            value = ctx.branch(
                every(ctx, period),
                lambda: self._observed(site, observe),
                self._nan,
                name=observe.name,
            )
        return value or MISTAKE

    def _observed(self, site: Site, observe: SpecObserve) -> Value:
        ctx = self.ctx
        value = expressions.expression(ctx, site, self.scope, observe.syntax.value, observe.name)
        if value.type.is_unknown:
            return MISTAKE
        if not value.type.is_scalar or value.type.dtype == "bool":
            message = f"`observe` reports one number; this is {value.type}"
            help = "reduce it: `norm(...)`, `mean(...)`" if value.type.is_field else None
            return ctx.mistyped(observe.syntax.value.span, message, help)
        return ctx.as_float(value)

    # ---- the program

    def _finish(self) -> Draft:
        ctx, spec = self.ctx, self.spec
        results: list[tuple[Output, Value]] = []
        if self.weights_next is not None:
            results.append((Output(role="weights"), self.weights_next))
        else:
            results.append((Output(role="step"), self.step))
        for key, cell in sorted(ctx.cell_info.items()):
            if cell.slot >= 0 and key in ctx.cells:
                value = self._rounded(cell.slot, ctx.cells[key])
                results.append((Output(role="slot", index=cell.slot), value))
        results.append((Output(role="loss"), self.loss))
        if self.applied is not None:
            results.append((Output(role="applied"), self.applied))
        for name, value in self.observed.items():
            results.append((Output(role="observed", name=name), value))
        return Draft(
            name=spec.name,
            doc=spec.doc,
            file=spec.file,
            hyperparameters=tuple(ctx.hyperparameters.values()),
            domains=tuple(ctx.domains),
            stages=spec.stages,
            slots=tuple(ctx.slots),
            start=ctx.start.region(ctx.starts),
            step=ctx.step.region([v for _, v in results]),
            refusals=tuple(ctx.refusals),
            outputs=tuple(output for output, _ in results),
            evaluation=self.region_of_evaluation,
        )

    def _rounded(self, slot: int, value: Value) -> Value:
        if slot not in self.ctx.stochastic:
            return value
        return self.ctx.random("round_stochastic", value, value.type)


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
