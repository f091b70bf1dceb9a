"""Model outputs as values: arithmetic, reductions, loops, labels that the model draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, mistakes, specimen
from tried import bowl, net

import optc
from optc.runtime.outputs import check_outputs

SURROGATE = """
rule precondition mine(size = 0.5, rate = 0.3, rounds: int = 3) {
  z = outputs(w)
  q = outputs_grad(w)
  var x = w
  var last = zeros(z)
  repeat rounds while norm(last - 1) < 100 {
    last <- outputs(x)
    x <- x - rate * pullback(q + (last - z) / size, at = x)
  }
  shift = where(abs(last) > 0.1, tanh(last), 0.1)
  scale = 1 + dot(shift, q)^2 + mean(last) / sum(last^2) + max(last) - min(-last)
  if any(last > 5) and all(z < 100) { x <- w }
  return (w - x) / scale
}
optimizer x(lr = 0.1) { precondition mine() tune step lr }
"""

SAMPLED = """
func fisher(v) {
  var total = zeros(w)
  repeat 2 {
    s = pullback(sampled_outputs_grad(w))
    total <- total + s * dot(s, v) / 2
  }
  return total
}
rule precondition mine() {
  other = sampled_outputs_grad(w - 0.1 * g)
  return g + fisher(g) + 0.1 * pullback(other - 2 * outputs_grad(w))
}
optimizer x(lr = 0.1) { precondition mine() tune step lr }
"""


@pytest.mark.parametrize("model", [net, bowl])
@pytest.mark.parametrize("text", [SURROGATE, SAMPLED], ids=["surrogate", "sampled"])
def test_graph_and_module_agree_on_outputs(text, model):
    agree(specimen(text), model=model(), steps=2)


def test_labels_need_a_sampler_and_a_split():
    optimizer = optc.compile(SAMPLED)()
    params, batch = net().params, net().batch(0)
    state = optimizer.init(params)
    whole = optc.Objective(loss=lambda p, b: 0.0)
    with pytest.raises(ValueError, match=r"outputs_grad`.* needs the model's outputs"):
        optimizer.update(params, state, batch, whole)
    split = optc.Objective(outputs=net().outputs, loss=net().loss)
    with pytest.raises(ValueError, match=r"x\(\)|mine\(\).* sampler=f"):
        optimizer.update(params, state, batch, split)
    with pytest.raises(TypeError, match="`sampler` of an objective is a function"):
        optc.Objective(outputs=net().outputs, loss=net().loss, sampler=3)
    assert split != optc.Objective(outputs=net().outputs, loss=net().loss, sampler=net().sample)


def test_outputs_that_are_no_floats_are_named():
    with pytest.raises(TypeError, match="model output `step` has dtype int32"):
        check_outputs({"logits": jnp.ones(2), "step": jnp.arange(3)})


def test_outputs_of_less_than_32_bits_are_computed_with_in_float32():
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), net().params)
    objective = optc.Objective(
        outputs=net().outputs, loss=lambda z, b: net().loss(z.astype(jnp.float32), b)
    )
    text = """
    rule precondition mine() {
      z = outputs(w)
      return pullback(outputs_grad(w) + (z - z / 3) * 0) + 0 * norm(z)
    }
    optimizer x() { precondition mine() tune step 1 observe norm(outputs(w)) as size }
    """
    optimizer = optc.compile(text)()
    after, _, report = optimizer.update(params, optimizer.init(params), net().batch(0), objective)
    assert after["scale"].dtype == jnp.bfloat16
    assert report.observed["size"].dtype == jnp.float32
    expected = jax.grad(lambda p: objective.value(p, net().batch(0))[0])(params)
    for x, w, slope in zip(*map(jax.tree.leaves, (after, params, expected)), strict=True):
        # The outputs' derivative is rounded to bfloat16 on its way back: half of 2^-8.
        np.testing.assert_allclose(w - x, slope, rtol=2.0**-6, atol=2.0**-7)


WRONG = {
    "state s = outputs(w)\n return g": "a state keeps a number or a field; this is model outputs",
    "return g + outputs(w)": "this is shaped like the weights, and not like the model's outputs",
    "return g * dot(g, outputs(w))": "this is shaped like the weights, and not like the model's",
    "return g * norm(outputs(w), per = row)": "`norm` of model outputs runs over all of them",
    "return pullback(g)": "`pullback` takes model outputs here; this is a field",
    "return outputs(w)": "",
    "return grad(outputs(w))": "`grad` takes a field here; this is model outputs",
    "z = outputs(w)\n x = pick(z)\n return g": "a choice by tensor is of numbers or fields",
    "var z = outputs(w)\n when ndim > 1 { z <- 2 * z }\n return g": "`z` is model outputs for all",
    "var x = w\n repeat 2 while norm(sampled_outputs_grad(x)) > 1 { x <- 2 * x }\n return x": (
        "labels of `sampled_outputs_grad` cannot be drawn in the condition of a loop"
    ),
    "each = per_example_grad(w)\n return each": "",
    "return 2 * per_example_grad(w)": "`*` takes numbers; this is one gradient per example",
    "return g * norm(per_example_grad(w))": "`norm` takes a field; this is one gradient per",
    "var each = per_example_grad(w)\n return g": "a `var` is a number, a field or model outputs",
    "state each = per_example_grad(w)\n return g": "a state keeps a number or a field; this is one",
    "return per_example_mean(e => e, of = g)": "`of` takes the gradients of examples; this is a",
    "return per_example_mean(e => e, at = w, of = per_example_grad(w))": "`of` has the gradients",
    "each = per_example_grad(w)\n return per_example_mean(e => mean(each), of = each)": (
        "a mean over examples is taken in a function of one example's gradient"
    ),
}


@pytest.mark.parametrize("body", WRONG)
def test_what_outputs_and_gradients_of_examples_cannot_be_is_refused(body):
    text = f"""
    func pick(z) {{ when ndim >= 2 {{ return z }} else {{ return 2 * z }} }}
    rule precondition mine() {{ {body} }}
    optimizer x() {{ precondition mine() tune step 1.0 }}
    """
    found = mistakes(text)
    assert len(found) == 1, found
    assert WRONG[body] in found[0], found
