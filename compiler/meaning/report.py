"""A verdict in words for people, and as plain data for other tools."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..finite import finite
from ..graph import index
from ..notation.formula import formula
from .blame import Counterpart, Culprit
from .compare import Parting
from .maps import term_text
from .matching import shown
from .side import Program, Side
from .verdict import Found, Verdict

SCHEMA = 1
"""The version of the JSON. Fields may be added to it; anything else makes a new version."""

SINGLE = 2.0**-20
"""Eight roundings of float32, as a part of a number."""


def text(verdict: Verdict) -> str:
    """The verdict, first in one line, then with what supports it."""
    return "\n".join(_lines(verdict))


def _lines(verdict: Verdict) -> Iterator[str]:
    a, b = verdict.a.name, verdict.b.name
    match verdict.same:
        case True if verdict.proved:
            yield f"same map: {a} and {b} have one normal form"
        case True:
            yield f"same map, as far as tapes show: {a} and {b}"
        case False:
            yield f"different: {a} and {b}"
        case None:
            yield f"not decided: {a} and {b}"
            yield f"  {verdict.reason}"
    if verdict.same and verdict.together:
        yield f"  {_support(verdict)}"
    if verdict.differences:
        yield f"  {_differences(verdict)}"
    claims = [found for found in verdict.maps if found.claimed]
    for found in claims:
        yield from _map(found)
    if verdict.parting is not None:
        yield from _parting(verdict, verdict.parting)
    for found in verdict.maps:
        if not found.claimed:
            yield from _map(found)
    for note in verdict.notes:
        yield f"  note: {note}"


def _differences(verdict: Verdict) -> str:
    a, b = verdict.a.name, verdict.b.name
    parts = [
        f"`{each.name}` is {shown(each.a)} in {a} and {shown(each.b)} in {b}"
        for each in verdict.differences
    ]
    return f"{', '.join(parts)}; at equal values they are one map"


def _support(verdict: Verdict) -> str:
    steps = sum(found.steps for found in verdict.together)
    apart = max(found.apart for found in verdict.together)
    worst = max(verdict.together, key=lambda found: found.bound)
    count = len(verdict.together)
    return (
        f"{count} tapes, {steps} steps in all: weights at most {apart:.1e} apart; "
        f"rounding may be worth {worst.bound:.1e}"
    )


def _parting(verdict: Verdict, parting: Parting) -> Iterator[str]:
    what = "the weights to evaluate with" if parting.evaluation else "weights"
    place = f"`{parting.path}` {list(parting.shape)}"
    yield (
        f"  {parting.setting.words}, {what} differ first after step {parting.step}, most in {place}"
    )
    names = max(len(verdict.a.name), len(verdict.b.name))
    entry = f"[{', '.join(map(str, parting.index))}]"
    for side, value in ((verdict.a, parting.a), (verdict.b, parting.b)):
        yield f"    {side.name:<{names}}  {entry} {value:.10g}"
    yield f"  {parting.apart:.1e} apart, where rounding may be worth {parting.bound:.1e}"
    near = parting.apart < SINGLE * max(abs(parting.a), abs(parting.b))
    # What a spec stands for on the tape works nothing out in float32.
    if near and not _both_specs(verdict) and not any(found.claimed for found in verdict.maps):
        yield "  this is what one value in float32 would do: optax may have worked one out there"
    blamed = verdict.blame
    if blamed is None:
        return
    a, b = verdict.a.name, verdict.b.name
    if blamed.a is not None:
        yield f"  in {_named(verdict.a, blamed.a)} the first value that {b} does not have is"
        yield from _culprit(blamed.a)
    if isinstance(blamed.b, Culprit):
        yield f"  in {_named(verdict.b, blamed.b)} the first value that {a} does not have is"
        yield from _culprit(blamed.b)
    elif blamed.b is not None:
        yield f"  the nearest of {b} is {blamed.b.name}, off by {blamed.b.off:.1%}"


def _both_specs(verdict: Verdict) -> bool:
    return isinstance(verdict.a, Program) and isinstance(verdict.b, Program)


def _named(side: Side, culprit: Culprit) -> str:
    """The side, with the spec that stands for it."""
    if culprit.program is side:
        return side.name
    return f"{side.name}, which is {culprit.program.name} on this tape,"


def _culprit(culprit: Culprit) -> Iterator[str]:
    text, place = _shown(culprit)
    yield f"    {text}"
    when = f"step {culprit.step}"
    yield f"    {when}, {place}" if place else f"    {when}"


def _shown(culprit: Culprit) -> tuple[str, str]:
    """A value as a formula, with its name, and the line of the spec that caused it."""
    graph = culprit.program.graph
    node = index(graph)[culprit.node]
    if culprit.state is not None:
        slot = graph.slots[culprit.state]
        labels = [stage for stage in graph.stages if stage.label == slot.stage]
        place = f"{labels[0].place}: {labels[0].text}" if labels else ""
        return f"the state `{slot.name}` as the step finds it", place
    stage = graph.stages[node.stage] if node.stage >= 0 else None
    place = f"{stage.place}: {stage.text}" if stage else ""
    if node.op == "item" and node.name:
        # Which of the values that a loop gives to a name began to differ is not followed.
        return f"`{node.name}`, as the loop leaves it", place
    name = f"{node.name} = " if node.name else ""
    return f"{name}{formula(graph, node.id)}", place


def _map(found: Found) -> Iterator[str]:
    held = " and ".join(f"{n} = {shown(x)}" for n, x in found.map.fixed.items())
    how = "by normal form" if found.proved else "on tapes"
    yield (
        f"  {found.name}{f' with {held}' if held else ''} is {found.map.shown(found.of)}, {how}"
        + ("" if found.evaluates else "; the weights to evaluate with are others")
    )


# ---- data


def data(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON has it; numbers that JSON lacks are the texts `inf`, `-inf` and `nan`."""
    found: dict[str, Any] = finite(_data(verdict))
    return found


def _data(verdict: Verdict) -> dict[str, Any]:
    words = {True: "same", False: "different", None: "undecided"}
    return {
        "schema": SCHEMA,
        "a": verdict.a.name,
        "b": verdict.b.name,
        "verdict": words[verdict.same],
        "proved": verdict.proved,
        "reason": verdict.reason or None,
        "tapes": {
            "count": len(verdict.together),
            "steps": sum(found.steps for found in verdict.together),
            "apart": max((found.apart for found in verdict.together), default=None),
            "bound": max((found.bound for found in verdict.together), default=None),
        },
        "difference": _difference(verdict) if verdict.parting else None,
        "values": [{"name": x.name, "a": x.a, "b": x.b} for x in verdict.differences],
        "maps": [_map_data(found) for found in verdict.maps],
        "notes": list(verdict.notes),
    }


def _difference(verdict: Verdict) -> dict[str, Any]:
    parting = verdict.parting
    assert parting is not None
    blamed = verdict.blame
    return {
        "of": "evaluation" if parting.evaluation else "weights",
        "step": parting.step,
        "path": parting.path,
        "shape": list(parting.shape),
        "index": list(parting.index),
        "a": parting.a,
        "b": parting.b,
        "apart": parting.apart,
        "bound": parting.bound,
        "tree": parting.tape.tree,
        "seed": parting.tape.seed,
        "values": {"a": dict(parting.setting.a), "b": dict(parting.setting.b)},
        "node": {
            "a": _node(blamed.a if blamed else None),
            "b": _node(blamed.b if blamed else None),
        },
    }


def _node(blamed: Culprit | Counterpart | None) -> Mapping[str, Any] | None:
    match blamed:
        case Culprit():
            text, place = _shown(blamed)
            spec = blamed.program.name
            return {"spec": spec, "formula": text, "step": blamed.step, "line": place}
        case Counterpart():
            return {"name": blamed.name, "off": blamed.off}
        case None:
            return None


def _map_data(found: Found) -> dict[str, Any]:
    return {
        "name": found.name,
        "of": found.of,
        "given": {name: term_text(term) for name, term in found.map.given.items()},
        "held": dict(found.map.fixed),
        "proved": found.proved,
        "evaluates": found.evaluates,
        "claimed": found.claimed,
    }
