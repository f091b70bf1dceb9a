"""What a part of a body comes to with all that it calls, known before it is lowered."""

from collections.abc import Iterator

from ...grammar import syntax
from ..structure import keeps_fields, names_called, names_read, states_in
from . import calls
from .context import Scope, Site
from .oracles import RESULTS

_WHOLE = {*RESULTS, "per_example_mean", "feature_alignment"}
"""What is asked of the whole model, never for some of its tensors."""


def asks_whole(site: Site, scope: Scope, node: syntax.Node) -> bool:
    """Whether an oracle that needs all tensors is named in `node`, or in what it calls."""
    return any(names & _WHOLE for _, names in _reached(site, scope, node, set()))


def keeps_only_fields(site: Site, scope: Scope, node: syntax.Node) -> bool:
    """Whether states are declared in `node` or in what it calls, all of the size of tensors.

    Nothing but what is declared there may be written there.
    """
    parts = [part for part, _ in _reached(site, scope, node, set())]
    return any(map(states_in, parts)) and all(map(keeps_fields, parts))


def _reached(
    site: Site, scope: Scope, node: syntax.Node, seen: set[int]
) -> Iterator[tuple[syntax.Node, set[str]]]:
    """`node` and each declaration that it calls or hands on, with what else they name."""
    seen.add(id(node))
    names = {*names_read(node), *(name.id for name in names_called(node))}
    others: set[str] = set()
    inner: list[tuple[Site, Scope, syntax.Node]] = []
    for name in sorted(names):
        if (binding := scope.find(name)) is not None:
            if (given := binding.closure) is not None:
                inner.append((given.site, given.scope, given.function))
        elif (found := calls.declared(site.declarations, site.kind, name)) is not None:
            kind = "func" if isinstance(found.decl, syntax.FuncDecl) else site.kind
            inner.append((Site(kind, site.label, {}, found.scope), Scope(), found.decl))
        else:
            others.add(name)
    yield node, others
    for part in inner:
        if id(part[-1]) not in seen:
            yield from _reached(*part, seen)
