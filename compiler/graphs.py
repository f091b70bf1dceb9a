"""From a spec that was found to its graph, as it was written and as it is executed.

The way, in order: parse, gather, resolve, lower (all in `check`), freeze, passes. What only reads
graphs starts here, and does not import what prints them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..grammar.diagnostic import Diagnostic, Diagnostics, SpecError
from .allow import without_allowed
from .budget.places import places, started
from .check import chosen, lowered
from .coverage import bounds
from .freeze import freeze
from .graph import Graph
from .locate import Located
from .passes import SIMPLIFYING
from .passes.contracts import remaining
from .questions import Times, questions
from .rearrange import words
from .records import BYTES, TRUE, Hyperparameter, Scalar, Slot, Term
from .settings import with_settings
from .types import Dims, lengths
from .verify import verify


@dataclass(frozen=True)
class Summary:
    """What a compiled program does, for people."""

    stages: list[str]
    asked: dict[str, Times]
    state_bytes_per_weight: tuple[float, float]
    """For the tensors that have the least, and for those that have the most."""
    state_bytes_per_matrix: tuple[tuple[Dims, int], ...]
    """What matrices and vectors take that are not shaped like the weights, by their shapes."""
    hyperparameters: tuple[Hyperparameter, ...]

    @property
    def oracles(self) -> dict[str, float]:
        """How often a step asks each oracle, at most."""
        return {name: times.most for name, times in self.asked.items()}

    @property
    def state(self) -> str:
        """The bytes for each weight: `8`, or `0 to 4`."""
        least, most = self.state_bytes_per_weight
        return f"{most:g}" if least == most else f"{least:g} to {most:g}"

    @property
    def matrices(self) -> str:
        """The bytes for each matrix beside those: `8 rows^2 + 4 cols * rank`; empty for none."""
        parts = (f"{width} {_product(dims)}" for dims, width in self.state_bytes_per_matrix)
        return " + ".join(parts)


def lowered_graph(
    located: Located,
    settings: Mapping[str, Scalar] | None = None,
    observe: Mapping[str, str] | None = None,
) -> tuple[Graph, tuple[Diagnostic, ...]]:
    """The graph of a spec as it was written, before any pass, and what there is to warn of.

    Raises SpecError with all diagnostics if any is an error.
    """
    report = Diagnostics()
    draft = chosen(located, lowered(located, report, observe), report)
    if draft is not None and not report.has_errors:
        draft = with_settings(draft, settings or {}, located, report)
    findings = without_allowed(report, located.source).sorted()
    if draft is None or report.has_errors:
        raise SpecError(findings)
    return freeze(draft), findings


def optimised(graph: Graph, without: Collection[str] = ()) -> Graph:
    """A lowered graph after all passes, verified at each border: what is executed.

    `without` names passes that are left out. Raises UnknownPassError for what is none.
    """
    verify(graph)
    for run in remaining(without):
        graph = verify(run(graph))
    return verify(graph, lean="dead_code" not in without)


def simplified(graph: Graph) -> Graph:
    """A lowered graph after the passes that keep its formulas as they were written."""
    verify(graph)
    for run in SIMPLIFYING:
        graph = verify(run(graph))
    return graph


def summary(graph: Graph) -> Summary:
    """What a program does: its stages, its oracles for each step, what it keeps."""
    defaults = {h.name: h.default for h in graph.hyperparameters if h.default is not None}
    sizes, histories = places(graph, defaults), started(graph)
    kept: list[tuple[Term, float]] = []
    matrices: dict[Dims, int] = {}
    for number, slot in enumerate(graph.slots):
        if slot.type.kind not in ("field", "history") or slot.type.per != "element":
            continue
        times = sizes.get(histories[number].id, 1) if number in histories else 1
        condition, width = _condition(graph, slot.type.domain), _width(slot) * times
        if slot.type.dims is None:
            kept.append((condition, width))
        elif bounds([(condition, 1)])[1]:
            matrices[slot.type.dims] = matrices.get(slot.type.dims, 0) + width
    refused = [
        _condition(graph, refusal.domain)
        for refusal in graph.refusals
        if refusal.domain is not None and refusal.condition == TRUE
    ]
    stages = [stage.shown(graph.file) for stage in graph.stages]
    state = bounds(kept, refused), tuple(matrices.items())
    return Summary(stages, questions(graph), *state, graph.hyperparameters)


def _product(dims: Dims) -> str:
    names = lengths(dims)
    squared = len(names) == 2 and names[0] == names[1]
    return f"{names[0]}^2" if squared else " * ".join(names)


def _width(slot: Slot) -> int:
    """Bytes of a number as it is stored; weights are taken to be float32."""
    return 1 if slot.type.dtype == "bool" else BYTES[slot.dtype or "float32"]


def _condition(graph: Graph, number: int) -> Term:
    """Which tensors are in a domain, by all that is asked of them."""
    domain = graph.domains[number]
    asked = domain.predicate
    if domain.view is not None:
        # It is asked of the view, whose shape is not the tensor's.
        asked = Term("viewed", (words(domain.view), asked))
    return Term("and", (_condition(graph, domain.parent), asked)) if number else asked
