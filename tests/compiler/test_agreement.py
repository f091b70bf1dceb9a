"""The central law: interpreter and printed program agree, for all that ships and all examples."""

from pathlib import Path

import pytest
from agreement import agree, mistakes
from part import optimizers
from tried import square

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
        ("precondition", "gauss_newton"),
    )
]


def rules_of(file: str) -> str:
    return (EXAMPLES / f"{file}.opt").read_text()


@pytest.mark.parametrize(("file", "kind", "name"), RULES, ids=lambda part: str(part))
def test_an_example_rule_runs_as_its_graph_says(file, kind, name):
    body = STEPS[kind].format(name)
    agree(f"{rules_of(file)}\noptimizer one() {{\n  {body}\n  observe norm(g) as grad_norm\n}}")


@pytest.mark.parametrize("schedule", ["warmup_cosine(0.1, 2, 4)", "wsd(0.1, 2, 8)"])
def test_an_example_schedule_runs_as_its_graph_says(schedule):
    agree(f"{rules_of('rules_first_order')}\noptimizer one() {{ tune step {schedule} }}")


@pytest.mark.parametrize("name", ["fsam", "rules_first_order", "rules_oracles", "rules_matrix"])
def test_an_example_has_no_mistake(name):
    assert mistakes(rules_of(name)) == []


@pytest.mark.parametrize("call", ["shampoo(eps = 1e-2, {0})", "soap(eps = 1e-3, {0})"])
def test_an_example_of_matrices_runs_as_its_graph_says(call):
    """Their own eps leaves few digits of what is of low rank, where eigenvectors have any sign."""
    stages = f"precondition {call.format('refresh = 2')}\n  tune step 0.05"
    agree(f"{rules_of('rules_matrix')}\noptimizer one() {{\n  {stages}\n}}", square())


@pytest.mark.parametrize("name", ["muon_adamw", "muon_nodecay"])
def test_an_example_optimizer_runs_as_its_graph_says(name):
    agree(find(f"{EXAMPLES}/rules_matrix.opt:{name}"))


MEDLEY = """
optimizer medley(lr = 0.05) {
  clip         zero_nans()
  clip         per_tensor(0.5)
  clip         block_rms(0.3)
  clip         global_norm_torch(0.4)
  precondition centralize()
  precondition centralize_units()
  precondition normalize()
  precondition scaled_sign()
  precondition zero() where path matches "bias"
  tune step    lr
  constrain    freeze_oscillating(scale = 0.01, momentum = 0.5) where path matches "hidden"
  constrain    box(-1.0, 1.5)
  constrain    max_norm(1.5)
  constrain    l2_ball(2.5)
  constrain    proximal_decay()
  constrain    unit_norm("row") where path matches "hidden/kernel"
  constrain    simplex(0.7) where path matches "head"
  constrain    nonnegative()
  average      ema_power()

  observe constant(lr) as constant
  observe cosine_decay(2, 4, 0.1, 2) as cosine_decay
  observe cosine_onecycle(5, 2) as cosine_onecycle
  observe cosine_power(2, 5, 10, warmup = 1) as cosine_power
  observe cosine_power(2, 5, 1, rescale = true) as cosine_power_rescaled
  observe cosine_restarts(2, 3) as cosine_restarts
  observe exponential_decay(2, 2, 0.5, 1, true) as exponential_decay
  observe linear(2, 1, 3, 1) as linear
  observe linear_onecycle(5, 2) as linear_onecycle
  observe multi_step(2, 0.1, 2, 3) as multi_step
  observe polynomial(2, 1, 3, 4) as polynomial
  observe sgdr(2, 1) as sgdr
  observe triangular(1, 2, 2) as triangular
  observe warmup_constant(0, 2, 3) as warmup_constant
  observe warmup_cosine_decay(0, 2, 2, 5) as warmup_cosine_decay
  observe warmup_exponential_decay(0, 2, 2, 2, 0.5) as warmup_exponential_decay
  observe wsd(2, 1, 5, 0.5, "square") as wsd_square
  observe wsd(2, 1, 5, 0.5, "exponential", 0.1) as wsd_exponential
}
"""
"""Rules and schedules of the library that no optimizer of it has."""


def test_what_no_shipped_optimizer_has_is_printed_as_it_is_meant():
    agree(MEDLEY)


SIZES = """
optimizer sizes() {
  tune step 0.05 * min(1, cauchy(refresh = 2)) * min(1, sps_max()) * min(1, lanczos_rate(2.0, 2, 2))
  * hypergradient_multiplicative(1.0) * barzilai_borwein(1.0, short = true, max_step = 2)

  observe eta as step_size
}
"""


def test_step_sizes_that_no_shipped_optimizer_has_are_printed_as_they_are_meant():
    agree(SIZES)
