"""Whether something asks the whole model, known before it is lowered."""

from ...grammar import syntax
from ..structure import names_called, names_read
from . import calls
from .context import Scope, Site
from .oracles import RESULTS

_WHOLE = {*RESULTS, "per_example_mean", "feature_alignment"}
"""What is asked of the whole model, never for some of its tensors."""


def asks_whole(site: Site, scope: Scope, node: syntax.Node) -> bool:
    """Whether an oracle that needs all tensors is named in `node`, or in what it calls."""
    return _asks(site, scope, node, ())


def _asks(site: Site, scope: Scope, node: syntax.Node, active: tuple[syntax.Node, ...]) -> bool:
    names = {*names_read(node), *(name.id for name in names_called(node))}
    return any(_stands_for_one(site, scope, name, active) for name in sorted(names))


def _stands_for_one(site: Site, scope: Scope, name: str, active: tuple[syntax.Node, ...]) -> bool:
    if (binding := scope.find(name)) is not None:
        given = binding.closure
        return given is not None and _asks(given.site, given.scope, given.function, active)
    found = calls.declared(site.declarations, site.kind, name)
    if found is None:
        return name in _WHOLE
    if found.decl in active:
        return False
    kind = "func" if isinstance(found.decl, syntax.FuncDecl) else site.kind
    inside = Site(kind, site.label, {}, found.scope)
    return _asks(inside, Scope(), found.decl, (*active, found.decl))
