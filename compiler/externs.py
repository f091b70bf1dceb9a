"""What an `extern` may name: transformations of optax, and modules that the caller allows.

A target is a module's path and one public name. Nothing here imports the module: what optax has
is a table, and a module of the caller is taken as the caller describes it.
"""

import keyword
from dataclasses import dataclass

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, correction, declare, did_you_mean
from .transformations import TABLE, Sort, Transformation

EXTERN_NOT_ALLOWED = declare(
    "extern-not-allowed",
    "an `extern` names something that specs may not reach",
    """
    `extern` names a module and one public function of it: `optax.f(...)`, `optax.contrib.f(...)`,
    or a function of a module that the caller allows by name, `optc.load(spec,
    allow_extern=["mypackage"])` or `--allow-extern mypackage`. Names that begin with `_` are
    private, and nothing is read from what a module holds, so a spec from a stranger cannot reach
    anything else. `optc.runtime` has no transformations in this edition.
    """,
)
UNKNOWN_TRANSFORMATION = declare(
    "unknown-transformation",
    "an `extern` names a transformation that the module does not have",
    """
    `extern` calls functions of optax that make a transformation of numbers, truth values and texts.
    Those that take other transformations, trees or functions (`optax.chain`, `optax.masked`,
    `optax.inject_hyperparams`) have their counterparts in the language: a pipeline, `where`, and
    hyperparameters that may always change.
    """,
)
EXTERN_KIND = declare(
    "extern-kind",
    "an `extern` of a kind that does not fit what it names",
    """
    A transformation that gives a direction (`optax.scale_by_adam`) is a `clip`, a `precondition` or
    a `decay`. One that gives minus a step, with the step size in it (`optax.adam`,
    `optax.polyak_sgd`, line searches), is a `tune`, and stands alone: `tune step mine()`. One
    that keeps the weights feasible (`optax.keep_params_nonnegative`) is a `constrain`.
    """,
)
EXTERN_ARGUMENT = declare(
    "extern-argument",
    "an argument of an `extern` that is not known when a state is made",
    """
    The transformation is made of numbers, truth values and texts: literals, the parameters of the
    `extern`, and arithmetic over them. These in turn are literals, hyperparameters or arithmetic
    over them, since the state of the transformation is made before the first step.
    """,
)

KINDS: dict[str, tuple[Sort, ...]] = {
    "clip": ("direction",),
    "precondition": ("direction",),
    "decay": ("direction",),
    "tune": ("update", "search"),
    "constrain": ("constraint",),
}
"""The kinds that may be external, and what they may name."""

_GIVES: dict[Sort, str] = {
    "direction": "gives a direction, so it is a `clip`, a `precondition` or a `decay`",
    "update": "gives minus a step, so it is a `tune`",
    "search": "gives minus a step, so it is a `tune`",
    "constraint": "keeps the weights feasible, so it is a `constrain`",
}


@dataclass(frozen=True)
class Target:
    """What an `extern` names: a module, its function, and how that is called.

    `parameters` is None where nothing is known of them: those of a module of the caller.
    """

    module: str
    function: str
    sort: Sort
    parameters: tuple[str, ...] | None
    required: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def path(self) -> str:
        """`module.function`."""
        return f"{self.module}.{self.function}"


def target(decl: syntax.ExternDecl, allowed: frozenset[str], report: Diagnostics) -> Target | None:
    """What a declaration names, or None where that is refused, with a report."""
    *parts, function = _parts(decl.target.function)
    module = ".".join(part.id for part in parts)
    if not _is_reachable(parts, function, module, allowed, report):
        return None
    if decl.kind.id not in KINDS:
        listed = ", ".join(f"`{kind}`" for kind in KINDS)
        message = f"`{decl.kind.id}` has no external stages"
        report.add(EXTERN_KIND.at(decl.kind.span, message, help=f"the kinds are {listed}"))
        return None
    if module in allowed:
        return Target(module, function.id, KINDS[decl.kind.id][0], None, (), ())
    table = TABLE.get(module, {})
    if function.id not in table:
        message = f"`{module}` has no transformation `{function.id}` that an `extern` may name"
        help = did_you_mean(function.id, table)
        fix = correction(function.span, table)
        report.add(UNKNOWN_TRANSFORMATION.at(function.span, message, help=help, fix=fix))
        return None
    return _fitting(decl, module, function.id, table[function.id], report)


def _fitting(
    decl: syntax.ExternDecl, module: str, function: str, row: Transformation, report: Diagnostics
) -> Target | None:
    if row.sort not in KINDS[decl.kind.id]:
        path = f"{module}.{function}"
        message = f"`{path}` {_GIVES[row.sort]}"
        others = (Label(decl.target.function.span, "named here"),)
        report.add(EXTERN_KIND.at(decl.kind.span, message, label="does not fit", others=others))
        return None
    required = row.parameters[: row.required]
    return Target(module, function, row.sort, row.parameters, required, row.extra)


def _is_reachable(
    parts: list[syntax.Name],
    function: syntax.Name,
    module: str,
    allowed: frozenset[str],
    report: Diagnostics,
) -> bool:
    checked = [function] if module in allowed else [*parts, function]
    for part in checked:
        if part.id.startswith("_") or keyword.iskeyword(part.id):
            report.add(
                EXTERN_NOT_ALLOWED.at(part.span, f"`{part.id}` is not a public name of a module")
            )
            return False
    if not parts:
        message = f"`{function.id}` says no module"
        help = f"`optax.{function.id}`" if function.id in TABLE["optax"] else None
        report.add(EXTERN_NOT_ALLOWED.at(function.span, message, help=help))
        return False
    if module not in (*TABLE, "optc.runtime") and module not in allowed:
        span = parts[0].span.to(parts[-1].span)
        message = f"the module `{module}` is not allowed"
        help = "a spec may name optax and optax.contrib, and modules that its caller allows"
        report.add(EXTERN_NOT_ALLOWED.at(span, message, help=help))
        return False
    return True


def _parts(function: syntax.Expr) -> list[syntax.Name]:
    """The names of a dotted path; the grammar lets nothing else be called."""
    match function:
        case syntax.Attribute():
            return [*_parts(function.value), function.name]
        case syntax.Name():
            return [function]
        case _:
            return []
