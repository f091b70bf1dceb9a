"""A budget as plain data, for other tools."""

from typing import TYPE_CHECKING

from ..finite import finite
from . import compiled
from .claims import Verdict
from .memory import SlotBytes
from .rates import Said
from .staggered import Staggered

if TYPE_CHECKING:
    from .budget import Budget, Line, Share

SCHEMA = 1
"""The number of the schema. It changes when a field goes or means something else."""


def plain(budget: "Budget") -> dict[str, object]:
    """Dicts and lists of texts and numbers; a field that does not apply is None.

    Numbers that JSON lacks are the texts `inf`, `-inf` and `nan`.
    """
    return {
        "schema": SCHEMA,
        "optimizer": budget.optimizer,
        "params": budget.tree.name,
        "ok": budget.ok,
        "hyperparameters": finite(budget.values),
        "weights": budget.weights,
        "weight_bytes": budget.weight_bytes,
        "state_bytes": budget.state_bytes,
        "state": {
            "slots": [_slot(slot) for slot in budget.state.slots],
            "hyperparameters": budget.state.hyperparameters,
            "count": budget.state.count,
            "key": budget.state.key,
        },
        "flops_per_weight": budget.flops_per_weight,
        "flops": dict(budget.work.flops),
        "at_most": budget.work.at_most,
        "uncounted": list(budget.work.uncounted),
        "oracles": dict(budget.oracles),
        "groups": [_share(share) for share in budget.groups],
        "staggered": [_staggered(each, budget) for each in budget.staggered],
        "tensors": [_line(line) for line in budget.table],
        "left_out": list(budget.tree.left_out),
        "findings": [
            {
                "kind": finding.kind,
                "group": finding.group,
                "tensors": list(finding.tensors),
                "message": finding.message,
            }
            for finding in budget.findings
        ],
        "assertions": [_verdict(verdict) for verdict in budget.verdicts],
        "compiled": budget.compiled and compiled.plain(budget.compiled),
    }


def _slot(slot: SlotBytes) -> dict[str, object]:
    groups = [{"group": name, "bytes": number} for name, number in slot.groups.items()]
    return {
        "stage": slot.stage,
        "name": slot.name,
        "dtype": slot.dtype,
        "tensors": slot.tensors,
        "bytes": slot.bytes,
        "groups": groups,
    }


def _share(share: "Share") -> dict[str, object]:
    return {
        "name": share.name,
        "where": share.where,
        "line": share.place,
        "view": share.view,
        "tensors": share.tensors,
        "weights": share.weights,
        "state_bytes": share.state_bytes,
    }


def _staggered(staggered: Staggered, budget: "Budget") -> dict[str, object]:
    turns = zip(budget.table, staggered.turns, strict=True)
    return {
        "stage": staggered.stage,
        "period": staggered.period,
        "turns": {line.tensor.path: turn for line, turn in turns if turn is not None},
    }


def _line(line: "Line") -> dict[str, object]:
    view = line.row.view
    return {
        "path": line.tensor.path,
        "shape": list(line.tensor.shape),
        "dtype": line.tensor.dtype,
        "group": line.row.group,
        "view": None if view is None else list(view),
        "stages": list(line.row.stages),
        "rate": line.rate and _said(line.rate),
        "decay": [_said(decay) for decay in line.decays],
    }


def _said(said: Said) -> dict[str, object]:
    return {"stage": said.stage, "text": said.text, "at_1": finite(said.value)}


def _verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "text": verdict.assertion.text,
        "line": verdict.assertion.place,
        "holds": verdict.holds,
        "sides": finite(verdict.sides),
        "quantities": finite(verdict.quantities),
    }
