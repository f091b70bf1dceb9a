"""The reviews of two specs that were found: checked, lowered, outlined and compared."""

from collections.abc import Iterator

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, SpecError
from ...grammar.parse import parse
from ..allow import UNUSED_ALLOW, without_allowed
from ..budget.tensors import Tree
from ..check import chosen, resolved
from ..declarations import Found, gather
from ..freeze import freeze
from ..lints import lint
from ..locate import Located, open_use
from ..lowering.pipeline import lower
from ..spec import Spec
from . import declared
from .calls import Reached
from .compare import compare, whole
from .outline import Outline, outline
from .records import Review, Section


def reviews(old: Located, new: Located, tree: Tree | None = None) -> list[Review]:
    """What changed between two specs.

    Two whole files are compared optimizer by optimizer, with what they declare besides. With a
    `tree` of weights the review shows its tensors too. Raises SpecError with the mistakes of both,
    and BudgetError where nothing can be said of the tensors.
    """
    report = Diagnostics()
    before, after = resolved(old, report), resolved(new, report)
    if old.name is None and new.name is None:
        pairs = list(_pairs(before, after))
    else:
        pairs = [(chosen(old, before, report), chosen(new, after, report))]
    found = [(_outline(a, old, report), _outline(b, new, report)) for a, b in pairs]
    if report.has_errors:
        raise SpecError(report.sorted())
    result = [review for a, b in found if (review := _review(a, b, tree)) is not None]
    if old.name is None and new.name is None:
        shown = {key for pair in found for each in pair if each for key in each.declarations}
        result += _besides(old, new, shown)
    return result


def _pairs(before: list[Spec], after: list[Spec]) -> Iterator[tuple[Spec | None, Spec | None]]:
    """Optimizers that belong together: by name, or the only ones that are left."""
    gone = {spec.name: spec for spec in before}
    fresh = [spec for spec in after if spec.name not in gone]
    for spec in after:
        if spec.name in gone:
            yield gone.pop(spec.name), spec
    if len(gone) == len(fresh) == 1:
        yield next(iter(gone.values())), fresh[0]
        return
    yield from ((spec, None) for spec in gone.values())
    yield from ((None, spec) for spec in fresh)


def _outline(spec: Spec | None, located: Located, report: Diagnostics) -> Outline | None:
    if spec is None:
        return None
    own = Diagnostics()
    draft = lower(spec, own)
    for each in own:
        report.add(each)
    if report.has_errors:
        return None
    lint(spec, draft, own)
    found = without_allowed(own, located.source)
    # Whether an `allow` is needed is a question to its whole file.
    said = (f"{each.code}: {each.message}" for each in found if each.code != UNUSED_ALLOW.code)
    return outline(spec, freeze(draft), tuple(dict.fromkeys(said)))


def _review(before: Outline | None, after: Outline | None, tree: Tree | None) -> Review | None:
    match before, after:
        case Outline(), Outline():
            return compare(before, after, tree)
        case Outline(), None:
            return whole("removed", before)
        case None, Outline():
            return whole("added", after)
    return None


def _besides(old: Located, new: Located, shown: set[tuple[str, str]]) -> Iterator[Review]:
    """What changed in rules, schedules and functions that no compared optimizer uses."""
    before, after = _declared(old, shown), _declared(new, shown)
    section = Section("rules", declared.all_changes(before, after))
    if section.changes:
        yield Review(old.source.name, new.source.name, (section,), same=None)


def _declared(located: Located, shown: set[tuple[str, str]]) -> Reached:
    report = Diagnostics()
    scope = gather(parse(located.source, report), open_use(located), report, located.modules)
    optimizers = syntax.OptimizerDecl | syntax.VariantDecl
    own = {key: decl for key, decl in scope.own.items() if not isinstance(decl, optimizers)}
    return {key: [Found(decl, scope)] for key, decl in own.items() if key not in shown}
