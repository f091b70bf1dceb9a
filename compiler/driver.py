"""The way of a spec, in order: find, parse, gather, resolve, lower, pass, plan, print."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostic, Diagnostics, SpecError, declare, did_you_mean
from ..grammar.parse import parse
from ..grammar.source import Source, Span
from . import library
from .declarations import Declarations, OpenUse, gather
from .graph import Graph, Hyperparameter, Scalar, walk
from .lowering.pipeline import lower
from .parameters import OUT_OF_RANGE, Bounds
from .resolve import resolve
from .rules import check_rules
from .structure import check_structure, observed_names

NO_OPTIMIZER = declare(
    "no-optimizer",
    "a spec without the optimizer that is asked for",
    """
    Only an `optimizer` compiles to a program; rules, schedules and functions are its parts. A file
    may hold several optimizers: `FILE.opt:NAME` names one, and without a name the last is meant.
    """,
)
UNKNOWN_SETTING = declare(
    "unknown-setting",
    "a value is set that the optimizer does not have",
    """`--set NAME=VALUE` gives a hyperparameter of the optimizer another default.""",
)

MAX_BYTES = 1 << 20
"""Specs are refused when they are larger; what is read of them is bounded."""


class NotFound(Exception):  # noqa: N818 - it is an answer more than a fault
    """A spec that cannot be found or read; the message says what was looked for."""


@dataclass(frozen=True)
class Located:
    """A spec that was found: its text, the optimizer that is meant, the folder of its file."""

    source: Source
    name: str | None = None
    folder: Path | None = None
    allowed: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Summary:
    """What a compiled program does, for people."""

    stages: list[str]
    oracles: dict[str, int]
    state_bytes_per_weight: float
    hyperparameters: tuple[Hyperparameter, ...]


@dataclass(frozen=True)
class Compiled:
    """A program as text, the graph that it was printed from, and the warnings on the way."""

    name: str
    source: str
    graph: Graph
    summary: Summary
    diagnostics: tuple[Diagnostic, ...] = field(default=())


# ---- finding


def find(spec: str) -> Located:
    """The spec of a path, `path.opt:NAME`, or a name of the library.

    Raises NotFound with one line for a person.
    """
    path, _, name = spec.rpartition(":") if ".opt:" in spec else (spec, "", "")
    if path.endswith(".opt") or "/" in path:
        file = Path(path)
        return Located(Source(path, read(file)), name or None, file.resolve().parent)
    entry = library.file("optimizer", spec)
    if entry is not None:
        return Located(entry.span.source, spec)
    help = did_you_mean(spec, library.names("optimizer"))
    message = f"`{spec}` is neither a file that ends in .opt nor an optimizer of the library"
    raise NotFound(f"{message}; {help}" if help else message)


def read(file: Path) -> str:
    """The text of a spec file; raises NotFound where there is none that can be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{file}: {(error.strerror or str(error)).lower()}") from None
    # What is not UTF-8 becomes a replacement character, which the parser reports in its place.
    return data.decode("utf-8", errors="replace")


def open_use(located: Located) -> OpenUse:
    """How `use` reads files: in or below the first spec's folder, or where the caller allows."""

    def open(path: str, source: Source) -> Source:
        if located.folder is None:
            raise PermissionError(0, "a spec without a file cannot use files")
        if "\0" in path:
            raise PermissionError(0, "the path holds a null character")
        base = Path(source.name).resolve().parent
        file = (base / path).resolve()
        roots = (located.folder, *located.allowed)
        if not any(file.is_relative_to(root) for root in roots):
            raise PermissionError(0, "it lies outside the folder of the spec")
        if not path.endswith(".opt"):
            raise PermissionError(0, "a used file ends in .opt")
        try:
            return Source(_shown(file), read(file))
        except NotFound as error:
            raise FileNotFoundError(0, str(error).rpartition(": ")[2]) from None

    return open


def _shown(file: Path) -> str:
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


# ---- checking


def check(located: Located) -> Diagnostics:
    """Everything that is wrong or doubtful in a spec: every item of the file."""
    report = Diagnostics()
    file = parse(located.source, report)
    declarations = gather(file, open_use(located), report)
    observed = observed_names(file)
    for item in file.items:
        match item:
            case syntax.OptimizerDecl():
                check_structure(item, observed, report)
                lower(resolve(item, declarations, report), report)
            case syntax.RuleDecl() | syntax.ScheduleDecl() | syntax.FuncDecl():
                check_structure(item, observed, report)
    check_rules(file, declarations, report)
    if located.name is not None:
        _choose(located, file, report)
    return report


def _choose(
    located: Located, file: syntax.File, report: Diagnostics
) -> syntax.OptimizerDecl | None:
    """The optimizer that is meant: the named one, or the last."""
    optimizers = [i for i in file.items if isinstance(i, syntax.OptimizerDecl)]
    named = [o for o in optimizers if located.name in (None, o.name.id)]
    if named:
        return named[-1]
    known = ", ".join(f"`{o.name.id}`" for o in optimizers)
    wanted = f" `{located.name}`" if located.name else ""
    message = f"`{located.source.name}` has no optimizer{wanted}"
    help = f"it has {known}" if known else None
    start = Span(located.source, 0, 0)
    report.add(NO_OPTIMIZER.at(start, message, help=help))
    return None


# ---- compiling


def compile_spec(located: Located, settings: Mapping[str, Scalar] | None = None) -> Compiled:
    """The program of a spec, as text. Raises SpecError with all diagnostics if any is an error.

    `settings` are other defaults for hyperparameters.
    """
    report = check(located)
    graph, declarations = _lowered(located, report)
    if report.has_errors or graph is None:
        raise SpecError(report.sorted())
    graph = _with_settings(graph, settings or {}, located, report)
    if report.has_errors:
        raise SpecError(report.sorted())
    assert declarations
    return print_program(graph, report.sorted())


def _lowered(located: Located, report: Diagnostics) -> tuple[Graph | None, Declarations | None]:
    file = parse(located.source, Diagnostics())
    declarations = gather(file, open_use(located), Diagnostics())
    decl = _choose(located, file, report)
    if decl is None or report.has_errors:
        return None, None
    return lower(resolve(decl, declarations, report), report), declarations


def print_program(graph: Graph, diagnostics: tuple[Diagnostic, ...] = ()) -> Compiled:
    """The module of a lowered graph, verified at each border."""
    from .passes import PIPELINE
    from .plan import plan
    from .printing.module import module_text
    from .view import verify

    verify(graph)
    for run in PIPELINE:
        graph = verify(run(graph))
    verify(graph, lean=True)
    text = module_text(plan(graph), version())
    return Compiled(graph.name, text, graph, summary(graph), diagnostics)


def version() -> str:
    """The version of this package."""
    from importlib.metadata import version

    return version("optc")


def _with_settings(
    graph: Graph, settings: Mapping[str, Scalar], located: Located, report: Diagnostics
) -> Graph:
    known = {h.name: h for h in graph.hyperparameters}
    start = Span(located.source, 0, 0)
    for name, value in settings.items():
        if name not in known:
            help = did_you_mean(name, known)
            message = f"`{graph.name}` has no hyperparameter `{name}`"
            report.add(UNKNOWN_SETTING.at(start, message, help=help))
            continue
        declared = known[name]
        problem = _misfit(declared, value)
        if problem:
            report.add(OUT_OF_RANGE.at(start, f"`{name}` is {value}; it {problem}"))
            continue
        fitted = float(value) if declared.kind == "float" else value
        known[name] = declared.model_copy(update={"default": fitted, "derived": None})
    return graph.model_copy(update={"hyperparameters": tuple(known.values())})


def _misfit(declared: Hyperparameter, value: Scalar) -> str | None:
    """What is asked of a value that does not fit its hyperparameter."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match declared.kind:
        case "float" if not is_number:
            return "must be a number"
        case "int" if not isinstance(value, int) or isinstance(value, bool):
            return "must be an integer"
        case "bool" if not isinstance(value, bool):
            return "must be true or false"
        case "str" if not isinstance(value, str):
            return "must be a text"
    limits = Bounds(declared.low, declared.high, declared.low_open, declared.high_open)
    if is_number and not limits.admits(float(value)):
        return limits.phrase()
    return None


def summary(graph: Graph) -> Summary:
    """What a program does: its stages, its oracles for each step, what it keeps."""
    counts: dict[str, int] = {}
    for node in walk(graph.step):
        if node.op in ("loss", "grad", "outputs", "outputs_grad", "pullback", "hvp", "curvature"):
            counts[node.op] = counts.get(node.op, 0) + 1
    widths = {None: 4.0, "bfloat16": 2.0, "float16": 2.0, "float32": 4.0, "float64": 8.0}
    kept = sum(
        widths[slot.dtype]
        for slot in graph.slots
        if slot.type.is_field and slot.type.per == "element"
    )
    stages = [f"{stage.line} | {stage.text}" for stage in graph.stages]
    return Summary(stages, counts, kept, graph.hyperparameters)


def emit_optax(compiled: Compiled) -> str:
    """A pipeline of optax's own transformations, where every stage has a twin.

    Comes with the work on parity; until then it is refused as not yet compiled.
    """
    from .declarations import NOT_YET

    source = Source(compiled.graph.file, "")
    message = "`--emit optax` is not there yet; it comes with the parity of every rule"
    raise SpecError([NOT_YET.at(Span(source, 0, 0), message)])
