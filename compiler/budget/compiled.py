"""What XLA counts of a compiled step, beside the least possible, and why it is more."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .columns import columns
from .least import Moved

Why: TypeAlias = Literal["kernels", "reduction", "kept", "copy", "scalars", "other"]
"""Why bytes are moved beyond the least.

- `kernels`: XLA makes a kernel for each result, and each reads what it needs for itself.
- `reduction`: a reduction reads a tensor before what else reads it.
- `kept`: a value of many elements is written, and read by another kernel.
- `copy`: a tensor is copied.
- `scalars`: scalars, and values that are small.
- `other`: what XLA counts otherwise: tables of pointers, and what is read in part.
"""


_LISTED = 4
"""How many names a line has; the JSON has all."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Bytes beyond the least: why, of which tensors, and by which lines of the spec."""

    why: Why
    of: tuple[str, ...]
    lines: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class CompiledStep:
    """A step of given gradients, compiled.

    `accessed` are the bytes that its kernels read and write: the `least`, and all of the `excess`.
    `donated` are those of weights and state, `aliased` those of them that are written in place.
    `doubts` say what XLA does not count as it happens, so that its numbers are not to be trusted.
    """

    platform: str
    least: tuple[Moved, ...]
    excess: tuple[Excess, ...]
    accessed: int
    temporaries: int
    aliased: int
    donated: int
    flops: int
    transcendentals: int
    doubts: tuple[str, ...]


def lines(step: CompiledStep, weights: int) -> Iterator[str]:
    """The compiled step as text, for so many weights."""
    rows = [("bytes", "per weight", f"of the compiled step, on {step.platform}")]

    def row(count: int, name: str) -> None:
        share = f"{count / weights:.4g}" if weights and 1000 * abs(count) > weights else ""
        rows.append((f"{count:,}", share, name))

    for each in step.least:
        row(each.bytes, f"  {each.name}, {_ways(each)}")
    row(sum(each.bytes for each in step.least), "the least possible")
    for excess in step.excess:
        row(excess.bytes, f"  {_reason(excess)}")
    row(step.accessed, "all that is accessed")
    row(step.temporaries, "temporaries")
    row(step.aliased, f"written in place, of {step.donated:,} that may be")
    yield from columns(rows, ">><")
    yield f"operations: {step.flops:,}, and {step.transcendentals:,} roots, powers and the like"
    yield from (f"! {doubt}" for doubt in step.doubts)


def plain(step: CompiledStep) -> dict[str, object]:
    """The same as plain data."""
    return {
        "platform": step.platform,
        "accessed": step.accessed,
        "least": [{"of": x.name, "read": x.read, "written": x.written} for x in step.least],
        "excess": [
            {"why": x.why, "of": list(x.of), "lines": list(x.lines), "bytes": x.bytes}
            for x in step.excess
        ],
        "temporaries": step.temporaries,
        "aliased": step.aliased,
        "donated": step.donated,
        "flops": step.flops,
        "transcendentals": step.transcendentals,
        "doubts": list(step.doubts),
    }


def _ways(moved: Moved) -> str:
    both = ("read", moved.read), ("written", moved.written)
    return " and ".join(word for word, size in both if size)


def _reason(excess: Excess) -> str:
    of, lines = _listed(excess.of), _listed(excess.lines)
    match excess.why:
        case "kernels":
            return f"a kernel for each result: {of} read again"
        case "reduction":
            return f"{lines or 'a reduction'}: {of} read again"
        case "kept":
            return f"kept between kernels: {lines}" if lines else "kept between kernels"
        case "copy":
            return f"copied: {of}" if of else "copied"
        case "scalars":
            return "scalars and small values"
        case "other":
            return "as XLA counts it otherwise"


def _listed(words: tuple[str, ...]) -> str:
    more = len(words) - _LISTED
    *first, last = (*words[:_LISTED], f"{more} more") if more > 0 else words or ("",)
    return f"{', '.join(first)} and {last}" if first else last
