"""The pipeline of stages: the signal from the gradient to the weights."""

from typing import Literal

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, declare
from ..records import Output, Slot
from ..spec import Spec, SpecObserve, SpecStage
from ..types import BOOL, FIELD, INT, SCALAR, Type
from . import expressions, views
from .builder import MISTAKE, Cell, TooLargeError, Value
from .context import Context, Site
from .draft import Draft
from .operators import steps_of
from .oracles import ask
from .stages import WRONG_RETURN, Stages
from .statements import every

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
    The compiler stops at 100,000 operations, at 5,000 calls, and where calls stand in calls
    some fifty deep.
    """,
)


def lower(spec: Spec, report: Diagnostics) -> Draft:
    """The program of a spec. Mistakes in rules and arguments are reported; it then has gaps."""
    pipeline = _Pipeline(spec, report)
    try:
        return pipeline.draft()
    except (TooLargeError, RecursionError) as error:
        # Python's stack ends where calls stand in calls in calls, a hundred deep.
        bound = error if isinstance(error, TooLargeError) else "calls too deep inside each other"
        message = f"the optimizer `{spec.name}` expands to {bound}"
        report.add(TOO_LARGE.at(spec.span, message))
        return pipeline.unfinished()


class _Pipeline:
    def __init__(self, spec: Spec, report: Diagnostics) -> None:
        self.spec = spec
        self.report = report
        self.ctx = Context(report, {h.name: h for h in spec.hyperparameters}, list(spec.domains))
        self.stages = Stages(spec, report, self.ctx)
        self.mini_step = -1
        self.loss = MISTAKE
        self.guards: list[SpecStage] = []
        self.observed: dict[str, Value] = {}
        self.step: Value = MISTAKE
        self.applied: Value | None = None

    def draft(self) -> Draft:
        ctx = self.ctx
        for name in ctx.hyperparameters:
            ctx.parameter_names[ctx.hyperparameter(name).id] = name
        self.loss = self._oracle("loss")
        self.stages.gradient = self._oracle("grad")
        for stage in self._all_stages():
            if stage.kind == "accumulate":
                # Random fields of the stages above differ in each micro-step.
                self.mini_step = self._own_state(stage, "mini_step", INT)
                ctx.micro_step = ctx.cells[self.mini_step]
        self._run((*self.spec.before, None, *self.spec.after), self.stages.gradient)
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
                signal = self.stages.groups(signal)
            elif stage.kind == "guard":
                self.guards.append(stage)
            elif stage.kind == "accumulate":
                self._accumulate(stage, stages[place + 1 :], signal)
                return
            else:
                with ctx.in_stage(stage.index):
                    ctx.place = stage.syntax.rule.span
                    signal = self.stages.run(stage, signal)
        self.step = signal
        verdicts = self._verdicts()
        self._observe_all()
        self._guard(verdicts)

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
            now = ctx.apply("add", ctx.cells[seen], ctx.constant(1), name="mini_step")
            last = ctx.apply("ge", now, count, name="last")
            # It starts anew with the first of the batches, so that nobody has to clear it, and
            # ends as the mean, so that nobody has to store one.
            first = ctx.apply("eq", ctx.cells[seen], ctx.constant(0), name="first")
            added = ctx.apply("add", ctx.cells[total], signal)
            added = ctx.apply("where", first, signal, added)
            alone = ctx.constant(1.0)
            parts = ctx.apply("where", last, ctx.as_float(count), alone, name="parts")
            summed = ctx.apply("div", added, parts, name="gradient")
        ctx.cells[total], ctx.cells[seen] = summed, now

        def finish() -> None:
            with ctx.in_stage(stage.index):
                ctx.cells[seen] = ctx.constant(0)
            # Below here `g` is the mean: a value that is not finite in any micro-batch shows in it.
            self.stages.gradient = summed
            ctx.accumulated = True
            ctx.pipeline_depth += 1
            self._run(rest, summed)
            ctx.pipeline_depth -= 1
            self._into_cells(results)
            for name, value in self.observed.items():
                results[f"observed {name}"] = ctx.new_cell(Cell(value.type, name), value)

        def wait() -> None:
            for name, value in self.observed.items():
                ctx.cells[results[f"observed {name}"]] = self._nothing(value)

        results = self._result_cells(rest)
        ctx.branch(last, finish, wait)
        self._out_of_cells(results)
        self.applied = ctx.apply("and", self.applied, last) if self.applied else last

    def _micro_batches(self, stage: SpecStage) -> Value:
        site = self.stages.site(stage)
        count = expressions.expression(
            self.ctx, site, self.stages.scope, stage.syntax.rule, "micro_batches"
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
        return cells

    def _all_stages(self) -> tuple[SpecStage, ...]:
        return (*self.spec.before, *self.spec.after)

    def _into_cells(self, cells: dict[str, int]) -> None:
        values: dict[str, Value | None] = {"step": self.step, "weights": self.stages.weights_next}
        values["applied"] = self.applied
        for key, cell in cells.items():
            value = values.get(key)
            if value is not None:
                self.ctx.cells[cell] = value

    def _out_of_cells(self, cells: dict[str, int]) -> None:
        current = {key: self.ctx.cells[cell] for key, cell in cells.items()}
        self.step = current.get("step", self.step)
        self.stages.weights_next = current.get("weights", self.stages.weights_next)
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
        signals = self.stages.step_signals() | {"g": self.stages.gradient, "loss": self.loss}
        signals["w_next"] = self.stages.next_weights(self.step)
        value = self.stages.rule(stage, signals)
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
                        ctx.cells[key] = self._kept(ok, ctx.cells[key], old, cell.name)
            if self.stages.weights_next is not None:
                kept = ctx.apply("where", ok, self.stages.weights_next, ctx.weights, name="w_next")
                self.stages.weights_next = kept
            else:
                zero = ctx.constant(0.0)
                self.step = ctx.apply("where", ok, self.step, zero, name="step")
        self.applied = ok

    def _kept(self, ok: Value, new: Value, old: Value, name: str) -> Value:
        if old.type.kind in ("opaque", "history"):
            return self.ctx.node("select", (ok, new, old), old.type, name=name)
        return self.ctx.apply("where", ok, new, old, name=name)

    # ---- observations

    def _nothing(self, due: Value) -> Value:
        """What stands for an observation that is not due: NaN for each of its numbers."""
        ctx, type = self.ctx, due.type
        if type.is_unknown:
            return MISTAKE
        if type.kind == "spectrum":
            steps = ctx.transplant(steps_of(ctx, due))
            return ctx.node("no_spectrum", (steps,), type)
        if type.is_field:
            with ctx.in_domain(type.domain):
                return ctx.node("nans", (ctx.weights,), type)
        return ctx.node("nan", (), SCALAR)

    def _observe_all(self) -> None:
        accumulated, self.ctx.accumulated = self.ctx.accumulated, False
        for observe in self.spec.observes:
            with self.ctx.in_stage(observe.index):
                self.ctx.place = observe.syntax.value.span
                self.observed[observe.name] = self._observe(observe)
        self.ctx.accumulated = accumulated

    def _observe(self, observe: SpecObserve) -> Value:
        ctx = self.ctx
        self.stages.enter_hyperparameters()
        signals = self.stages.step_signals() | {"g": self.stages.gradient, "loss": self.loss}
        group = next((g for g in self.spec.groups if g.name == observe.group), None)
        if group is None or self.stages.weights_next is not None:
            signals["w_next"] = self.stages.next_weights(self.step)
        signals |= self.stages.group_values.get(observe.group, {})
        with ctx.in_domain(group.domain if group else 0):
            signals = {name: views.arranged(ctx, value) for name, value in signals.items()}
            site = Site("observe", observe.name, signals, observe.declarations)
            if observe.syntax.every is None:
                return self._observed(site, observe)
            period = expressions.number(ctx, site, self.stages.scope, observe.syntax.every)
            due: list[Value] = []

            def look() -> Value:
                due.append(self._observed(site, observe))
                return due[0]

            def skip() -> Value:
                return self._nothing(due[0])

            value = ctx.branch(every(ctx, period), look, skip, name=observe.name)
        return value or MISTAKE

    def _observed(self, site: Site, observe: SpecObserve) -> Value:
        ctx = self.ctx
        value = expressions.expression(
            ctx, site, self.stages.scope, observe.syntax.value, observe.name
        )
        if value.type.is_unknown:
            return MISTAKE
        is_number = value.type.is_scalar
        needs = "asks for one number"
        if observe.syntax.word == "observe":
            is_number = is_number or value.type.kind == "spectrum"
            is_number = is_number or (value.type.is_field and value.type.per == "tensor")
            needs = "reports a number, or one for each tensor"
        if not is_number or value.type.dtype == "bool":
            message = f"`{observe.syntax.word}` {needs}; this is {value.type}"
            help = None
            if value.type.is_field:
                help = "reduce it: `norm(x)`, `mean(x, per = tensor)`"
                help = help if observe.syntax.word == "observe" else "reduce it: `norm(x)`"
            return ctx.mistyped(observe.syntax.value.span, message, help)
        return ctx.restricted(ctx.as_float(value))

    # ---- the program

    def _finish(self) -> Draft:
        ctx, spec = self.ctx, self.spec
        results: list[tuple[Output, Value]] = []
        if self.stages.weights_next is not None:
            results.append((Output(role="weights"), self.stages.weights_next))
        else:
            results.append((Output(role="step"), self.step))
        for key, cell in sorted(ctx.cell_info.items()):
            if cell.slot >= 0 and key in ctx.cells:
                # A value that was made elsewhere, such as the gradient, may have more tensors.
                with ctx.in_domain(cell.type.domain if cell.type.is_field else 0):
                    value = self._rounded(cell.slot, ctx.restricted(ctx.cells[key]))
                results.append((Output(role="slot", index=cell.slot), value))
        results.append((Output(role="loss"), self.loss))
        if self.applied is not None:
            results.append((Output(role="applied"), self.applied))
        for observe in spec.observes:
            role: Literal["observed", "requested"] = "observed"
            if observe.syntax.word == "request":
                role = "requested"
            results.append((Output(role=role, name=observe.name), self.observed[observe.name]))
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
            groups=tuple(group.declared for group in spec.groups),
            outputs=tuple(output for output, _ in results),
            assertions=spec.assertions,
            lifting=spec.lifting,
            evaluation=self.stages.region_of_evaluation,
            passages=tuple(self.stages.passages),
        )

    def _rounded(self, slot: int, value: Value) -> Value:
        if slot not in self.ctx.stochastic:
            return value
        return self.ctx.random("round_stochastic", (value,), value.type)
