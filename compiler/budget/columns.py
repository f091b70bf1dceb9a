"""Rows of texts in columns."""

from collections.abc import Iterable, Sequence


def columns(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    """Rows under a head, without empty columns; `sides` has `<` or `>` for each."""
    shown = [i for i in range(len(sides)) if any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in shown}
    return [_joined(f"{row[i]:{sides[i]}{widths[i]}}" for i in shown) for row in rows]


def _joined(cells: Iterable[str]) -> str:
    return "  ".join(cells).rstrip()
