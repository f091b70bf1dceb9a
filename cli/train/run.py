"""One run of `optc train`, from what it is asked for to what it says at the end."""

from dataclasses import dataclass
from pathlib import Path

from ...api.programs import program_of
from ...compiler.locate import Located
from ...compiler.recording import NORMS
from ...runtime import Optimizer, Program
from ...runtime.multi_output import prefer
from ...runtime.needs import check_objective
from ..output import CommandError, note, plural
from ..settings import Settings
from ..spec import locate
from .checkpoint import Checkpoints
from .folder import Folder
from .growth import Growth
from .loop import End, Outcome, Plan, start, train
from .metrics import Entry, Metrics
from .plot import draw
from .progress import Bar, numbers
from .record import Record, refuse_changes, versions
from .tasks import make
from .tasks.task import Task


@dataclass(frozen=True)
class Request:
    """The command line of `optc train`; None is what it does not say."""

    spec: str
    task: str | None
    steps: int | None
    seed: int | None
    batch_size: int | None
    settings: Settings
    out: Path | None
    resume: bool
    log_every: int | None
    checkpoint_every: int | None
    keep_going: bool
    record_norms: bool = False
    max_batch_size: int | None = None
    allow_extern: tuple[str, ...] = ()
    cache: bool = False


def run(request: Request) -> End:
    """Train, and print what came of it."""
    located = locate(request.spec, request.allow_extern)
    program = _program(located, request.record_norms, request.cache)
    task_name = request.task or "digits"
    root = request.out or Path("runs") / f"{program.name}-{task_name}"
    folder = Folder(root, program.name)
    prefer()  # as the first that starts JAX's backend
    if request.resume:
        before = Record.read(folder.record)
        if before.record_norms:
            program = _program(located, True, request.cache)
        record = _resumed(request, before, folder, program)
        task = _task(record.task, record.batch_size)
    else:
        folder.refuse_occupied()
        task = _task(task_name, request.batch_size)
        record = _new(request, task, program)
    _refuse_task(task, program)
    optimizer = _bind(program, record.settings)
    growth = _growth(program, task, record.max_batch_size)
    folder.create(located.source.text, program.source)
    record.write(folder.record)
    plan = _plan(record.steps, request)
    outcome = _train(request, record, folder, task, optimizer, plan, growth)
    entries = list(Metrics(folder.metrics))
    draw(entries, f"{record.optimizer} on {record.task}", folder.curve)
    _tell(outcome, record, folder, entries)
    return outcome.end


def _refuse_task(task: Task, program: Program) -> None:
    """Raise CommandError where the task's objective lacks what the optimizer asks for."""
    try:
        check_objective(task.objective, program.asked_by)
    except ValueError as error:
        # What follows tells how to write an objective, and that of a task is not theirs to write.
        missing = str(error).partition(";")[0]
        raise CommandError(f"{program.name} cannot train on {task.name}: {missing}") from error


def _program(located: Located, record_norms: bool, cache: bool) -> Program:
    return program_of(located, observe=NORMS if record_norms else None, cache=cache)


def _new(request: Request, task: Task, program: Program) -> Record:
    """The record of a run that starts now."""
    steps = request.steps or task.default_steps
    settings = dict(request.settings)
    total = program.hyperparameters.get("total")
    if total is not None and total.static and "total" not in settings:
        settings["total"] = steps
        note(f"total = {steps}, the number of steps (--set total=N chooses another)")
    return Record(
        optimizer=program.name,
        task=task.name,
        seed=request.seed or 0,
        batch_size=request.batch_size,
        steps=steps,
        settings=settings,
        versions=versions(),
        record_norms=request.record_norms,
        max_batch_size=request.max_batch_size,
    )


def _resumed(request: Request, record: Record, folder: Folder, program: Program) -> Record:
    """The record of the run in the folder, perhaps with more steps."""
    asked = {
        "optimizer": program.name,
        "task": request.task,
        "seed": request.seed,
        "batch_size": request.batch_size,
        "record_norms": request.record_norms or None,
        "max_batch_size": request.max_batch_size,
    }
    refuse_changes(record, asked, request.settings)
    folder.refuse_other_module(program.source)
    if record.versions != versions():
        note("warning: other versions of packages than at the start; see run.json for those")
    return record.model_copy(update={"steps": request.steps or record.steps})


def _task(name: str, batch_size: int | None) -> Task:
    try:
        return make(name, batch_size)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _growth(program: Program, task: Task, most: int | None) -> Growth | None:
    """How far the batches grow, where the optimizer requests it."""
    if "batch_size" not in program.requested:
        if most is not None:
            raise CommandError(f"{program.name} requests no batch size, so batches do not grow")
        return None
    try:
        return Growth.of(task, most)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _bind(program: Program, settings: Settings) -> Optimizer:
    try:
        return program(**settings)
    except (ValueError, TypeError) as error:
        raise CommandError(str(error)) from error


def _plan(steps: int, request: Request) -> Plan:
    return Plan(
        steps=steps,
        log_every=request.log_every or max(1, steps // 1000),
        evaluate_every=max(1, steps // 20),
        checkpoint_every=request.checkpoint_every or max(1, steps // 5),
    )


def _train(
    request: Request,
    record: Record,
    folder: Folder,
    task: Task,
    optimizer: Optimizer,
    plan: Plan,
    growth: Growth | None,
) -> Outcome:
    metrics = Metrics(folder.metrics)
    with Checkpoints(folder.checkpoints) as checkpoints:
        begin = checkpoints.newest(start(task, optimizer, record.seed, growth))
        work = f"{record.optimizer} on {record.task}, {plural(record.steps, 'step')}"
        after = f", resuming after step {begin.step}" if request.resume else ""
        note(f"{work}{after} -> {folder.root}")
        # A run that was killed has logged steps after its newest checkpoint; they are made again.
        seconds = metrics.cut(begin.step)
        with Bar(record.steps, begin.step) as bar:
            return train(
                task,
                optimizer,
                begin,
                plan,
                seed=record.seed,
                metrics=metrics,
                checkpoints=checkpoints,
                show=bar.show,
                growth=growth,
                stop_when_not_finite=not request.keep_going,
                seconds=seconds,
            )


def _tell(outcome: Outcome, record: Record, folder: Folder, entries: list[Entry]) -> None:
    match outcome.end:
        case End.DIVERGED:
            note(f"error: the loss is not finite at step {outcome.step} (--keep-going trains on)")
        case End.INTERRUPTED:
            note(f"interrupted after step {outcome.step}; --resume continues")
        case End.FINISHED:
            pass
    evaluations: list[dict[str, float]] = [{}]
    evaluations += [entry.evaluation for entry in entries if entry.evaluation]
    measured = numbers(entries[-1].loss, evaluations[-1])
    title = f"{record.optimizer} on {record.task}"
    print(f"{title}: {plural(outcome.step, 'step')}, {measured} -> {folder.root}")
