"""The text of a program's module: kernels, main functions, and the program itself."""

from collections.abc import Callable, Collection, Iterator

from .. import predicate
from ..graph import Graph, Node, walk
from ..ops import ASKED, OPS, draws
from ..plan import Block, Kernel, Plan
from ..quoting import quoted, worded
from ..records import TRUE, Hyperparameter, Refusal, Stage, Term, distinct
from .expressions import literal
from .externs import extern_names, maker_lines, modules
from .function import Program, program, view_piece
from .hints import RESERVED, identifier
from .kernels import kernel_lines
from .layout import (
    INDENT,
    WIDTH,
    Chain,
    Labelled,
    Piece,
    call,
    docstring,
    lines,
    mapping,
    tuple_of,
)
from .lifting import kinds
from .mains import main_lines
from .names import kernel_names, kernels_of, taken_names
from .terms import term_text

_READ = 'h["{}"]'


def module_text(plan: Plan, version: str, without: Collection[str] = ()) -> str:
    """The module of a planned graph; the same plan gives the same bytes.

    It says by which version it was compiled, and `without` which passes.
    """
    taken = taken_names(plan)
    externs = extern_names(plan.nodes, taken)
    printer = _Module(program(plan, kernel_names(plan, taken), externs), version, without)
    return "\n".join(printer.rows()) + "\n"


def needs(graph: Graph) -> dict[str, str]:
    """Each oracle that the program uses, with the stage and spec line that first asks for it.

    The loss at the weights, which the report shows, counts only where a stage asks for it.
    """
    found: dict[str, str] = {}
    reported = {graph.step.results[i] for i, o in enumerate(graph.outputs) if o.role == "loss"}
    used = {i for node in walk(graph.step) for i in node.inputs}
    used |= {i for node in walk(graph.step) for region in node.regions for i in region.results}
    for node in walk(graph.step):
        oracle = {"curvature": "hvp", "ggn_curvature": "ggn"}.get(node.op, node.op)
        idle = node.op == "loss" and node.id in reported and node.id not in used
        if node.op in (*ASKED, "examples", "measured") and not idle:
            found.setdefault(oracle, _asker(graph, node))
    return found


def _asker(graph: Graph, node: Node) -> str:
    """The stage that asks, or the first one that uses what every step asks for."""
    users = [node, *(n for n in walk(graph.step) if node.id in n.inputs)]
    asking = next((n.stage for n in users if n.stage >= 0), -1)
    if asking < 0:
        return f"{graph.file} | optimizer {graph.name}"
    stage = graph.stages[asking]
    return f"{stage.place} | {stage.text}"


class _Module:
    def __init__(self, program: Program, version: str, without: Collection[str]) -> None:
        self.program = program
        self.plan = program.plan
        self.graph = program.graph
        self.version = version
        self.without = sorted(without)
        self.printed = self._printed_domains()
        self.kinds = kinds(self.graph, self.plan.nodes, self.printed)

    def rows(self) -> list[str]:
        body = [*self._hyperparameters(), *self._predicates(), *self._groups(), *self._lifting()]
        body += self._check()
        body += maker_lines(self.graph, self.plan.nodes, self.program.extern_names)
        body += self._function("start", self.plan.start, self._start)
        body += self._function("step", self.plan.step, self._step)
        if self.plan.evaluation is not None:
            body += self._function("evaluation", self.plan.evaluation, self._evaluation)
        body += self._program()
        return [*self._head(), *self._imports("\n".join(body)), *body]

    def _head(self) -> list[str]:
        summary = self.graph.doc or f"The optimizer `{self.graph.name}`."
        origin = (
            f"Compiled from `{self.graph.file}` by optc {self.version}. "
            "Comments show the lines of the spec."
        )
        origin += f"\nPasses left out: {', '.join(self.without)}." if self.without else ""
        return docstring(f"{summary}\n\n{origin}")

    def _imports(self, body: str) -> list[str]:
        rows = [""]
        rows += ["import jax"] if "jax." in body else []
        rows += ["import jax.numpy as jnp"] if "jnp." in body else []
        rows += [f"import {module}" for module in modules(self.plan.nodes)]
        return [*rows, "from optc import runtime as rt"]

    # ---- parts

    def _hyperparameters(self) -> list[str]:
        declared = tuple(_hyperparameter(p) for p in self.graph.hyperparameters)
        return ["", *lines(tuple_of(declared), 0, "HYPERPARAMETERS = ")]

    def _predicates(self) -> list[str]:
        rows: list[str] = []
        groups = self._group_predicates()
        for number in sorted(self.printed | groups.keys()):
            domain = self.graph.domains[number]
            if number in groups:
                rows += groups[number]
                continue
            rows += ["", "", f"def in_{domain.name}({_given(domain.predicate)}):"]
            rows += _condition(domain.predicate)
        return rows

    def _printed_domains(self) -> set[int]:
        """The sets of tensors that the program asks for, and all that they are part of."""
        used = {d for k in self._all_kernels() for d in k.masks} | self._domains_in_main()
        wanted = set(used)
        for number in used:
            while number:
                wanted.add(number)
                number = self.graph.domains[number].parent
        return wanted

    def _mask(self, number: int) -> Piece:
        """A domain as a set of tensors: what its predicate chooses of its parent's."""
        domain = self.graph.domains[number]
        within = [self._mask(domain.parent)] if domain.parent else []
        view = [view_piece(domain.view, _READ)] if domain.view is not None else []
        h = ["h=h"] if predicate.asks_parameters(domain.predicate) else []
        return call("rt.mask", "w", f"in_{domain.name}", *within, *view, *h)

    def _all_kernels(self) -> list[Kernel]:
        return list(self.program.kernel_names)

    def _domains_in_main(self) -> set[int]:
        nodes = self.plan.nodes.values()
        found = {n.type.domain for n in nodes if OPS[n.op].op_class in ("fill", "random")}
        found |= {r.domain for r in self.graph.refusals if r.domain is not None}
        found |= {s.domain for s in self.graph.stages if self._is_limited(s)}
        return found - {0}

    # ---- groups

    def _is_limited(self, stage: Stage) -> bool:
        """Whether `where` limits a stage: its tensors are not simply those of its group."""
        domains = self.graph.domains
        own = domains[stage.domain]
        # The group as its rules see it. What a stage chooses of that may have the same parent.
        seen = own.view is not None and domains[own.parent].view is None
        arranged = seen and own.predicate == TRUE
        whole = {0, *(group.domain for group in self.graph.groups)}
        return stage.domain not in whole and not arranged

    def _takers(self) -> dict[int, str]:
        """The function that says what each group would take, by the group's domain."""
        domains = self.graph.domains
        taken = {self.graph.name, *(f"in_{domain.name}" for domain in domains)}
        found: dict[int, str] = {}
        for group in self.graph.groups:
            if group.predicate is not None:
                name = f"in_{domains[group.domain].name}"
                if domains[group.domain].predicate != group.predicate:
                    name = distinct(f"is_{group.name}", taken)
                taken.add(name)
                found[group.domain] = name
        return found

    def _group_predicates(self) -> dict[int, list[str]]:
        """The functions that choose each group's tensors, by domain: what no earlier one takes."""
        takers = self._takers()
        found: dict[int, list[str]] = {}
        earlier: list[str] = []
        for group in self.graph.groups:
            whole = self.graph.domains[group.domain]
            name = f"in_{whole.name}"
            own, asked, rows = takers.get(group.domain), "", []
            if own is not None and group.predicate is not None:
                asked = f"{own}({_given(group.predicate)})"
                rows += ["", "", f"def {asked}:", *_condition(group.predicate)]
            if own != name:
                parts = [asked] if asked else []
                parts += [f"not {call}" for call in earlier]
                rows += ["", "", f"def {name}({_given(whole.predicate)}):"]
                rows += _joined("and", parts or ["True"])
            found[group.domain] = rows
            earlier += [asked] if asked else []
        return found

    def _groups(self) -> list[str]:
        """What a table of groups is made of: each group as declared, each limited stage."""
        takers = self._takers()
        declared: list[Piece] = []
        for group in self.graph.groups:
            pieces: list[Piece] = [quoted(group.name)]
            if group.predicate is not None:
                pieces += [f"takes={takers[group.domain]}", f"where={worded(group.where)}"]
                pieces += _with_h(group.predicate)
            pieces.append(f"line={quoted(group.place)}")
            if group.view is not None:
                pieces.append(Labelled("view=", view_piece(group.view, '"{}"')))
            declared.append(call("rt.Group", *pieces))
        limited = [self._limited(stage) for stage in self.graph.stages if self._is_limited(stage)]
        rows = ["", ""] if declared or limited else []
        rows += lines(tuple_of(declared), 0, "GROUPS = ") if declared else []
        return rows + (lines(tuple_of(limited), 0, "LIMITED = ") if limited else [])

    def _limited(self, stage: Stage) -> Piece:
        domain = self.graph.domains[stage.domain]
        group = (f"group={quoted(stage.group)}",) if stage.group else ()
        takes = f"in_{domain.name}"
        return call("rt.Limited", quoted(stage.label), takes, *group, *_with_h(domain.predicate))

    # ---- lifting

    def _lifting(self) -> list[str]:
        """The functions that say which tensors may lie together, and what tells them apart."""
        rows: list[str] = []
        for name, doc, sets in (
            ("matrices", "The tensors that go through work on matrices.", self.kinds.matrices),
            ("whole", "The tensors of which more than elements are seen.", self._whole()),
            ("sets", "What tells tensors apart that may lie together.", self.kinds.sets),
        ):
            if sets:
                rows += ["", "", f"def {name}(w, h):", f'{INDENT}"""{doc}"""']
                rows += lines(tuple_of([self._mask(number) for number in sets]), 1, "return ")
        return rows

    def _whole(self) -> tuple[int, ...]:
        """The sets of tensors that may not be packed, where others may."""
        return self.kinds.whole if self.kinds.packs else ()

    # ---- refusals

    def _refused_values(self) -> list[Refusal]:
        return [refusal for refusal in self.graph.refusals if refusal.domain is None]

    def _place(self, refusal: Refusal) -> str:
        return self.graph.stages[refusal.stage].place

    def _check(self) -> list[str]:
        refused = self._refused_values()
        rows = ["def check(h):", f'{INDENT}"""Raise ValueError for values that a rule refuses."""']
        for refusal in refused:
            message = f"{refusal.message} ({self._place(refusal)})"
            rows += _guarded(refusal.condition, call("ValueError", quoted(message)), "raise ")
        return ["", "", *rows] if refused else []

    # ---- functions

    def _function(self, which: str, block: Block, write: Callable[[Block], list[str]]) -> list[str]:
        rows: list[str] = []
        for kernel in kernels_of(self.plan, block):
            rows += ["", "", *kernel_lines(self.program, kernel)]
        return [*rows, "", "", *write(block)]

    def _start(self, block: Block) -> list[str]:
        head = ["def init(w, h):", f'{INDENT}"""The slots of a fresh state."""']
        for refusal in self.graph.refusals:
            if refusal.domain is not None:
                tensors, place = self._mask(refusal.domain), self._place(refusal)
                refuse = call("rt.refuse", "w", tensors, quoted(refusal.message), quoted(place))
                head += _guarded(refusal.condition, refuse)

        def result(value: Callable[[int], Piece]) -> Piece:
            pieces: list[tuple[str, str, Piece]] = []
            for slot, id in zip(self.graph.slots, block.results, strict=True):
                piece = value(id)
                if slot.dtype is not None:
                    piece = call("rt.stored", piece, quoted(slot.dtype))
                elif slot.wide:
                    piece = call("rt.widened", piece)
                pieces.append((slot.stage, slot.name, piece))
            return _slots(pieces)

        return main_lines(self.program, block, head, result)

    def _step(self, block: Block) -> list[str]:
        head = [
            "def step(w, slots, t, h, oracles):",
            f'{INDENT}"""One step from the weights `w`, the `t`-th."""',
        ]

        def result(value: Callable[[int], Piece]) -> Piece:
            entries: list[Piece] = []
            slots: list[tuple[int, Piece]] = []
            reported: dict[str, list[tuple[str, Piece]]] = {"observed": [], "requested": []}
            for output, id in zip(self.graph.outputs, block.results, strict=True):
                piece = value(id)
                match output.role:
                    case "slot":
                        slots.append((output.index, piece))
                    case "observed" | "requested":
                        reported[output.role].append((output.name, piece))
                    case role:
                        entries.append(Labelled(f"{role}=", piece))
            named = [
                (self.graph.slots[i].stage, self.graph.slots[i].name, piece)
                for i, piece in sorted(slots, key=lambda slot: slot[0])
            ]
            entries.append(Labelled("slots=", _slots(named)))
            entries += [
                Labelled(f"{r}=", mapping(values)) for r, values in reported.items() if values
            ]
            return call("rt.Outcome", *entries)

        return main_lines(self.program, block, head, result)

    def _evaluation(self, block: Block) -> list[str]:
        head = [
            "def evaluate(w, slots, t, h):",
            f'{INDENT}"""The weights to evaluate with, after the `t`-th step."""',
        ]
        return main_lines(self.program, block, head, lambda value: value(block.results[0]))

    def _program(self) -> list[str]:
        graph = self.graph
        random = any(draws(OPS[n.op]) for n in self.plan.nodes.values())
        reported = {
            role: tuple(quoted(o.name) for o in graph.outputs if o.role == role)
            for role in ("observed", "requested")
        }
        entries: list[Piece] = [
            f"name={quoted(graph.name)}",
            "doc=__doc__",
            f"source_file={quoted(graph.file)}",
            "hyperparameters=HYPERPARAMETERS",
            Labelled("needs=", mapping(_worded_values(needs(graph)))),
            "init=init",
            "step=step",
        ]
        entries += ["check=check"] if self._refused_values() else []
        entries += ["evaluate=evaluate"] if graph.evaluation else []
        entries += ["random=True"] if random else []
        entries += [Labelled(f"{r}=", tuple_of(names)) for r, names in reported.items() if names]
        entries += ["groups=GROUPS"] if graph.groups else []
        entries += ["limited=LIMITED"] if any(map(self._is_limited, graph.stages)) else []
        entries += ["matrices=matrices"] if self.kinds.matrices else []
        entries += ["packs=True"] if self.kinds.packs else []
        entries += ["whole=whole"] if self._whole() else []
        entries += ["sets=sets"] if self.kinds.sets else []
        entries += [f"lifting={quoted(graph.lifting)}"] if graph.lifting != "auto" else []
        roots = {module.partition(".")[0] for module in modules(self.plan.nodes)}
        name = identifier(graph.name, RESERVED | roots)
        return ["", "", *lines(call("rt.Program", *entries), 0, f"{name} = ")]


def _slots(entries: list[tuple[str, str, Piece]]) -> Piece:
    stages: dict[str, list[tuple[str, Piece]]] = {}
    for stage, name, piece in entries:
        stages.setdefault(stage, []).append((name, piece))
    return mapping([(stage, mapping(slots)) for stage, slots in stages.items()])


def _worded_values(entries: dict[str, str]) -> list[tuple[str, Piece]]:
    return [(key, worded(value)) for key, value in entries.items()]


def _hyperparameter(parameter: Hyperparameter) -> Piece:
    entries: list[Piece] = [quoted(parameter.name)]
    if parameter.derived is not None:
        entries.append(f"default=lambda h: {term_text(parameter.derived, _read)}")
    elif parameter.default is not None:
        entries.append(f"default={literal(parameter.default)[0]}")
    for bound in ("low", "high"):
        if (value := getattr(parameter, bound)) is not None:
            entries.append(f"{bound}={literal(value)[0]}")
            if getattr(parameter, f"{bound}_open"):
                entries.append(f"{bound}_open=True")
    if parameter.static:
        entries += ["static=True", f'type="{parameter.kind}"']
    entries.append(f"line={quoted(parameter.place)}")
    return call("rt.Hyperparameter", *entries)


def _guarded(condition: Term, statement: Piece, before: str = "") -> list[str]:
    """The lines of a statement that is for some values of hyperparameters only."""
    if condition == TRUE:
        return lines(statement, 1, before)
    first, *more = (term_text(part, _read, 5) for part in _conjuncts(condition))
    if not more and condition.op in ("or", "not"):
        first = first[1:-1]  # alone it needs no parentheses
    chain = Chain((first, *(f"and {part}" for part in more)))
    return [*lines(chain, 1, "if ", ":"), *lines(statement, 2, before)]


def _read(name: str) -> str:
    return f"h[{quoted(name)}]"


def _given(term: Term) -> str:
    """The parameters of a function that says whether a condition holds."""
    return "tensor, h" if predicate.asks_parameters(term) else "tensor"


def _with_h(term: Term) -> tuple[Piece, ...]:
    return ("with_h=True",) if predicate.asks_parameters(term) else ()


def _condition(term: Term) -> list[str]:
    """The lines that return a condition; patterns that make it too long get names."""
    text = predicate.python(term)
    if len(f"{INDENT}return {text}") <= WIDTH:
        return [f"{INDENT}return {text}"]
    rows: list[str] = []
    parts = [predicate.python(part, 5) for part in _chain(term, term.op)]
    for pattern in dict.fromkeys(_patterns(term)):
        name = f"pattern_{len(rows) + 1}" if rows else "pattern"
        rows.append(f"{INDENT}{name} = {pattern}")
        parts = [part.replace(pattern, name) for part in parts]
    return [*rows, *_joined(term.op, parts)]


def _patterns(term: Term) -> Iterator[str]:
    """The literal patterns of a condition, as they are printed."""
    if term.op == "matches":
        yield predicate.python(term.terms[1])
    else:
        for inner in term.terms:
            yield from _patterns(inner)


def _joined(op: str, parts: list[str]) -> list[str]:
    """The lines that return the parts joined by `and` or `or`."""
    first, *more = parts
    return lines(Chain((first, *(f"{op} {part}" for part in more))), 1, "return ")


def _conjuncts(term: Term) -> list[Term]:
    """What must hold, all of it; that none of several things holds is that each does not."""
    if term.op == "and":
        return [each for part in term.terms for each in _conjuncts(part)]
    if term.op == "not":
        (inner,) = term.terms
        if inner.op == "or":
            return [each for x in inner.terms for each in _conjuncts(Term("not", (x,)))]
        if inner.op in predicate.OPPOSITES:
            return [Term(predicate.OPPOSITES[inner.op], inner.arguments)]
    return [term]


def _chain(term: Term, op: str) -> list[Term]:
    if term.op != op or op not in ("and", "or"):
        return [term]
    left, right = term.terms
    return [*_chain(left, op), right]
