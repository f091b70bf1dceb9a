"""The central law: interpreter and printed program agree, for all that ships and all examples."""

from pathlib import Path

import pytest
from agreement import agree, mistakes
from part import optimizers

from optc.compiler.locate import find

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", optimizers())
def test_a_shipped_optimizer_runs_as_its_graph_says(name):
    agree(find(name))


STEPS = {
    "precondition": "precondition {0}()\n  tune step 0.05",
    "clip": "clip {0}()\n  tune step 0.05",
    "decay": "decay {0}()\n  tune step 0.05",
    "tune": "tune step 0.05 * {0}()",
    "perturb": "perturb {0}()\n  tune step 0.05",
    "average": "tune step 0.05\n  average {0}()",
    "constrain": "tune step 0.05\n  constrain {0}()",
}
"""An optimizer around a rule of each kind."""

RULES = [
    ("rules_first_order", kind, name)
    for kind, name in (
        ("precondition", "adam"),
        ("precondition", "lion"),
        ("clip", "global_norm"),
        ("clip", "adaptive"),
        ("decay", "weights"),
        ("tune", "trust_ratio"),
        ("average", "schedule_free"),
        ("constrain", "exponentiated"),
    )
] + [
    ("rules_oracles", kind, name)
    for kind, name in (
        ("perturb", "sam"),
        ("perturb", "functional_sam"),
        ("perturb", "preconditioned_functional_sam"),
        ("perturb", "weight_noise"),
        ("perturb", "gradient_penalty"),
        ("perturb", "storm"),
        ("tune", "cdat"),
        ("tune", "armijo"),
        ("tune", "polyak"),
        ("precondition", "sophia_h"),
    )
]


def rules_of(file: str) -> str:
    text = (EXAMPLES / f"{file}.opt").read_text()
    # Conjugate gradients are parsed and not compiled yet.
    return text[: text.index("rule precondition gauss_newton")] if "gauss_newton" in text else text


@pytest.mark.parametrize(("file", "kind", "name"), RULES, ids=lambda part: str(part))
def test_an_example_rule_runs_as_its_graph_says(file, kind, name):
    body = STEPS[kind].format(name)
    agree(f"{rules_of(file)}\noptimizer one() {{\n  {body}\n  observe norm(g) as grad_norm\n}}")


@pytest.mark.parametrize("schedule", ["warmup_cosine(0.1, 2, 4)", "wsd(0.1, 2, 8)"])
def test_an_example_schedule_runs_as_its_graph_says(schedule):
    agree(f"{rules_of('rules_first_order')}\noptimizer one() {{ tune step {schedule} }}")


def test_what_waits_for_its_turn_is_named():
    file = (EXAMPLES / "rules_oracles.opt").read_text()
    assert all(m.startswith("not-yet-compiled") for m in mistakes(file))
