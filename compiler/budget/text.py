"""A budget as text for people: tables, with tensors folded that are alike in all that is shown."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .claims import Verdict
from .columns import columns
from .compiled import lines
from .rates import Said

if TYPE_CHECKING:
    from .budget import Budget, Line

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def text(budget: "Budget", every: bool = False) -> str:
    """All of it; with `every` a line for each tensor."""
    sections = [
        [f"{budget.optimizer} for {budget.tree.name}: {_size(budget)}"],
        _tensors(budget, every),
        _lines(budget.table),
        _unset(budget),
        _groups(budget),
        [f"! {finding.message}" for finding in budget.findings],
        _state(budget),
        _work(budget),
        _staggered(budget),
        _compiled(budget),
        [line for verdict in budget.verdicts for line in _verdict(verdict)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def bytes_text(count: float) -> str:
    """A number of bytes as people say it: `474.7 MiB`."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:g} bytes"


def _size(budget: "Budget") -> str:
    tensors = len(budget.table)
    return f"{tensors:,} tensor{'s' * (tensors != 1)}, {budget.weights:,} weights"


def _tensors(budget: "Budget", every: bool) -> list[str]:
    """The group table; numbers in paths become `*` where that makes several lines one."""
    unknown = "not known" if _unset(budget) else "by data"
    folded: dict[tuple[str, ...], list[Line]] = {}
    for line in budget.table:
        path = line.tensor.path
        key = path if every else re.sub(r"[0-9]+", "*", path)
        folded.setdefault((key, *_cells(line, unknown)), []).append(line)
    rows = [("tensor", "shape", "dtype", "group", "view", "rate at t = 1", "decay", "where")]
    for (pattern, *cells), alike in folded.items():
        path = alike[0].tensor.path or "(the only tensor)"
        name = path if len(alike) == 1 else f"{pattern} x {len(alike)}"
        rows.append((name, *cells))  # type: ignore[arg-type]  # as many as there are heads
    return columns(rows, "<<<<<<<<")


def _cells(line: "Line", unknown: str) -> tuple[str, ...]:
    return (
        str(line.tensor.shape),
        line.tensor.dtype,
        line.row.group or "",
        "" if line.row.view is None else str(line.row.view),
        "" if line.rate is None else _value(line.rate, unknown),
        " and ".join(_value(decay, unknown) for decay in line.decays),
        ", ".join(line.row.stages),
    )


def _value(said: Said, unknown: str) -> str:
    return unknown if said.value is None else f"{said.value:.6g}"


def _lines(table: Sequence["Line"]) -> list[str]:
    """The lines of the spec that say rates and decays."""
    said = [s for line in table for s in (line.rate, *line.decays) if s is not None]
    lines = sorted({(s.place, s.stage, s.text) for s in said})
    return columns([("line", "says"), *((stage, text) for _, stage, text in lines)], "<<")


def _unset(budget: "Budget") -> list[str]:
    """The hyperparameters without a value, on which rates may depend."""
    names = [h.name for h in budget.hyperparameters if h.name not in budget.values]
    return [f"without a value: {', '.join(names)}"] if names else []


def _groups(budget: "Budget") -> list[str]:
    if all(share.name is None for share in budget.groups):
        return []  # there are no groups
    rows = [("group", "tensors", "weights", "state", "takes")]
    for share in budget.groups:
        name, takes = share.name or "(none)", share.where or ("the rest" if share.name else "")
        view = f', seen as "{share.view}"' if share.view else ""
        state = f"{share.state_bytes:,}"
        rows.append((name, f"{share.tensors:,}", f"{share.weights:,}", state, takes + view))
    return columns(rows, "<>>><")


def _state(budget: "Budget") -> list[str]:
    state, weights = budget.state, budget.weights
    rows = [("state", "bytes", "", "per weight")]

    def row(name: str, count: int) -> None:
        share = f"{count / weights:.4g}" if weights and 1000 * count > weights else ""
        rows.append((name, f"{count:,}", bytes_text(count) if count >= 1024 else "", share))

    for slot in state.slots:
        dtype = f" ({slot.dtype})" if slot.dtype else ""
        row(f"  {slot.stage}.{slot.name}{dtype}", slot.bytes)
    others = (
        ("hyperparameters", state.hyperparameters),
        ("count of steps", state.count),
        ("random key", state.key),
    )
    for name, count in others:
        if count:
            row(f"  {name}", count)
    row("all of the state", budget.state_bytes)
    row("the weights", budget.weight_bytes)
    ratio = budget.state_bytes / budget.weight_bytes if budget.weight_bytes else 0.0
    return [*columns(rows, "<>>>"), f"the state is {ratio:.4g} times the weights"]


def _work(budget: "Budget") -> list[str]:
    rows = [("work of a step", "operations", "per weight")]

    def row(name: str, count: float) -> None:
        share = f"{count / budget.weights:.4g}" if budget.weights else ""
        rows.append((name, f"{count:,.0f}", share))

    for stage, count in budget.work.flops.items():
        row(f"  {stage}", count)
    row("at most" if budget.work.at_most else "all of it", budget.work.total)
    bounded = budget.work.bounded
    asked = (
        f"{name} {'at most ' if name in bounded else ''}{count:g}"
        for name, count in budget.oracles.items()
    )
    lines = [*columns(rows, "<>>"), f"asks in a step: {', '.join(asked) or 'nothing'}"]
    if budget.work.uncounted:
        lines.append(f"without what optax does in {', '.join(budget.work.uncounted)}")
    return lines


def _staggered(budget: "Budget") -> list[str]:
    rows = [("staggered", "period", "tensors", "at a step", "operations then")]
    for each in (each for each in budget.staggered if each.tensors):
        counts = (f"{each.period:,}", f"{each.tensors:,}", _span(each.together))
        rows.append((f"  {each.stage}", *counts, _span(each.operations)))
    return columns(rows, "<>>>>") if len(rows) > 1 else []


def _span(bounds: tuple[float, float]) -> str:
    """The least and the most of something, once where they are equal."""
    return " to ".join(f"{round(x):,}" for x in dict.fromkeys(bounds))


def _compiled(budget: "Budget") -> list[str]:
    return list(lines(budget.compiled, budget.weights)) if budget.compiled else []


def _verdict(verdict: Verdict) -> list[str]:
    assertion = verdict.assertion
    head = f"assert {assertion.text}"
    if verdict.holds:
        return [f"{head}: holds{_values(verdict)}"]
    return [f"{head}: DOES NOT HOLD{_values(verdict)} ({assertion.place})"]


def _values(verdict: Verdict) -> str:
    """Both sides of a comparison, or what each name stands for."""
    if verdict.sides is not None:
        left, right = (_number(side) for side in verdict.sides)
        return f", {left} and {right}"
    if not verdict.quantities:
        return ""
    shown = (f"{name} = {_number(value)}" for name, value in verdict.quantities.items())
    return f", {', '.join(shown)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.6g}"
