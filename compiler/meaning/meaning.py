"""What a spec means, as text that can be kept: its digest, and the parts that it is made of.

Layout, comments, docstrings, names of stages and of values inside rules are no part of it. The
names that a user of the program sees are: of hyperparameters, states and reports.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

from pydantic import BaseModel, model_validator

from ..graph import Frozen, Graph, walk
from ..notation.declared import declaration
from ..notation.formula import formula, refused
from .normal import normal_form

FORM = 1
"""The revision of the normal form: another for other digests of the same programs."""


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
    """What a program computes, and what its user calls by name.

    `form` is the revision of the normal form that made the digests: those of two are not compared.
    `refused` are tensors that `init` does not take, in words. `values` are the formulas of what
    else the spec names. Formulas are for people, and no part of the hash.
    """

    hash: str
    form: int
    map: str
    hyperparameters: dict[str, str]
    refused: list[str]
    slots: dict[str, Slot]
    results: dict[str, Part]
    values: dict[str, str]

    @model_validator(mode="after")
    def _check(self) -> "Meaning":
        parts = (self.form, self.map, self.hyperparameters, self.refused, self.slots, self.results)
        if self.hash != _hash(*parts):
            raise ValueError("its hash is not that of its parts")
        return self


def meaning(graph: Graph) -> Meaning:
    """The meaning of a lowered graph."""
    normal = normal_form(graph)
    formulas = {
        (o.role, o.index, o.name): formula(graph, id)
        for o, id in zip(graph.outputs, graph.step.results, strict=True)
    }
    slots = {
        f"{slot.stage}.{slot.name}": Slot(
            dtype=slot.dtype, digest=digest, formula=formulas["slot", number, ""]
        )
        for number, (slot, digest) in enumerate(zip(graph.slots, normal.slots, strict=True))
    }
    digests = {"weights": normal.weights, "applied": normal.applied}
    written = {_result(role, name): text for (role, _, name), text in formulas.items()}
    if graph.evaluation is not None:
        digests["evaluation"] = normal.evaluation
        written["evaluation"] = formula(graph, graph.evaluation.results[0])
    digests |= {f"observed {name}": digest for name, digest in normal.observed}
    results = {
        name: Part(digest=digest, formula=written.get(name, "")) for name, digest in digests.items()
    }
    hyperparameters = {h.name: declaration(h) for h in graph.hyperparameters}
    declined = sorted({refused(graph, refusal) for refusal in graph.refusals})
    return Meaning(
        hash=_hash(FORM, normal.digest, hyperparameters, declined, slots, results),
        form=FORM,
        map=normal.digest,
        hyperparameters=hyperparameters,
        refused=declined,
        slots=slots,
        results=results,
        values=_values(graph),
    )


def changes(old: Meaning, new: Meaning) -> list[str]:
    """What is different, one line for each part; nothing for equal hashes.

    Of another revision of the normal form, only what has no digest is compared.
    """
    if old.hash == new.hash:
        return []
    found = [*_changed("hyperparameter", old.hyperparameters, new.hyperparameters)]
    if old.refused != new.refused:
        found.append(f"what is refused: {_list(old.refused)} -> {_list(new.refused)}")
    stored = [{n: s.dtype or "as the weights" for n, s in m.slots.items()} for m in (old, new)]
    found += _changed("stored dtype of", *stored)
    found += _gone("result", old.results, new.results)
    if old.form != new.form:
        return found
    for name in (n for n in old.slots if n in new.slots):
        found += _reformed(f"the state `{name}`", old.slots[name], new.slots[name])
    for name in (n for n in old.results if n in new.results):
        found += _reformed(f"the result `{name}`", old.results[name], new.results[name])
    found += (
        f"{name}: {text} -> {new.values[name]}"
        for name, text in old.values.items()
        if new.values.get(name, text) != text
    )
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
        yield f"{what}, by what its formula is made of: {new.formula}".removesuffix(": ")
    else:
        yield f"{what}: {old.formula} -> {new.formula}"


def _result(role: str, name: str) -> str:
    if role in ("step", "weights"):
        return "weights"
    return f"observed {name}" if role == "observed" else role


def _values(graph: Graph) -> dict[str, str]:
    """Named values but for states and results: `value u of precondition`."""
    found: dict[str, str] = {}
    for node in walk(graph.step):
        if node.name and node.stage >= 0 and node.id not in graph.step.results:
            name = f"the value `{node.name}` of `{graph.stages[node.stage].label}`"
            while name in found:
                name += "'"
            found[name] = formula(graph, node.id)
    return found


def _hash(*parts: object) -> str:
    return sha256(repr([_plain(part) for part in parts]).encode()).hexdigest()


def _plain(part: object) -> object:
    """What of a part is hashed: all but formulas, in which names of values are."""
    if isinstance(part, dict):
        return sorted((name, _plain(each)) for name, each in part.items())
    if isinstance(part, BaseModel):
        return sorted(part.model_dump(exclude={"formula"}).items())
    return part


def _list(words: list[str]) -> str:
    return "; ".join(words) or "nothing"
