"""Real pairs of optimizers: which are the same map, where others part, and the maps between them.

What is expected is what papers, torch and optax say of each other (`docs/dialects.md`), or what
two short formulas show.
"""

import json
from functools import cache

import numpy as np
import pytest
from agreement import graph_of

from optc.compiler.locate import find
from optc.compiler.meaning.blame import Culprit
from optc.compiler.meaning.report import data, text
from optc.compiler.meaning.side import Program
from optc.compiler.meaning.verdict import decide

AVERAGED = """
optimizer averaged(lr = 0.1 in [0, inf), beta = 0.9 in [0, 1]) {
  tune step lr
  average   schedule_free_stored(beta)
}
"""

SIGNED = """
optimizer signed(lr = 0.1 in [0, inf), beta = 0.9 in [0, 1)) {
  precondition step_sign(beta)
  tune step    lr
}
rule precondition step_sign(beta = 0.9 in [0, 1)) {
  state kept = zeros(g)
  kept <- g + beta * (kept - g)
  return where(kept > 0, 1.0, where(kept < 0, -1.0, 0.0))
}
"""

INSIDE = """
optimizer inside(lr = 0.1 in [0, inf), b2 = 0.9 in [0, 1), eps = 1e-8 in (0, inf)) {
  precondition scaled(b2, eps)
  tune step    lr
}
rule precondition scaled(b2 = 0.9 in [0, 1), eps = 1e-8 in (0, inf)) {
  state nu = zeros(g)
  nu <- b2 * nu + (1 - b2) * g^2
  return g / ROOT
}
"""

TALL = """
optimizer tall(lr = 0.1 in [0, inf)) {
  group hidden where ndim == 2 and not path matches "embed|head" { precondition own() }
  group rest { precondition sign() }
  tune step lr
}
rule precondition own() {
  when g is [rows, cols] { return polar(g) * sqrt(%s) } else { return g }
}
"""

ADOPT = """
optimizer ordered(lr = 0.1 in [0, inf), b2 = 0.9 in [0, 1), eps = 1e-6 in (0, inf)) {
  precondition divided(b2, eps)
  tune step    lr
}
rule precondition divided(b2 = 0.9 in [0, 1), eps = 1e-6 in (0, inf)) {
  state nu = ones(g)
  LINES
}
"""

DIVIDE, WRITE = "u = g / max(sqrt(nu), eps)", "nu <- b2 * nu + (1 - b2) * g^2"

DRAWN = """
optimizer drawn(lr = 0.1 in [0, inf)) {
  perturb   shaken()
  tune step lr
}
rule perturb shaken() {
  v = KIND(w)
  return g + 0.1 * v
}
"""

PLAIN = "optimizer plain(lr = 0.1 in [0, inf)) { tune step lr }"

TURNED = """
optimizer turned(lr = 0.1 in [0, inf)) {
  precondition held()
  tune step    lr
}
rule precondition held() {
  state old = zeros(g)
  u = where(WHAT <= 0, 2 * g, g)
  old <- g
  return u
}
"""

PICKY = """
optimizer picky(lr = 0.1 in [0, inf)) {
  precondition flat()
  tune step    lr
}
rule precondition flat() {
  when ndim <= 3 { return g } else { error "at most three axes" }
}
"""

SELDOM = """
optimizer seldom(lr = 0.1 in [0, inf)) {
  precondition kept()
  tune step    lr
}
rule precondition kept() {
  state m = zeros(g)
  every 2 { m <- m + TIMES * g }
  return m
}
"""

SPECS = {
    "by_two": SELDOM.replace("TIMES", "2"),
    "by_three": SELDOM.replace("TIMES", "3"),
    "picky": PICKY,
    "by_quotient": TURNED.replace("WHAT", "g / old"),
    "by_product": TURNED.replace("WHAT", "g * old"),
    "averaged": AVERAGED,
    "signed": SIGNED,
    "inside": INSIDE.replace("ROOT", "sqrt(nu + eps)"),
    "outside": INSIDE.replace("ROOT", "(sqrt(nu) + eps)"),
    "divide_first": ADOPT.replace("LINES", f"{DIVIDE}\n  {WRITE}\n  return u"),
    "write_first": ADOPT.replace("LINES", f"{WRITE}\n  {DIVIDE}\n  return u"),
    "normal": DRAWN.replace("KIND", "normal"),
    "rademacher": DRAWN.replace("KIND", "rademacher"),
    "plain": PLAIN,
    "pick": 'optimizer pick() { group one where path matches "nowhere" { tune step 1.0 } }',
    "anywhere": "optimizer anywhere(p = 0.1) { tune step p }",
    "size": "optimizer size(p = 0.1 in [0, inf)) { tune step abs(p) }",
    "needs": "optimizer needs(rate) { tune step rate }",
    "wild": "optimizer wild(lr = 0.1) { tune step lr / 0 * 0 }",
    "breaks": "optimizer breaks(lr = 0.1) { tune step lr / min(1, 3 - t) }",
    "stepped": "optimizer stepped(lr = 0.1 in [0, inf)) { tune step where(t > 25, lr / 2, lr) }",
    "free": "optimizer free(a = 0.1 in [0, inf), b = 0.5 in [0, 1)) { tune step a * (1 - b) }",
}


@cache
def side(name):
    where = SPECS.get(name) or find(name)
    return Program(name, graph_of(where))


@cache
def verdict(a, b, maps=False):
    return decide(side(a), side(b), maps=maps)


def lines(found, side):
    """The lines of the spec that the blame names, for each side."""
    assert isinstance(found, Culprit)
    assert found.program is side
    nodes = {node.id: node for node in side.graph.step.nodes}
    return side.graph.stages[nodes[found.node].stage].text


# ---- the same


@pytest.mark.parametrize(
    ("a", "b", "set_a", "set_b"),
    [
        ("adamw", "adam", {"decay": 0.0}, {}),
        ("rmsprop_momentum", "rmsprop", {"momentum": 0.0}, {}),
        ("sgd_torch", "sgd_coupled", {"dampening": 0.0}, {}),
        ("signum", "lion", {"beta": 0.8}, {"b1": 0.8, "b2": 0.8}),
        ("amsgrad", "amsgrad_torch", {"b2": 0.0}, {"b2": 0.0}),
        ("plain", "sgd", {}, {}),
    ],
)
def test_pairs_that_are_the_same_map(a, b, set_a, set_b):
    found = decide(side(a), side(b), set_a, set_b, maps=False)
    assert found.same, text(found)
    assert all(each.apart <= each.bound for each in found.together)


def test_a_sign_written_as_a_choice_is_the_same_on_tapes():
    found = decide(side("signed"), side("signum"), {}, {"decay": 0.0}, maps=False)
    assert found.same, text(found)
    assert sum(each.steps for each in found.together) > 100


# ---- different, and where


@pytest.mark.parametrize(
    ("a", "b", "step", "blamed_a", "blamed_b"),
    [
        # Coupled decay is part of the gradient, and decoupled decay of the direction.
        ("adamw", "adam_coupled", 1, "precondition adam(b1, b2, eps)", "decay weights(decay)"),
        ("sgdw", "sgd_coupled", 2, None, "decay weights(decay)"),
        # torch has Dozat's schedule of the momentum, optax a constant one.
        ("nadam", "nadam_torch", 1, "precondition nadam(b1, b2, eps)", None),
        ("inside", "outside", 1, "precondition scaled(b2, eps)", "precondition scaled(b2, eps)"),
        ("rmsprop", "rmsprop_torch", 1, None, "precondition rmsprop_torch(b2, eps)"),
        # ADOPT divides by the moment of earlier steps, and then writes it.
        ("divide_first", "write_first", 1, None, "precondition divided(b2, eps)"),
        ("adopt", "adopt_unclipped", 2, "precondition adopt(b1, b2, eps)", None),
        ("momentum", "sgd_nesterov", 1, "tune step lr", "precondition nesterov(momentum)"),
        ("amsgrad", "amsgrad_paper", 1, None, "precondition amsgrad_paper(b1, b2, eps)"),
        ("amsgrad", "amsgrad_torch", 2, None, "precondition amsgrad_torch(b1, b2, eps)"),
        ("adamw", "adamw_paper", 1, "decay weights(decay)", "precondition scaled(lr)"),
        ("adam", "adam_keras", 1, None, "precondition adam_keras(b1, b2, eps)"),
        ("lars", "lars_paper", 1, None, None),
        ("signum", "lion", 2, None, "precondition lion(b1, b2)"),
    ],
)
def test_pairs_that_differ_and_where(a, b, step, blamed_a, blamed_b):
    found = verdict(a, b)
    assert found.same is False
    assert found.parting.step == step
    assert found.parting.apart > found.parting.bound
    for blamed, expected, one in (
        (found.blame.a, blamed_a, side(a)),
        (found.blame.b, blamed_b, side(b)),
    ):
        if expected is not None:
            assert lines(blamed, one) == expected


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        # The one is in the side of a choice that is taken, the other in a loop.
        ("shampoo", "shampoo_squared", "the state `L` as the step finds it"),
        ("muon", "muon_polar_express", "`y`, as the loop leaves it"),
        ("by_two", "by_three", "3 g"),
    ],
)
def test_choices_and_loops_are_looked_into(a, b, shown):
    assert shown in text(verdict(a, b))


def test_the_first_value_is_shown_with_its_formula():
    shown = text(verdict("inside", "outside"))
    assert "nu + ε" in shown or "v + ε" in shown
    assert "step 1" in shown
    assert "precondition scaled(b2, eps)" in shown


def test_the_order_of_writes_shows_in_the_root():
    shown = text(verdict("write_first", "divide_first"))
    assert "√v" in shown


def test_different_defaults_are_said():
    notes = verdict("adam", "adam_keras").notes
    assert any("`eps` is 1e-08 in adam and 1e-07 in adam_keras" in note for note in notes)


def test_two_that_differ_in_values_alone_say_in_which():
    found = decide(
        side("adamw"), side("adamw"), {"decay": 0.5, "b1": 0.5}, {"decay": 0.25, "b1": 0.5}
    )
    assert [(x.name, x.a, x.b) for x in found.differences] == [("decay", 0.5, 0.25)]
    assert found.blame is None
    assert found.maps == ()


def test_what_differs_where_it_is_undefined_is_no_map():
    """`g / old < 0` is `g * old < 0` but where `old` is 0: the two have one normal form."""
    found = verdict("by_quotient", "by_product")
    assert found.same is False
    assert not found.proved
    assert any("they part only where one of them divides by 0" in note for note in found.notes)


def test_what_one_side_alone_refuses_is_noted():
    (note,) = verdict("picky", "plain").notes
    assert note == "picky alone refuses some weights of the tapes: at most three axes"
    assert verdict("picky", "plain").proved


def test_ranges_that_differ_are_said_where_the_answer_is_yes():
    (note,) = verdict("anywhere", "size").notes
    assert note == "`p` is any number in anywhere and in [0, inf) in size: compared inside both"
    assert verdict("anywhere", "size").proved


def test_averages_differ_in_the_weights_to_evaluate_with():
    found = decide(side("averaged"), side("sgd"), {"beta": 0.0}, maps=False)
    assert found.same is False
    assert found.parting.evaluation
    assert "the weights to evaluate with differ" in text(found)


# ---- maps


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        ("signum", "lion", "signum is lion(lr = lr, b1 = beta, b2 = beta, decay = decay)"),
        ("lion", "signum", "signum is lion(lr = lr, b1 = beta, b2 = beta, decay = decay)"),
        ("averaged", "sgd", "sgd is averaged(lr = lr, beta = 0)"),
        (
            "adamw_independent",
            "adamw",
            "adamw_independent is adamw(lr = lr, b1 = b1, b2 = b2, eps = eps, decay = decay / lr)",
        ),
        ("adamw", "adam", "adam is adamw(lr = lr, b1 = b1, b2 = b2, eps = eps, decay = 0)"),
        ("momentum", "sgd_nesterov", "momentum with momentum = 0 is sgd_nesterov("),
        ("free", "sgd", "free is sgd(lr = a * (1 - b))"),
    ],
)
def test_parameter_maps_are_found(a, b, shown):
    found = verdict(a, b, maps=True)
    assert found.same is False
    assert shown in text(found)


def test_a_map_is_proved_by_normal_form():
    (found,) = verdict("signum", "lion", maps=True).maps
    assert found.proved
    assert found.evaluates


def test_a_map_of_the_weights_alone_says_so():
    (found,) = verdict("averaged", "sgd", maps=True).maps
    assert not found.evaluates
    assert "the weights to evaluate with are others" in text(verdict("averaged", "sgd", maps=True))


def test_no_map_is_invented():
    assert verdict("adam", "momentum", maps=True).maps == ()


# ---- not decided


def test_two_that_draw_are_not_told_apart():
    found = verdict("normal", "rademacher")
    assert found.same is None
    assert "both draw random fields" in text(found)


def test_one_that_draws_is_told_from_one_that_does_not():
    assert verdict("normal", "plain").same is False


def test_the_same_draws_at_the_same_sites_are_the_same():
    assert verdict("normal", "normal").same


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("pick", "plain", "`embed/kernel` falls into no group"),
        ("needs", "plain", "`rate` of needs has no default"),
        ("wild", "wild", ""),
    ],
)
def test_what_cannot_be_followed_is_not_decided(a, b, reason):
    found = verdict(a, b)
    assert found.proved or found.same is None
    assert reason in found.reason


def test_a_value_for_what_has_no_default_decides():
    found = decide(side("needs"), side("plain"), {"rate": 0.1}, {"lr": 0.1}, maps=False)
    assert found.same


# ---- later than a tape


def test_what_differs_for_tall_matrices_alone_differs():
    found = decide(
        Program("a", graph_of(TALL % "max(1, cols / rows)")),
        Program("b", graph_of(TALL % "(cols / rows)")),
    )
    assert found.same is False
    assert found.parting is not None
    assert found.parting.shape == (6, 5)


def test_what_happens_after_a_tape_is_noted():
    found = decide(side("stepped"), side("sgd"), maps=False)
    assert found.same
    assert not found.proved
    assert any("with fresh states at step 101 they part" in note for note in found.notes)
    assert decide(side("stepped"), side("sgd"), steps=30, maps=False).same is False


def test_a_map_that_ends_with_the_tape_is_no_map():
    assert verdict("swa_sgd", "sgd", maps=True).maps == ()


# ---- as data


def test_the_data_has_what_the_words_have():
    found = data(verdict("inside", "outside"))
    assert found["schema"] == 1
    assert found["verdict"] == "different"
    assert found["difference"]["step"] == 1
    assert found["difference"]["node"]["a"]["formula"]
    assert data(verdict("normal", "rademacher"))["verdict"] == "undecided"
    assert data(verdict("plain", "sgd"))["verdict"] == "same"


def test_the_data_is_json_where_a_number_is_not_finite():
    found = data(decide(side("plain"), side("breaks"), maps=False))
    assert found["difference"]["apart"] == "inf"
    json.dumps(found, allow_nan=False)


def test_another_seed_has_other_numbers_and_the_same_verdict():
    one, other = (decide(side("inside"), side("outside"), seed=s, maps=False) for s in (0, 7))
    assert one.same is other.same is False
    assert not np.isclose(one.parting.a, other.parting.a)
