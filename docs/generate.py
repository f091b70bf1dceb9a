"""Writes the pages that the code itself tells: diagnostics, passes, and the library.

    python docs/generate.py

A test compares the pages with what this would write.
"""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path

from optc.compiler import driver, schedules  # noqa: F401  # they declare the rules of every check
from optc.compiler.library import Entry, entries
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.contracts import Contract, contracts
from optc.grammar.diagnostic import RULES, Rule

HERE = Path(__file__).parent

KINDS = {
    "optimizer": "complete optimizers, the names that `optc.load` and `optc compile` know",
    "perturb": "which gradient to follow",
    "clip": "limits on the gradient or the direction",
    "precondition": "the direction",
    "decay": "what is added to the direction for the sake of the weights' size",
    "tune": "the step size",
    "constrain": "the weights after the step",
    "average": "the weights to train and to evaluate with",
    "accumulate": "micro-batches",
    "guard": "whether the step is applied",
    "schedule": "numbers that depend on the step count `t`",
    "func": "functions of scalars and fields",
}
"""What the library holds of each kind, in the order of the page."""

SHELVES = {kind: tuple(shelf) for kind, shelf in groupby(entries(), key=lambda e: e.kind)}
"""The entries of the library by kind."""


def diagnostics() -> str:
    """The page of every diagnostic."""
    rules = sorted(RULES.values(), key=lambda rule: rule.code)
    rows = (f"| [`{r.code}`](#{r.code}) | {r.severity.value} | {r.summary} |" for r in rules)
    sections = (_diagnostic(rule) for rule in rules)
    return "\n\n".join(
        [
            "# Diagnostics",
            "Everything that `optc check` can say of a spec. The code stands in the headline, "
            "`error[unknown-rule]: ...`; codes never change their meaning. "
            "`optc explain CODE` prints what this page says. An error stops compilation, a warning "
            "does not.",
            "\n".join(["| code | severity | what it is |", "|---|---|---|", *rows]),
            *sections,
            _note("grammar/` and `compiler/", "rule"),
        ]
    )


def _diagnostic(rule: Rule) -> str:
    summary = f"*{rule.severity.value}: {rule.summary}*"
    return f"## {rule.code}\n\n{summary}\n\n{rule.explanation}"


def passes() -> str:
    """The page of what is done to a graph before it is printed."""
    found = contracts()
    order = ", ".join(f"`{run.__name__}`" for run in PIPELINE)
    rows = (f"| [`{c.name}`](#{c.name}) | {c.headline} | {c.ulps or ''} |" for c in found)
    return "\n\n".join(
        [
            "# Passes",
            "What is done to the graph of an optimizer between lowering and planning. A pass is a "
            "function from graph to graph; the verifier runs before the first and after each. "
            f"Their order is {order}.",
            "Each can be left out, alone or with others, and the program means the same: to see "
            "what a pass does, or whether it is to blame. `optc compile`, `optc plan` and "
            "`optc explain --executed` have `--no-pass NAME`, as often as wanted, and `optc.load`, "
            "`optc.compile` and `optc.plan` an argument `without`.",
            "```sh\noptc explain adamw --executed --no-pass factor\n"
            "optc plan adamw --params mlp --compiled --no-pass factor --no-pass cse\n```",
            '```python\nimport optc\n\nprogram = optc.load("adamw", without=["factor"])\n'
            'assert "scaled_eps" not in program.source\n```',
            "*Ulps* say how far rounding may move what a pass makes anew, in units of 2^-52 of the "
            "largest term that it is a sum of; a pass without a number moves no bit but for the "
            "sign of a zero. That is for the arithmetic of a graph in float64, as the reference "
            "interpreter does it; a test runs every optimizer of the library with each pass left "
            "out, and random ones. A compiled program may round in another order for reasons of "
            "its own.",
            "\n".join(["| pass | what it does | ulps |", "|---|---|---|", *rows]),
            *map(_pass, found),
            _note("compiler/passes/", "pass"),
        ]
    )


def _pass(contract: Contract) -> str:
    terms = ("Needs", contract.needs), ("Guarantees", contract.guarantees)
    promised = (f"*{term}:* {text}" for term, text in terms)
    return "\n\n".join([f"## {contract.name}", contract.summary, *promised])


def index() -> str:
    """The page that lists the library."""
    return "\n\n".join(
        [
            "# The library",
            "What a spec can name without declaring it. Each entry is a file of a few lines, "
            "`specs/KIND/NAME.opt`; `optc show NAME` prints it. The last column names a known "
            "implementation of the same map where there is one, with which the tests "
            "[compare](parity.md) the entry. [Dialects](dialects.md) says which of several methods "
            "of one name is which. What has a page of its own: gradients that are "
            "[taken elsewhere](perturbations.md), [step sizes](step-sizes.md) that ask the "
            "objective, [probes](probes.md), and what works on matrices: [Muon](muon.md), "
            "[SOAP and PSGD](soap.md), [Shampoo and K-FAC](shampoo.md).",
            *map(_contents, SHELVES),
            _note("specs/", "entry"),
        ]
    )


def _contents(kind: str) -> str:
    head = f"## {kind}\n\n{KINDS[kind].capitalize()}."
    rows = (
        f"| [`{e.name}`](library/{kind}.md#{kind}-{e.name}) | {e.summary} | {_code(e.twin)} |"
        for e in SHELVES[kind]
    )
    return head + "\n\n" + "\n".join(["| name | what it is | equals |", "|---|---|---|", *rows])


def shelf(kind: str) -> str:
    """The page of everything of one kind."""
    return "\n\n".join(
        [
            f"# The library: {kind}",
            f"{KINDS[kind].capitalize()}. The notation is that of the [language](../language.md).",
            *map(_entry, SHELVES[kind]),
            _note(f"specs/{kind}/", "entry"),
        ]
    )


def _entry(entry: Entry) -> str:
    parts = [f"## {entry.kind} {entry.name}", entry.doc]
    if entry.params:
        rows = (
            f"| `{name}` | {_code(default) or 'required'} | {_code(bounds)} |"
            for name, default, bounds in entry.params
        )
        parts.append("\n".join(["| parameter | default | range |", "|---|---|---|", *rows]))
    parts.append(f"```opt\n{entry.definition}\n```")
    return "\n\n".join(parts)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _note(place: str, what: str) -> str:
    return f"---\n\nWritten by `docs/generate.py` from each {what} in `{place}`.\n"


PAGES: dict[str, Callable[[], str]] = {
    "diagnostics.md": diagnostics,
    "passes.md": passes,
    "library.md": index,
}
PAGES |= {f"library/{kind}.md": partial(shelf, kind) for kind in SHELVES}
"""The generated pages by name."""


if __name__ == "__main__":
    (HERE / "library").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
