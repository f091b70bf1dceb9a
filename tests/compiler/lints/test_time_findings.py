"""What the lints of time, states, dtypes and ints find, and what they leave alone."""

import ml_dtypes  # noqa: F401  gives NumPy bfloat16
import numpy as np
import pytest
from linted import EXAMPLES, codes, in_a_pipeline

from optc.compiler import library
from optc.compiler.check import check
from optc.compiler.fixes import fixed
from optc.compiler.locate import Located
from optc.grammar.source import Source

OURS = {
    *("biased-average", "constant-state", "early-end", "empty-where", "idle-first-step"),
    *("late-end", "long-period", "long-warmup", "rate-jump", "recompiling-int", "stuck-state"),
    *("underflowing-state", "vanishing-eps", "warmup-ahead"),
}

OWN = """
rule average plain(decay = 0.999) {
  state ema = zeros(w)
  ema <- decay * ema + (1 - decay) * w_next
  evaluate ema
  return w_next
}
rule average lerp(rate = 0.001) {
  state mean = zeros(w)
  mean <- mean + rate * (w_next - mean)
  evaluate mean
  return w_next
}
rule average born(decay = 0.999) {
  state ema = w
  ema <- decay * ema + (1 - decay) * w_next
  evaluate ema
  return w_next
}
rule average counted() {
  state mean = zeros(w)
  state n = 0
  n <- n + 1
  mean <- mean + (w_next - mean) / n
  evaluate mean
  return w_next
}
rule average summed(decay = 0.999) {
  state total = zeros(w)
  state weight = 0
  total <- decay * total + w_next
  weight <- decay * weight + 1
  evaluate total / weight
  return w_next
}
rule precondition rms(b2 = 0.99, eps = 1e-8) {
  state nu = zeros(g)
  nu <- b2 * nu + (1 - b2) * g^2
  return g / (sqrt(nu) + eps)
}
rule precondition rms_bf16(b2 = 0.99, eps = 1e-8) {
  state nu: bf16 = zeros(g)
  nu <- nu + (1 - b2) * (g * g - nu)
  return g / (sqrt(nu) + eps)
}
rule precondition rms_stochastic(b2 = 0.99, eps = 1e-8) {
  state nu: bf16 stochastic = zeros(g)
  nu <- nu + (1 - b2) * (g * g - nu)
  return g / (sqrt(nu) + eps)
}
rule precondition rms_f16(b2 = 0.99, eps = 1e-8) {
  state nu: f16 = zeros(g)
  nu <- b2 * nu + (1 - b2) * square(g)
  return g / (sqrt(nu) + eps)
}
rule precondition adagrad_bf16(eps = 1e-8) {
  state sum: bf16 = zeros(g)
  sum <- sum + g^2
  return g / (sqrt(sum) + eps)
}
rule precondition damped(momentum = 0.9, dampening = 0) {
  state trace = zeros(g)
  trace <- momentum * trace + (1 - dampening) * g
  return trace
}
rule precondition root_f16(b2 = 0.99, eps = 1e-8) {
  state size: f16 = zeros(g)
  size <- sqrt(b2 * size^2 + (1 - b2) * g^2)
  return g / (size + eps)
}
rule precondition trace_f16(b1 = 0.9) {
  state trace: f16 = zeros(g)
  trace <- b1 * trace + g
  return trace
}
rule precondition drawn(rate = 0.1) {
  state pull = zeros(g)
  pull <- pull + rate * (g - pull)
  return g + pull
}
rule precondition rounds(count: int) {
  var x = g
  repeat count { x <- 0.5 * x }
  return x
}
rule precondition powered(n) { return g * abs(g)^n }
rule precondition refreshed(period) {
  state scale = 1
  every period { scale <- 1 / max(norm(g), 1e-8) }
  return scale * g
}
rule tune joined(peak) {
  if t <= 100 { return peak * t / 100 } else { return 0.5 * peak * sqrt(100 / t) }
}
"""

PARAMETERS = "lr = 0.1 in [0, inf), total = 1000 in [1, inf)"


def spec(stages, parameters=PARAMETERS):
    use = " observe total * lr as used" if "total" in parameters else ""
    return f"{OWN} optimizer one({parameters}) {{ {stages}{use} }}"


def found(stages, parameters=PARAMETERS):
    return OURS.intersection(codes(spec(stages, parameters)))


EMPTY = "empty-where"

FLAGGED = [
    # Weights that stand still are not evaluated as what they are.
    ("tune step lr average plain()", "biased-average"),
    ("tune step lr average plain(0.9) guard finite", "biased-average"),
    ("precondition adam() tune step lr average lerp()", "biased-average"),
    ("tune step lr decay weights(0.1) average plain()", "biased-average"),
    # The rate is 0, or rests, before the run is over.
    ("tune step linear_decay(peak = lr, total = 500)", "early-end"),
    ("tune step linear_decay(lr, total / 2)", "early-end"),
    ("tune step 0.5 * warmup_cosine(lr, 10, total = 900, floor = 0.1 * lr)", "early-end"),
    ("tune step cosine_decay(lr, 500)", "early-end"),
    ("tune step where(t < 800, lr, 0)", "early-end"),
    ("tune step wsd(lr, 10, 800)", "early-end"),
    ("precondition adam() tune step linear_decay(lr, 2000)", "late-end"),
    ("tune step warmup_cosine(lr, 10, 1500)", "late-end"),
    # Two parts that do not meet.
    ("tune step where(t <= 100, lr * t / 100, 0.5 * lr)", "rate-jump"),
    ("tune step where(t <= 100, lr * t / 100, 2 * lr)", "rate-jump"),
    ("tune step joined(lr)", "rate-jump"),
    ("tune step where(t <= 800, lr, lr * (1000 - t) / 1000)", "rate-jump"),
    # What happens once.
    ("tune step lr observe norm(g) as n every 1000", "long-period"),
    ("precondition refreshed(2000) tune step lr", "long-period"),
    ("precondition refreshed(inf) tune step lr", "long-period"),
    # Warm-ups.
    ("tune step warmup_cosine_decay(0, lr, 10, total)", "idle-first-step"),
    ("tune step warmup_constant(0, lr, 10)", "idle-first-step"),
    ("tune step lr * min((t - 1) / 10, 1)", "idle-first-step"),
    ("tune step lr * (t + 1) / 1000", "warmup-ahead"),
    ("tune step lr * min(1, (1 + t) / 10)", "warmup-ahead"),
    ("tune step warmup_cosine(lr, 2000, total)", "long-warmup"),
    ("tune step lr * min(t / 10, 1) * warmup_constant(lr, 1, 5000)", "long-warmup"),
    # States.
    ("tune step lr average lookahead(slow_step_size = 0)", "constant-state"),
    ("precondition drawn(0) tune step lr", "constant-state"),
    ("precondition drawn(0) tune step lr guard finite", "constant-state"),
    ("accumulate 2 precondition drawn(0) tune step lr", "constant-state"),
    ("precondition damped(dampening = 1) tune step lr", "constant-state"),
    ("precondition damped(dampening = 1) where ndim > 1 tune step lr", "constant-state"),
    # Tensors.
    ("decay weights(0.1) where ndim > 3 and ndim < 3 tune step lr", EMPTY),
    ("group a where ndim > 1 { clip value(1) where ndim < 2 } group rest { } tune step lr", EMPTY),
    ("group a where ndim > 1 { } group rest { clip value(1) where ndim > 2 } tune step lr", EMPTY),
    # Numbers that a dtype cannot hold.
    ("precondition rms_bf16(0.999) tune step lr", "stuck-state"),
    ("precondition rms_bf16(1 - 1e-3) where ndim >= 2 tune step lr guard finite", "stuck-state"),
    ("precondition adagrad_bf16() tune step lr", "stuck-state"),
    ("precondition rms_f16(0.9) tune step lr", "underflowing-state"),
    ("precondition rms(eps = 1e-39) tune step lr", "vanishing-eps"),
]


@pytest.mark.parametrize(("stages", "code"), FLAGGED)
def test_what_no_one_can_have_meant_is_found(stages, code):
    assert found(stages) == {code}


SILENT = [
    "tune step lr average born()",
    "tune step lr average counted()",
    "tune step lr average summed()",
    "tune step lr average ema()",
    "tune step lr average plain(0)",
    "tune step linear_decay(lr, total)",
    "tune step linear_decay(lr, 1000)",
    "tune step linear(lr, 0, total - 1)",
    "tune step linear(lr, 0, total)",
    "tune step cosine_decay(lr, total)",
    "tune step wsd(lr, 10, total)",
    "tune step cosine_power(lr, total, warmup = 100, order = 10)",
    "tune step polynomial(lr, 0, 2, total)",
    "tune step warmup_cosine(lr, 10, total, floor = 0.1 * lr)",
    "tune step multi_step(lr, 0.1, 500, 800)",
    "tune step where(t <= 800, lr, lr / 10)",
    "tune step where(t <= 800, lr, 0.1 * lr * sqrt(800 / t))",
    "tune step where(t <= 800, lr, lr * (1000 - t) / 200)",
    "tune step where(t <= 100, 0, lr)",
    "tune step exponential_decay(lr, 100, 0.5, staircase = true)",
    "tune step cosine_restarts(lr, 100)",
    "tune step sgdr(lr, 100)",
    "tune step triangular(lr / 10, lr, 100)",
    "tune step cosine_onecycle(total, lr)",
    "tune step linear_onecycle(total, lr)",
    "tune step inverse_sqrt(lr, 100)",
    "tune step warmup_cosine_decay(lr / 100, lr, 10, total)",
    "tune step warmup_exponential_decay(lr / 10, lr, 100, 100, 0.9)",
    "tune step lr * min(t / 10, 1)",
    "tune step lr * (t + 9) / 1000",
    "tune step lr * interpolate(t, 1, 0.01, 100, 1.0, 900, 0.1)",
    "tune step warmup_cosine(lr, total, total)",
    "tune step lr observe norm(g) as n every 999",
    "precondition refreshed(10) tune step lr",
    "precondition drawn(0.5) tune step lr",
    "precondition momentum(0) tune step lr",
    "precondition damped() tune step lr",
    "tune step lr * reduce_on_plateau()",
    "tune step warmup_cosine(lr, inf, total)",
    "tune step warmup_cosine(lr, 10, inf)",
    "tune step lr average lookahead(slow_step_size = 1)",
    "group a where ndim > 1 { clip value(1) where ndim > 2 } group rest { } tune step lr",
    'decay weights(0.1) where ndim > 1 and not path matches "embed" tune step lr',
    "precondition rms_bf16(0.99) tune step lr",
    "precondition rms_stochastic(0.999) tune step lr",
    "precondition root_f16(0.9) tune step lr",
    "precondition trace_f16(0.9) tune step lr",
    "precondition rms(eps = 1e-30) tune step lr",
    "precondition rms(eps = 0) tune step lr",
]


@pytest.mark.parametrize("stages", SILENT)
def test_what_is_near_and_may_be_meant_is_left_alone(stages):
    assert found(stages) == set()


@pytest.mark.parametrize(
    ("stages", "parameter", "flagged"),
    [
        ("tune step lr / n", "n: int = 4 in [1, inf)", True),
        ("tune step lr * sqrt(n / 256)", "n: int = 512 in [1, inf)", True),
        ("clip value(max(n, 1)) tune step lr", "n: int = 4", True),
        ("precondition rounds(n) tune step lr", "n: int = 4 in [0, 9]", False),
        ("precondition rounds(n + 1) tune step lr / n", "n: int = 4 in [1, 9]", False),
        ("precondition powered(n) tune step lr", "n: int = 2", False),
        ("accumulate n tune step lr / n", "n: int = 2 in [1, inf)", False),
        ("tune step linear_decay(lr, n)", "n: int = 500 in [1, inf)", False),
        ("tune step lr / warmup_steps", "warmup_steps: int = 500 in [1, inf)", False),
        ("tune step lr observe norm(g) as x every n", "n: int = 500 in [1, inf)", False),
        ("tune step lr / n", "n = 4 in [1, inf)", False),
        ("tune step where(n == 1, lr, 2 * lr)", "n: int = 1", False),
    ],
)
def test_an_int_that_only_does_arithmetic_need_not_be_one(stages, parameter, flagged):
    text = spec(stages, f"lr = 0.1 in [0, inf), {parameter}")
    assert ("recompiling-int" in codes(text)) == flagged
    result = fixed(Located(Source("a.opt", text)))
    assert (result.source.text == text.replace("n: int", "n")) or not flagged
    assert not result.report.has_errors


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_a_stuck_state_is_stuck(dtype, bits):
    """A number that is made smaller by less than 2^-(bits + 1) of it is rounded to itself."""
    numbers = np.arange(2 ** (bits - 1), 2**bits).astype(dtype).astype(np.float32)
    stuck, fading = (np.float32(1 - part * 2.0 ** -(bits + 1)) for part in (0.99, 2.02))
    assert ((stuck * numbers).astype(dtype) == numbers.astype(dtype)).all()
    assert ((fading * numbers).astype(dtype) != numbers.astype(dtype)).all()


def test_squares_below_the_least_of_float16_are_zero():
    assert np.float32(1.7e-4) ** 2 < 6e-8 / 2
    assert np.float16(np.float32(1.7e-4) ** 2) == 0
    assert np.float16(np.float32(2.5e-4) ** 2) > 0


def test_a_value_that_a_hyperparameter_may_leave_is_not_called_constant():
    free = "lr = 0.1 in [0, inf), part = 0 in [0, 1]"
    assert found("tune step lr average lookahead(slow_step_size = part)", free) == set()


def test_an_inherited_line_is_reported_where_it_is_inherited():
    text = "optimizer mine from adamw_cosine { replace tune with linear_decay(lr, total / 2) }"
    assert codes(f"{text}") == ["early-end"]
    heir = "optimizer heir from adamw_cosine with (total: int = 2 in [1, inf), warm = 9) {\n"
    heir += "  replace tune with warmup_cosine(lr, warm, total)\n}\n"
    assert codes(heir) == ["long-warmup"]


def test_none_fires_on_a_rule_or_an_example():
    """Nor on an optimizer of the library, in which no lint finds anything."""
    wrong = {}
    texts = [Located(Source(p.name, p.read_text()), folder=p.parent) for p in EXAMPLES]
    for kind in ("perturb", "clip", "precondition", "decay", "tune", "average", "guard"):
        for name in library.names(kind):
            params = library.file(kind, name).items[-1].params
            if all(param.default for param in params):
                texts.append(Located(Source(name, in_a_pipeline(kind, name))))
    for located in texts:
        hits = OURS.intersection(d.code for d in check(located))
        if hits:
            wrong[located.source.name] = hits
    assert wrong == {}
