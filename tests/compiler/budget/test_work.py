"""Operations and oracles of a step, counted by hand; rates, decays and assertions."""

import json

import pytest

from optc.compiler.budget.budget import BudgetError, budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.driver import compile_spec
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import Located, find
from optc.compiler.meaning.normal import same_map
from optc.grammar.source import Source

TREE = Tree.of("tree", [Tensor("kernel", (30, 20)), Tensor("bias", (400,))])
"""A thousand weights, six hundred of them in a matrix."""


def planned(lines, parameters="lr = 0.1", rules="", tree=TREE, **settings):
    text = f"optimizer made({parameters}) {{\n{lines}\n}}\n{rules}"
    return budget(lowered_graph(Located(Source("<string>", text)), settings)[0], tree)


def per_weight(found):
    """Operations for each weight, without what is done once for a tensor or for all."""
    return {stage: round(count / 1000, 2) for stage, count in found.work.flops.items()}


# What is done for each weight: `lr * g`, and `w - step`.
STEP = {"tune": 1, "update": 1}


@pytest.mark.parametrize(
    ("lines", "flops"),
    [
        ("tune step lr", STEP),
        # The norm's squares and sums; its factor is one number with the rate.
        ("clip global_norm(1.0) tune step lr", {"clip": 2, **STEP}),
        # beta * trace + g
        ("precondition momentum(0.9) tune step lr", {"precondition": 2, **STEP}),
        # w - lr * decay * w, of matrices only
        ("decay weights(0.1) where ndim >= 2 tune step lr", {"decay": 1.2, **STEP}),
        ("tune step lr observe norm(g) as n every 10", {"observe n": 0.2, **STEP}),
        ("tune step lr observe norm(g) as n every 3", {"observe n": 0.67, **STEP}),
    ],
)
def test_operations_are_those_that_a_person_counts(lines, flops):
    assert per_weight(planned(lines)) == flops


def test_below_accumulate_all_is_done_once_in_n_calls():
    found = planned("accumulate 4 precondition momentum(0.9) tune step lr")
    # The sum of gradients at each call; the mean, and the stages below, at each fourth.
    assert per_weight(found)["precondition"] == 0.5
    assert found.oracles == {"loss": 1, "grad": 1}
    assert not found.work.at_most


@pytest.mark.parametrize(
    ("body", "share"),
    [
        ("every 4 { every 6 { x <- exp(x) } }", 1 / 12),
        ("every 4 { every 4 { x <- exp(x) } }", 1 / 4),
        ("if t % 4 == 1 { every 6 { x <- exp(x) } }", 1 / 12),
        ("if t % 4 == 0 { every 6 { x <- exp(x) } }", 0),
        ("if t % 4 == 0 { if (t + 2) % 6 == 0 { x <- exp(x) } }", 1 / 12),
        ("if t % 4 == 1 { x <- x } else { every 6 { x <- exp(x) } }", 1 / 12),
        ("every 4 { x <- x } every 6 { x <- exp(x) }", 1 / 6),
        ("if t % 3 == 0 { x <- exp(x) } else { x <- exp(x) }", 1),
    ],
)
def test_periods_inside_each_other_share_steps(body, share):
    rules = f"rule precondition due() {{ var x = g\n{body}\nreturn x }}"
    found = planned("precondition due() tune step lr", rules=rules)
    assert found.work.flops.get("precondition", 0) == pytest.approx(8 * 1000 * share, abs=10)
    assert not found.work.at_most


@pytest.mark.parametrize("condition", ["n % 4 == 0", "(2 * t) % 4 == 0", "t % 4 < 2", "t == 4"])
def test_of_what_is_no_period_the_dearer_side_counts(condition):
    rules = f"""
    rule precondition due() {{
      state n = 0
      n <- n + norm(g)
      var x = g
      if {condition} {{ x <- exp(x) }}
      return x
    }}
    """
    found = planned("precondition due() tune step lr", rules=rules)
    assert per_weight(found)["precondition"] == pytest.approx(8 + 2, abs=0.1)
    assert found.work.at_most
    assert "asks in a step: loss 1" in str(found)


def test_many_choices_inside_each_other_end_soon():
    body = "x <- exp(x)"
    for n in range(2, 40):
        body = f"if t % {n} == 0 {{ x <- x }} else {{ {body} }}"
    rules = f"rule precondition deep() {{ var x = g\n{body}\nreturn x }}"
    assert planned("precondition deep() tune step lr", rules=rules).work.at_most


@pytest.mark.parametrize(
    ("power", "products"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (-2, 2), (0.5, 8), (1000, 8)]
)
def test_a_whole_power_is_as_many_products_as_squaring_takes(power, products):
    rules = f"rule clip powered() {{ return g^({power}) }}"
    assert per_weight(planned("clip powered() tune step lr", rules=rules))["clip"] == products


def test_loops_count_their_rounds_and_choices_by_data_their_dearer_side():
    rules = """
    rule precondition looped(n: int = 5) {
      var x = g
      repeat n { x <- x * x }
      if norm(g) > 1 { x <- exp(x) }
      return x
    }
    """
    found = planned("precondition looped() tune step lr", rules=rules)
    # Five products, the squares and sums of a norm, and an exponential.
    assert per_weight(found) == {"precondition": 5 + 2 + 8, **STEP}
    assert found.work.at_most


@pytest.mark.parametrize(
    ("lines", "oracles"),
    [
        ("tune step lr", {"loss": 1, "grad": 1}),
        ("perturb sam(0.05) tune step lr", {"loss": 1, "grad": 2}),
        ("tune step lr observe sharpness(iterations = 8) as s every 100", {"hvp": 0.08}),
        ("tune step cdat()", {"curvature": 1}),
        ("tune step armijo(limit = 4)", {"loss": 1 + 5, "grad": 1}),
    ],
)
def test_oracles_are_an_average_over_steps(lines, oracles):
    found = planned(lines)
    assert {name: found.oracles.get(name) for name in oracles} == oracles


@pytest.mark.parametrize("name", ["fsam", "cdat_adam", "sam", "adamw"])
def test_oracles_that_are_asked_at_each_step_are_those_of_the_summary(name):
    counts = compile_spec(find(name)).summary.oracles
    found = budget(lowered_graph(find(name))[0], TREE)
    asked = {name: count for name, count in found.oracles.items() if count == int(count)}
    assert asked.items() <= counts.items()
    assert set(found.oracles) == set(counts)


def said(found, path):
    line = next(line for line in found.table if line.tensor.path == path)
    rate = line.rate.value
    return rate if rate is None else round(rate, 12), [decay.value for decay in line.decays]


@pytest.mark.parametrize(
    ("lines", "kernel"),
    [
        ("tune step lr", (0.1, [])),
        ("decay weights(0.3) tune step lr", (0.1, [0.3])),
        ("decay weights(2 * lr) where ndim >= 2 tune step lr / 4", (0.025, [0.2])),
        ("tune step lr decay weights(lr)", (0.1, [0.1])),
        ("decay l1(0.3) tune step lr", (0.1, [None])),
        ("decay weights(0.1) decay weights(0.2) tune step lr", (0.1, [0.1, 0.2])),
        ("tune step lr * width_scale(base = 60)", (0.2, [])),
        ("tune step warmup_cosine(peak = lr, warmup = 50, total = 100)", (0.002, [])),
        ("tune step interpolate(t, 0, 0.0, 10, 2.0)", (0.2, [])),
        ("tune step cdat()", (None, [])),
        ("tune step lr / norm(u)", (None, [])),
        ("tune step where(lr < 1, clamp(lr, 0, 0.05), 3)", (0.05, [])),
        ("accumulate 3 decay weights(0.5) tune step lr / 2", (0.05, [0.5])),
        (
            "group m where ndim >= 2 { decay weights(0.5) tune step lr } "
            "group rest { tune step 7 }",
            (0.1, [0.5]),
        ),
        (
            'group m where ndim >= 2 view "a b -> b a" '
            "{ tune step lr decay weights(2 * lr) where rows >= 3 decay weights(0.1) } "
            "group rest { tune step 7 }",
            (0.1, [0.2, 0.1]),
        ),
        (
            'group m where ndim >= 2 view "a b -> b a" '
            "{ decay weights(0.5) tune step lr * width_scale(base = 40) } "
            "group rest { tune step 7 }",
            (0.2, [0.5]),
        ),
    ],
)
def test_rates_and_decays_have_a_value_at_the_first_step_where_no_data_decide(lines, kernel):
    assert said(planned(lines), "kernel") == kernel


def test_a_tensor_outside_where_has_no_decay_and_one_of_another_group_its_own_rate():
    assert said(planned("decay weights(1) where ndim >= 2 tune step lr"), "bias") == (0.1, [])
    lines = "group m where ndim >= 2 { tune step lr } group rest { tune step 7 }"
    assert said(planned(lines), "bias") == (7.0, [])


def test_a_choice_whose_condition_is_known_has_its_value():
    rules = """
    rule tune chosen(first: bool) {
      var x = 1
      if t == 1 { x <- 3 } else { x <- 4 }
      when first { return x } else { return 2 * x }
    }
    """
    for first, rate in ((True, 3.0), (False, 6.0)):
        found = planned("tune step chosen(first)", "first: bool = true", rules, first=first)
        assert said(found, "kernel") == (rate, [])


def test_long_rules_are_no_deeper_than_short_ones():
    doubled = "\n".join(f"x{n + 1} = x{n} + x{n}" for n in range(600))
    halved = "\n".join(f"y{n + 1} = 0.5 * y{n}" for n in range(600))
    rules = f"rule decay long() {{ x0 = u\n{doubled}\ny0 = x600 + 0.25 * w\n{halved} return y600 }}"
    found = planned("decay long() tune step lr", rules=rules)
    # The signal is doubled as often as it is halved, so what is added to it is a decay.
    assert said(found, "kernel") == (0.1, [0.25 * 0.5**600])


def test_settings_and_derived_defaults_have_their_say():
    parameters = "lr = 0.1, floor = lr / 10, n: int = 2"
    found = planned("tune step floor * n", parameters, lr=0.5, n=3)
    assert said(found, "kernel") == (0.15, [])


def test_a_static_parameter_without_a_default_must_be_given():
    lines, parameters = "accumulate n tune step lr", "lr, n: int in [1, inf)"
    with pytest.raises(BudgetError, match="`n` has no default"):
        planned(lines, parameters)
    assert said(planned(lines, parameters, n=2), "kernel") == (None, [])


def test_a_rate_without_a_value_is_not_said_to_be_decided_by_data():
    shown = str(planned("tune step lr", "lr in [0, inf)"))
    assert "(30, 20)  float32  not known\n" in shown
    assert "\n\nwithout a value: lr\n\n" in shown
    assert "by data" not in shown
    assert "float32  by data\n" in str(planned("tune step lr / norm(u)"))


def test_values_that_a_rule_refuses_are_a_finding():
    rules = """
    rule clip powered(power: int = 2) {
      when power < 1 { error "the power is at least 1" }
      return g^power
    }
    """
    lines, parameters = "clip powered(n) tune step lr", "lr = 0.1, n: int = 2"
    assert planned(lines, parameters, rules).findings == ()
    refused = planned(lines, parameters, rules, n=0)
    assert not refused.ok
    assert [f.message for f in refused.findings] == ["the power is at least 1 (<string>:2)"]


CLAIMS = {
    "state_bytes == 8 and weight_bytes == 4 * 1000": True,  # lr and the count
    "tensors == 2 and groups == 0 and oracles == 2": True,
    "flops_per_weight < 2.5 and not flops_per_weight < 2": True,
    "state_bytes / weight_bytes > 0.01 or tensors == 3": False,
    "-tensors == -2": True,
    "tensors ^ 2 == 4": True,
    "1 / (tensors - 2) > 0": False,
    "1 / (tensors - 2) <= 0": False,
    "10 ^ (1000 ^ tensors) > weight_bytes": True,
    "tensors ^ weight_bytes ^ state_bytes > 0": True,
    "(-8) ^ 0.5 > 0": False,
    "1e308 * weight_bytes > 0": True,
    "true": True,
    "not true or false": False,
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_assertions_are_judged_by_what_was_measured(claim):
    found = planned(f"tune step lr assert {claim}")
    (verdict,) = found.verdicts
    assert verdict.holds == CLAIMS[claim]
    assert found.ok == verdict.holds
    assert verdict.assertion.place == "<string>:2"


def test_a_broken_assertion_shows_both_of_its_sides():
    found = planned("tune step lr assert 2 * tensors <= 3 assert tensors == 1 and oracles < 9")
    assert str(found).endswith(
        "assert 2 * tensors <= 3: DOES NOT HOLD, 4 and 3 (<string>:2)\n"
        "assert tensors == 1 and oracles < 9: DOES NOT HOLD, tensors = 2, oracles = 2 (<string>:2)"
    )


def test_assertions_change_nothing_of_the_program_and_are_not_inherited():
    def source(text):
        return compile_spec(Located(Source("<string>", text))).source

    bare = "optimizer a(lr = 0.1) { tune step lr }"
    assert source(bare.replace("}", "assert tensors < 0 }")) == source(bare)
    claiming = bare.replace("}", "assert tensors < 0 }")
    graphs = [lowered_graph(Located(Source("<string>", text)))[0] for text in (bare, claiming)]
    assert same_map(*graphs)
    base = claiming
    for edit, claims in (("replace tune with 1", []), ("assert tensors > 0", ["tensors > 0"])):
        located = Located(Source("<string>", f"{base} optimizer b from a {{ {edit} }}"))
        graph = lowered_graph(located)[0]
        assert [assertion.text for assertion in graph.assertions] == claims


def test_sides_without_a_finite_value_are_shown_and_are_texts_in_json():
    found = planned("tune step inf assert 10 ^ 1000 ^ tensors < 1 / (tensors - 2)")
    assert str(found).endswith("DOES NOT HOLD, inf and nan (<string>:2)")
    plan = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plan["assertions"][0]["sides"] == ["inf", "nan"]
    assert plan["tensors"][0]["rate"]["at_1"] == "inf"


def test_a_comment_inside_an_assertion_is_none_of_its_text():
    found = planned("tune step lr assert tensors == 2 and # both\n  not groups > 0 # none\n")
    assert [v.assertion.text for v in found.verdicts] == ["tensors == 2 and not groups > 0"]
