"""The claims of the library: what each rule and optimizer says that it equals."""

from shipped import program

import optc
from optc.api.twins import value
from optc.compiler import library
from optc.grammar import syntax

Claiming = syntax.RuleDecl | syntax.OptimizerDecl


def claims():
    """Every rule and optimizer of the library that says what it equals."""
    for shelf in (*syntax.KINDS, "optimizer"):
        for name in library.names(shelf):
            for item in library.file(shelf, name).items:
                if isinstance(item, Claiming) and item.equals is not None:
                    yield item


def kind(item):
    """The kind of a rule, or `optimizer`."""
    return item.kind.id if isinstance(item, syntax.RuleDecl) else "optimizer"


def title(item):
    """What a test calls an item: `precondition adam`."""
    return f"{kind(item)} {item.name.id}"


def settings(item, usual):
    """The item's parameters at their defaults, or at values that are no defaults.

    0.7 d + 0.05 leaves every default d of the library inside its range, and moves it.
    """
    defaults = {p.name.id: value(p.default, {}) for p in item.params}
    return defaults if usual else {name: _moved(d) for name, d in defaults.items()}


def _moved(default):
    match default:
        case bool():
            return not default
        case int():
            return default + 1
        case float():
            return 0.7 * default + 0.05
        case _:
            return default


def claimed(item, chosen):
    """What optax makes of a claim, for these values of the item's parameters."""
    return value(item.equals, chosen)


def around(item, *, scale="1.0", where="", folded=False):
    """A program that is this item: the optimizer, or a rule as its one stage.

    A rule's signal becomes `-scale` times the update; a `tune` rule is the whole update. The
    parameters of the rule are hyperparameters of the program; `folded`, it has its defaults as
    numbers. `where` limits the rule to some tensors.
    """
    if isinstance(item, syntax.OptimizerDecl):
        return program(item.name.id)
    name = item.name.id
    params = "" if folded else ", ".join(p.span.text for p in item.params)
    given = "" if folded else ", ".join(f"{p.name.id} = {p.name.id}" for p in item.params)
    limit = f" where {where}" if where else ""
    stages = f"{kind(item)} {name}({given}){limit}\n  tune step {scale}"
    if kind(item) == "tune":
        stages = f"tune step {name}({given})"
    return optc.compile(f"optimizer {name}({params}) {{\n  {stages}\n}}\n")
