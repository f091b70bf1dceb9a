"""What a spec means, as text that can be kept: its digest, and the parts that it is made of.

Layout, comments, docstrings, names of stages and of values inside rules are no part of it. The
names that a user of the program sees are: of hyperparameters, states and reports.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

from pydantic import BaseModel, model_validator

from ..graph import Frozen, Graph, walk
from ..notation.formula import formula, refused
from ..printing.declared import declaration
from .normal import normal_form

FORM = 2
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
    `refused` are the values and tensors that are not taken, in words. `values` are the formulas of
    what else the spec names, by stage. Formulas are for people, and no part of the hash.
    """

    hash: str
    form: int
    map: str
    hyperparameters: dict[str, str]
    refused: list[str]
    slots: dict[str, Slot]
    results: dict[str, Part]
    values: dict[str, dict[str, str]]

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
    written = {
        o.label: formulas[o.role, o.index, o.name] for o in graph.outputs if o.role != "slot"
    }
    if graph.evaluation is not None:
        digests["evaluation"] = normal.evaluation
        written["evaluation"] = formula(graph, graph.evaluation.results[0])
    digests |= dict(normal.observed)
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
    found += _gone("state", old.slots, new.slots)
    stored = [{n: s.dtype or "as the weights" for n, s in m.slots.items()} for m in (old, new)]
    found += _others("stored dtype of", *stored)
    found += _gone("result", old.results, new.results)
    return found if old.form != new.form else [*found, *_formulas(old, new)]


def _formulas(old: Meaning, new: Meaning) -> Iterator[str]:
    """The formulas that are others, and then what is another for their sake alone."""
    yield from _gone("stage", old.values, new.values)
    for stage, values in old.values.items():
        yield from _others(f"in `{stage}`,", values, new.values.get(stage, {}))
    was, now = _written(old), _written(new)
    followers = []
    for name in (n for n in was if n in now and was[n].digest != now[n].digest):
        before, after = was[name].formula, now[name].formula
        if before == after:
            followers.append(name)
        else:
            yield f"{name}: {before or 'always'} -> {after or 'always'}"
    if followers:
        yield f"and what is made of these: {', '.join(followers)}"


def _written(meaning: Meaning) -> dict[str, Slot | Part]:
    """What has a formula, as a person calls it."""
    return {
        **{f"the state `{name}`": slot for name, slot in meaning.slots.items()},
        **{f"the result `{name}`": part for name, part in meaning.results.items()},
    }


def _changed(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    yield from _gone(what, old, new)
    yield from _others(what, old, new)


def _others(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in (n for n in old if n in new and old[n] != new[n]):
        yield f"{what} `{name}`: {old[name]} -> {new[name]}"


def _gone(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{what} `{name}` is gone" for name in old if name not in new)
    yield from (f"{what} `{name}` is new" for name in new if name not in old)


def _values(graph: Graph) -> dict[str, dict[str, str]]:
    """Named values of each stage but for states and results."""
    found: dict[str, dict[str, str]] = {stage.label: {} for stage in graph.stages}
    for node in walk(graph.step):
        if node.name and node.stage >= 0 and node.id not in graph.step.results:
            values = found[graph.stages[node.stage].label]
            name = node.name
            while name in values:
                name += "'"
            values[name] = formula(graph, node.id)
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
