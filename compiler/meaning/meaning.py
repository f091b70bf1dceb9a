"""What a spec means, as text that can be kept: its digest, and the parts that it is made of.

Layout, comments, docstrings, names of stages and of values inside rules are no part of it. The
names that a user of the program sees are: of hyperparameters, states and reports.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

from ..graph import Frozen, Graph
from ..notation.formula import formula
from ..records import Hyperparameter
from .normal import normal_form


class Slot(Frozen):
    """A state: its stored dtype (null for that of the weights), digest and formula."""

    dtype: str | None
    digest: str
    formula: str


class Part(Frozen):
    """A result of a step: its digest and formula."""

    digest: str
    formula: str


class Meaning(Frozen):
    """What a program computes, and what its user calls by name."""

    hash: str
    map: str
    hyperparameters: dict[str, str]
    slots: dict[str, Slot]
    results: dict[str, Part]


def meaning(graph: Graph) -> Meaning:
    """The meaning of a lowered graph."""
    normal = normal_form(graph)
    written = dict(
        zip(((o.role, o.index, o.name) for o in graph.outputs), graph.step.results, strict=True)
    )
    slots = {}
    for number, (slot, digest) in enumerate(zip(graph.slots, normal.slots, strict=True)):
        text = formula(graph, written["slot", number, ""])
        slots[f"{slot.stage}.{slot.name}"] = Slot(dtype=slot.dtype, digest=digest, formula=text)
    digests = {"weights": normal.weights, "applied": normal.applied}
    if graph.evaluation is not None:
        digests["evaluation"] = normal.evaluation
    digests |= {f"observed {name}": digest for name, digest in normal.observed}
    formulas = {
        _result(o.role, o.name): formula(graph, id)
        for o, id in zip(graph.outputs, graph.step.results, strict=True)
    }
    results = {
        name: Part(digest=digest, formula=formulas.get(name, ""))
        for name, digest in digests.items()
    }
    parameters = {h.name: _declaration(h) for h in graph.hyperparameters}
    parts = (
        normal.digest,
        sorted(parameters.items()),
        sorted((name, str(slot.dtype), slot.digest) for name, slot in slots.items()),
        sorted((name, part.digest) for name, part in results.items()),
    )
    return Meaning(
        hash=sha256(repr(parts).encode()).hexdigest(),
        map=normal.digest,
        hyperparameters=parameters,
        slots=slots,
        results=results,
    )


def changes(old: Meaning, new: Meaning) -> list[str]:
    """What is different, one line for each part; nothing for equal hashes."""
    if old.hash == new.hash:
        return []
    found = [*_changed("hyperparameter", old.hyperparameters, new.hyperparameters)]
    dtypes = [{name: str(slot.dtype) for name, slot in m.slots.items()} for m in (old, new)]
    found += _changed("stored dtype of", *dtypes)
    for name in (n for n in old.slots if n in new.slots):
        found += _reformed(f"the state `{name}`", old.slots[name], new.slots[name])
    for name in (n for n in old.results if n in new.results):
        found += _reformed(f"the result `{name}`", old.results[name], new.results[name])
    found += _gone("result", old.results, new.results)
    return found or ["the map as a whole"]


def _changed(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    yield from _gone(what, old, new)
    for name in (n for n in old if n in new and old[n] != new[n]):
        yield f"{what} `{name}`: {old[name]} -> {new[name]}"


def _gone(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{what} `{name}` is gone" for name in old if name not in new)
    yield from (f"{what} `{name}` is new" for name in new if name not in old)


def _reformed(what: str, old: Slot | Part, new: Slot | Part) -> Iterator[str]:
    if old.digest == new.digest:
        return
    if old.formula == new.formula:
        yield f"{what}, by what its formula is made of: {new.formula}"
    else:
        yield f"{what}: {old.formula} -> {new.formula}"


def _result(role: str, name: str) -> str:
    if role in ("step", "weights"):
        return "weights"
    return f"observed {name}" if role == "observed" else role


def _declaration(h: Hyperparameter) -> str:
    """`float = 0.9 in [0, 1)`: all of a declaration but its name."""
    default = "none" if h.default is None else repr(h.default)
    if h.derived is not None:
        default = repr(h.derived)
    low, high = "-inf" if h.low is None else repr(h.low), "inf" if h.high is None else repr(h.high)
    opening, closing = "(" if h.low_open else "[", ")" if h.high_open else "]"
    return f"{h.kind} = {default} in {opening}{low}, {high}{closing}"
