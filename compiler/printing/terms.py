"""Printing terms: arithmetic over literals and hyperparameters, known before a step runs."""

from collections.abc import Callable

from ..ops import OPS
from ..records import Term
from .expressions import literal


def term_text(term: Term, name: Callable[[str], str], binding: int = 0) -> str:
    """A Python expression of a term; `name` says how a hyperparameter is read."""
    if term.op == "literal":
        (value,) = term.arguments
        assert not isinstance(value, Term)
        text, strength = literal(value)
        return f"({text})" if strength < binding else text
    if term.op == "parameter":
        return name(str(term.arguments[0]))
    op = OPS[term.op]
    template = op.static or op.python
    if "{" not in template:
        return f"{template}({', '.join(term_text(t, name) for t in term.terms)})"
    parts = [term_text(t, name, op.binding + (place > 0)) for place, t in enumerate(term.terms)]
    text = template.format(*parts)
    return f"({text})" if op.binding < binding else text
