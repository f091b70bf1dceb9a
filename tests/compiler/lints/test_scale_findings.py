"""What the lints of scales, signs, rates and groups find, and what they leave alone."""

import pytest
from linted import EXAMPLES, OPTIMIZERS, codes, in_a_pipeline, subject

from optc.compiler import library
from optc.compiler.check import check
from optc.compiler.lints import LIMIT
from optc.compiler.locate import Located, find
from optc.grammar.source import Source

OWN = """
rule precondition free(b1 = 0.9, b2 = 0.999, eps = 1e-8) {
  state mu = zeros(g)
  state nu = zeros(g)
  mu <- b1 * mu + (1 - b1) * g
  nu <- nu + (1 - b2) * (g^2 - nu)
  return mu / (1 - b1^t) / (sqrt(nu / (1 - b2^t)) + eps)
}
rule precondition unguarded() { return g / norm(g) }
rule precondition guarded() {
  length = norm(g)
  return where(length > 0, g / length, g)
}
rule precondition rooted() {
  state nu = zeros(g)
  nu <- 0.9 * nu + 0.1 * g^2
  return g / sqrt(nu)
}
rule precondition late(b = 0.9) {
  state m = zeros(g)
  m <- b * m + (1 - b) * g
  return m / (1 - b^(t - 1))
}
rule precondition rising() {
  state size = 1
  if norm(g) > 1 { size <- size / 2 } else { size <- 2 * size }
  return size * g
}
rule precondition rare() {
  state size = 1
  every 10 { size <- 2 * size }
  return size * g
}
rule precondition newton() { return g / hvp(ones(w)) }
rule perturb elsewhere() {
  other = grad(w / 2)
  return other / norm(other)
}
rule precondition backwards() { return -g }
rule precondition damped(damping = 0.1) { return g / (norm(g) + damping) }
rule clip bound(limit = 1.0) { return clamp(g, -limit, limit) }
rule precondition soft() {
  state nu = zeros(g)
  nu <- 0.9 * nu + 0.1 * g^2
  return g / (1 + sqrt(nu))
}
rule precondition inside(b2 = 0.999, eps = 1e-8) {
  state nu = zeros(g)
  nu <- b2 * nu + (1 - b2) * g^2
  return g / sqrt(nu + eps)
}
rule precondition summed(eps = 1e-8) {
  state sum = zeros(g)
  sum <- sum + g^2
  return g / (sqrt(sum) + eps)
}
rule clip cut(limit = 1.0) {
  length = norm(g)
  if length > limit { return g * (limit / length) } else { return g }
}
rule clip chosen(limit = 1.0) {
  length = norm(g)
  return where(length > limit, g * limit / length, g)
}
rule clip dropped(limit = 1.0) { return where(norm(g) > limit, 0, 1) * g }
rule clip dropping(limit = 1.0) { if norm(g) > limit { return 0 * g } else { return g } }
rule clip shorter(limit = 1.0) { return min(1, limit / norm(g)) * g }
rule constrain up() { return w + eta * u }
rule constrain down() { return w - eta * u }
rule guard sound() { return all(isfinite(u)) }
rule decay l2(rate) { return u + rate * w }
"""


def found(stages, parameters="lr = 0.1 in [0, inf)"):
    return codes(f"{OWN} optimizer one({parameters}) {{ {stages} }}")


def groups(inside, rest, tune="tune step lr"):
    return f"group big where ndim >= 2 {{ {inside} }} group rest {{ {rest} }} {tune}"


FLAGGED = [
    # A constant factor that a later stage takes out again.
    ("precondition scaled(10) precondition adam() tune step lr", "dead-scale"),
    ("precondition scaled(10) precondition lion() decay weights(0.1) tune step lr", "dead-scale"),
    ("precondition scaled(lr) precondition adam() tune step 1", "dead-scale"),
    ("precondition scaled(10) precondition normalize() tune step lr", "dead-scale"),
    ("precondition scaled(3) precondition rmsprop() tune step lr average ema()", "dead-scale"),
    ("precondition scaled(3) tune step lr / (norm(u) + 1e-8)", "dead-scale"),
    (
        f"precondition scaled(10) {groups('precondition adam()', 'precondition lion()')}",
        "dead-scale",
    ),
    ("tune step lr precondition sign()", "dead-scale"),
    # A rate that multiplies the step, or a part of it, twice.
    ("precondition scaled(lr) tune step lr", "rate-twice"),
    ("tune step lr precondition scaled(lr)", "rate-twice"),
    ("tune step lr * lr", "rate-twice"),
    ("tune step lr * warmup_cosine(peak = lr, warmup = 10, total = 100)", "rate-twice"),
    ("precondition adam() decay weights(lr * 0.1) tune step lr", "rate-twice"),
    ("precondition adam() decay l2(lr / 10) tune step lr / 2", "rate-twice"),
    # A step that goes up the loss.
    ("precondition adam() tune step -lr", "ascent"),
    ("precondition adam() precondition scaled(-1) tune step lr", "ascent"),
    ("precondition momentum() precondition backwards() tune step lr", "ascent"),
    ("precondition backwards() precondition adam() decay weights(0.1) tune step lr", "ascent"),
    ("tune step lr constrain up()", "ascent"),
    ("clip shorter(-1) tune step lr", "ascent"),
    (groups("tune step -lr", "tune step lr", ""), "ascent"),
    # Clips that do nothing, or not what they say.
    ("precondition lion() clip global_norm(1.0) tune step lr", "clip-after-sign"),
    ("precondition sign() clip value(0.5) tune step lr", "clip-after-sign"),
    ("precondition sign() tune step lr clip per_tensor(0.5)", "clip-after-sign"),
    ("clip global_norm(1.0) precondition sign() tune step lr", "dead-clip"),
    ("clip global_norm(1.0) precondition normalize() tune step lr", "dead-clip"),
    ("clip global_norm(1.0) precondition sign() precondition momentum() tune step lr", "dead-clip"),
    (groups("clip global_norm(1.0)", "precondition adam()"), "clip-in-group"),
    ("clip bound(-1) tune step lr", "crossed-limits"),
    # Decay that an adaptive stage rescales.
    ("decay weights(0.1) precondition adam() tune step lr", "coupled-decay"),
    ("decay weights(0.1) where ndim >= 2 precondition adam() tune step lr", "coupled-decay"),
    ("decay weights(0.1) clip global_norm(1.0) precondition adam() tune step lr", "coupled-decay"),
    ("decay l2(0.1) precondition momentum() precondition sign() tune step lr", "coupled-decay"),
    # Averages that grow.
    ("precondition free(b1 = 1.9) tune step lr", "diverging-state"),
    ("precondition free(b1 = -1.1) tune step lr", "diverging-state"),
    ("precondition free(b2 = 1.5) tune step lr guard finite", "diverging-state"),
    ("precondition rare() tune step lr", "diverging-state"),
    # Steps that are no numbers.
    ("precondition late() tune step lr", "undefined-step"),
    ("tune step lr * sqrt(-2 * t)", "undefined-step"),
    ("precondition unguarded() tune step lr", "zero-gradient"),
    # The gradient is finite there, and `guard finite` asks for no more.
    ("precondition unguarded() tune step lr guard finite", "zero-gradient"),
    ("precondition rooted() decay weights(0.1) tune step lr", "zero-gradient"),
    # Stages that change nothing.
    ("decay weights(0) tune step lr", "idle-stage"),
    ("clip value(inf) tune step lr", "idle-stage"),
    ("clip global_norm(inf) tune step lr", "idle-stage"),
    ("precondition scaled(1) tune step lr", "idle-stage"),
    ("precondition momentum(0) tune step lr", "idle-stage"),
    # An eps beside a root that is never larger.
    ("clip value(0.001) precondition adam(eps = 0.001) tune step lr", "dominant-eps"),
    ("clip global_norm(1.0) precondition adam(eps = 1.0) tune step lr", "dominant-eps"),
    ("clip per_tensor(0.1) precondition free(eps = 0.1) tune step lr", "dominant-eps"),
    ("clip shorter(0.1) precondition inside(eps = 0.01) tune step lr", "dominant-eps"),
    ("precondition sign() precondition adam(eps = 1) tune step lr", "dominant-eps"),
    ("precondition damped(0.1) precondition free(eps = 1) tune step lr", "dominant-eps"),
    # A clip may be a choice.
    ("clip cut() precondition sign() tune step lr", "dead-clip"),
    ("clip chosen() precondition normalize(eps = 1e-12) tune step lr", "dead-clip"),
    ("precondition sign() clip cut() tune step lr", "clip-after-sign"),
]

NEAR = [
    # What follows depends on the scale, in some tensors or through something else.
    "precondition scaled(10) precondition momentum() tune step lr",
    "precondition scaled(10) decay weights(0.1) precondition normalize() tune step lr",
    "precondition scaled(10) clip global_norm(1.0) precondition adam() tune step lr",
    "precondition scaled(10) precondition damped() tune step lr",
    "precondition scaled(10) precondition adagrad() tune step lr",
    f"precondition scaled(10) {groups('precondition adam()', 'precondition momentum()')}",
    "precondition adam() precondition scaled(10) tune step lr",
    "precondition scaled(1 / t) precondition adam() tune step lr",
    groups("precondition scaled(10)", "precondition adam()"),
    # The rate once, however it is written.
    "precondition adam() tune step lr decay weights(lr * 0.1)",
    "precondition scaled(lr) tune step 1",
    "tune step lr * warmup_cosine(peak = 1, warmup = 10, total = 100)",
    "tune step lr * lr / (lr + 1)",
    "clip value(1 / lr) tune step lr",
    # Down.
    "precondition backwards() tune step -lr",
    "precondition adam() precondition scaled(-1) tune step lr constrain up()",
    "tune step lr constrain down()",
    groups("tune step lr", "precondition momentum() tune step 2 * lr", ""),
    # Clips that act.
    "clip global_norm(1.0) precondition lion() tune step lr",
    "precondition lion() decay weights(0.1) clip global_norm(1.0) tune step lr",
    "precondition lion() clip adaptive() tune step lr",
    "clip global_norm(1.0) precondition adam() tune step lr",
    "clip value(1.0) precondition sign() tune step lr",
    "clip global_norm(1.0) " + groups("precondition adam()", "precondition lion()"),
    groups("clip per_tensor(1.0)", "precondition adam()"),
    "clip global_norm(1.0) " + groups("clip global_norm(0.1)", "precondition adam()"),
    "group rest { clip global_norm(1.0) } tune step lr",
    "clip bound(1) tune step lr",
    # Decay that is not rescaled, or alike for a whole tensor.
    "precondition adam() decay weights(0.1) tune step lr",
    "decay weights(0.1) precondition momentum() tune step lr",
    "decay weights(0.1) precondition normalize() tune step lr",
    "decay weights(0.1) tune step lr * lars_ratio(0.001)",
    groups("precondition lion() decay weights(0.1)", "precondition adam()"),
    # Averages and sums.
    "precondition free() tune step lr",
    "precondition free(b1 = 0) tune step lr",
    "precondition rising() tune step lr",
    "precondition adagrad() tune step lr",
    # Quotients that something takes care of.
    "precondition guarded() tune step lr",
    "clip global_norm(1.0) tune step lr",
    "precondition unguarded() tune step lr guard sound()",
    "tune step lr * sqrt(2 * t)",
    "precondition newton() tune step lr",
    "perturb elsewhere() tune step lr",
    # Numbers that are there to be changed.
    "precondition momentum(0.9) tune step lr",
    "precondition identity() tune step lr",
    # A large eps may be meant, and what is summed grows.
    "precondition adam(eps = 1.0) tune step lr",
    "clip value(0.001) precondition adam(eps = 0.0009) tune step lr",
    "clip shorter(0.1) precondition inside(eps = 0.009) tune step lr",
    "clip value(1) precondition summed(eps = 1) tune step lr",
    "clip value(1) precondition soft() tune step lr",
    "clip value(0.1) where ndim >= 2 precondition adam(eps = 0.1) tune step lr",
    "clip value(0.1) decay weights(0.1) precondition momentum(0.9) tune step lr",
    # What drops a step is more than a length.
    "clip dropped() precondition sign() tune step lr",
    "clip dropping() precondition sign() tune step lr",
    "clip cut() precondition momentum(0.9) precondition sign() tune step lr",
]


@pytest.mark.parametrize(("stages", "code"), FLAGGED)
def test_a_line_that_no_one_can_have_meant_is_found(stages, code):
    assert found(stages) == [code]


def test_a_line_may_be_wrong_in_two_ways():
    """The average never changes, and its bias is removed by a division by 1 - 1^t."""
    twice = found("precondition free(b1 = 1.0) tune step lr")
    assert twice == ["constant-state", "undefined-step"]


@pytest.mark.parametrize("stages", NEAR)
def test_what_comes_near_it_is_left_alone(stages):
    assert found(stages) == []


def test_an_average_that_keeps_all_is_divided_by_zero():
    assert "undefined-step" in found("precondition free(b1 = 1.0) tune step lr")


def test_a_line_that_is_inherited_is_reported_at_the_heir():
    text = f"{OWN} optimizer one from adamw with (lr = -1e-3 in (-1, 1)) {{ }}"
    (diagnostic,) = check(Located(Source("heir.opt", text)))
    assert (diagnostic.code, diagnostic.span.source.name) == ("ascent", "heir.opt")


def test_a_hyperparameter_may_be_zero_or_one():
    parameters = "lr = 0.1, decay = 0, b1 = 0.0, factor = 1.0"
    stages = "decay weights(decay) precondition momentum(b1) precondition scaled(factor)"
    assert found(f"{stages} tune step lr", parameters) == []


def test_the_default_of_a_hyperparameter_decides():
    stages = "precondition free(b1 = b) tune step lr"
    assert found(stages, "lr = 0.1, b = 0.9") == []
    assert found(stages, "lr = 0.1, b = 1.9") == ["diverging-state"]


def test_decay_that_is_off_by_default_is_not_coupled():
    stages = "decay weights(decay) precondition adam() tune step lr"
    assert found(stages, "lr = 0.1, decay = 0 in [0, inf)") == []
    assert found(stages, "lr = 0.1, decay = 0.01 in [0, inf)") == ["coupled-decay"]


def test_whoever_inherits_a_coupled_decay_means_it():
    inherited = "optimizer one from adam_coupled with (decay = 0.01 in [0, inf)) { }"
    assert codes(inherited) == []


def test_a_spec_with_mistakes_is_not_linted():
    assert found("precondition scaled(10) precondition adam(b3 = 1) tune step lr") == [
        "unknown-argument"
    ]


def test_what_is_too_large_is_not_linted():
    stages = "precondition scaled(10) precondition adam() " + "precondition scaled(2) " * 300
    assert found(f"{stages} tune step lr") == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_library_fits(name):
    """All of it is linted. `soap_adamw_flax` is at half of the limit, the others are far below."""
    one = subject(name)
    questions = len(one.draft.passages) + len(one.draft.hyperparameters) + len(one.draft.slots)
    assert len(one.nodes) * questions <= LIMIT / 2


# ---- nothing is found in what the library and the examples say


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_is_found_in_an_optimizer_of_the_library(name):
    assert [(d.code, d.message) for d in check(find(name))] == []


@pytest.mark.parametrize("kind", ["perturb", "clip", "precondition", "decay", "tune"])
def test_nothing_is_found_in_a_rule_at_its_defaults(kind):
    for name in library.names(kind):
        assert codes(in_a_pipeline(kind, name)) == [], name


@pytest.mark.parametrize("kind", ["constrain", "average", "guard"])
def test_nothing_is_found_in_a_rule_after_the_step(kind):
    for name in library.names(kind):
        assert codes(in_a_pipeline(kind, name)) == [], name


ARGUMENTS = {
    **{"peak": "lr", "start": "lr / 10", "end": "lr / 20", "low": "lr / 10", "high": "lr"},
    **{"warmup": "10", "total": "1000", "steps": "1000", "period": "100", "first": "100"},
    **{"half": "100", "factor": "0.1", "power": "2", "rate": "0.5"},
}


@pytest.mark.parametrize("name", library.names("schedule"))
def test_nothing_is_found_in_a_schedule(name):
    (item,) = library.file("schedule", name).items
    needed = [param.name.id for param in item.params if param.default is None]
    given = ARGUMENTS | ({"rate": "lr"} if name == "constant" else {})
    arguments = ", ".join(f"{param} = {given[param]}" for param in needed)
    rate = "" if needed else "lr * "
    assert found(f"precondition adam() tune step {rate}{name}({arguments})") == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_lint_fires_on_an_example(path):
    located = Located(Source(path.name, path.read_text()), folder=path.parent)
    assert [d.code for d in check(located) if d.severity.value == "warning"] == []
