"""What a step costs: calls of the user's functions, and operations and bytes as XLA counts them.

The counts are exact and depend on no clock. The model of the FLOPs is an MLP in which matrix
products are all that matters: with L layers of one width, and P for one product of the batch with
one kernel, a gradient costs (3 L - 1) P: forward, the kernels, and the inputs of all layers but the
first.
"""

from functools import cache

import jax
import jax.numpy as jnp
import optax
import pytest
from interpreted import graph_of
from perceptron import mean_square, perceptron
from shipped import OPTIMIZERS, criterion, make_batch, make_params, outputs, program, staged

import optc
from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.graphs import lowered_graph, summary
from optc.compiler.locate import Located
from optc.compiler.passes.cse import cse
from optc.grammar.source import Source

LAYERS, WIDTH, EXAMPLES = 3, 128, 256


class Counted:
    """The tiny model, counting how often its functions are called in a trace."""

    def __init__(self):
        self.model = self.head = 0

    def outputs(self, params, batch):
        self.model += 1
        return outputs(params, batch)

    def criterion(self, outputs, batch):
        self.head += 1
        return criterion(outputs, batch)

    def loss(self, params, batch):
        return self.criterion(self.outputs(params, batch), batch)


CALLS = {
    # name: (calls of the loss, given whole), (calls of model and head, given apart)
    "sgd": (1, (1, 1)),
    "momentum": (1, (1, 1)),
    "adamw": (1, (1, 1)),
    "lion": (1, (1, 1)),
    "signum": (1, (1, 1)),
    "polyak_sgd": (1, (1, 1)),
    "polyak_sgd_plus": (1, (1, 1)),
    "momo": (1, (1, 1)),
    "momo_adaptive": (1, (1, 1)),
    "momo_adam": (1, (1, 1)),
    "adam_on_plateau": (1, (1, 1)),
    "sam": (2, (2, 2)),
    "mars_adamw_exact": (2, (2, 2)),
    "psam": (2, (2, 2)),
    "usam": (2, (2, 2)),
    "asam": (2, (2, 2)),
    # The side of a choice that looks around is traced whether it is taken or not.
    "look_sam": (2, (2, 2)),
    "storm": (2, (2, 2)),
    "storm_plus": (2, (2, 2)),
    # The loss at the weights, for the report, and the gradient at the looked-ahead ones.
    "igt": (2, (2, 2)),
    "n_pg_igt": (2, (2, 2)),
    # The gradient at the weights, and one that is linearised on the way to them.
    "harpg": (2, (2, 2)),
    "gradient_penalty": (1, (1, 1)),
    "cdat_gd": (2, (2, 2)),
    "cdat_adam": (2, (2, 2)),
    # The loss of the batch, and the gradient of one example.
    "dpsgd": (2, (2, 2)),
    "adadagrad": (2, (2, 2)),
    "adadagrad_norm": (2, (2, 2)),
    "sgd_augmented": (2, (2, 2)),
    # The trial in the loop is traced once.
    "armijo_gd": (2, (2, 2)),
    "goldstein_gd": (2, (2, 2)),
    "wolfe_gd": (2, (2, 2)),
    "greedy_gd": (2, (2, 2)),
    "lanczos_sgd": (1, (1, 1)),
    "lanczos_heavy_ball": (2, (2, 2)),
    "sps_sgd": (1, (1, 1)),
    "decsps_sgd": (1, (1, 1)),
    "adahessian": (1, (1, 1)),
    "sophia": (2, (2, 2)),
    "lbfgs": (2, (2, 2)),
    # The weights, and those after the step.
    "gauss_newton": (None, (2, 2)),
    "gns_newton": (None, (2, 2)),
    # The loss of the drawn labels is one of the same outputs.
    "sophia_g": (None, (1, 2)),
    # The factors of layers are of the examples of drawn labels, for one side at a time.
    "kfac": (None, (3, 3)),
    "shampoo_fisher": (None, (1, 2)),
    "pfsam": (None, (2, 1)),
    # A round asks the model where it is, and a search where it goes, at first and in its loop.
    "sso": (None, (2, 1)),
    "sso_armijo": (None, (4, 1)),
    # The sharpness that it observes is one more gradient, linearised.
    "fsam": (None, (3, 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_user_s_functions_are_called_as_often_as_the_method_needs(name):
    whole, split = CALLS[name]
    optimizer = program(name)()
    params, batch = make_params(), make_batch()
    state = optimizer.init(params)
    if whole is not None:
        counted = Counted()
        objective = optc.Objective(loss=counted.loss, batch_axis=0)
        jax.eval_shape(lambda p, s: optimizer.update(p, s, batch, objective), params, state)
        assert counted.model == whole
    counted = Counted()
    objective = optc.Objective(
        outputs=counted.outputs,
        loss=counted.criterion,
        batch_axis=0,
        sampler=lambda outputs, batch, key: batch,
    )
    jax.eval_shape(lambda p, s: optimizer.update(p, s, batch, objective), params, state)
    assert (counted.model, counted.head) == split


def test_every_shipped_optimizer_that_asks_for_more_than_the_gradient_is_counted():
    for name in set(OPTIMIZERS) - set(CALLS):
        assert summary(cse(graph_of(name))).oracles == {"loss": 1, "grad": 1}, name


# ---- floating point operations

SPLIT = optc.Objective(outputs=perceptron, loss=mean_square, batch_axis=0)
TREE = Tree.of("tree", [Tensor(str(i), (WIDTH, WIDTH)) for i in range(LAYERS)])
SHAPES = [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * LAYERS
BATCH = {name: jax.ShapeDtypeStruct((EXAMPLES, WIDTH), jnp.float32) for name in "xy"}


def flops(function, *args):
    return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]


@cache
def gradient_flops():
    """Those of a loss with its gradient."""

    def loss(params, batch):
        return mean_square(perceptron(params, batch), batch)

    return flops(jax.value_and_grad(loss), SHAPES, BATCH)


def step_flops(optimizer):
    """Those of a step, as a share of a gradient."""
    state = jax.eval_shape(optimizer.init, SHAPES)
    step = flops(lambda p, s, b: optimizer.update(p, s, b, SPLIT), SHAPES, state, BATCH)
    return step / gradient_flops()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_plain_step_is_one_gradient(name):
    # Some ten operations for each weight, against 2 * 256 * 8 / 3 = 1365 of the gradient.
    assert step_flops(program(name)()) <= 1.02


def test_a_transported_step_is_a_gradient_and_the_loss_that_is_reported():
    """L of 3 L - 1 products more: the gradient is taken elsewhere."""
    assert step_flops(program("n_pg_igt")()) <= 1.02 * (1 + LAYERS / (3 * LAYERS - 1))


@pytest.mark.parametrize("name", ["sam", "psam", "pfsam", "fsam", "storm"])
def test_the_perturbed_steps_are_two_gradients(name):
    if name == "fsam":
        # Without the sharpness that it observes now and then: XLA counts the dearest branch.
        optimizer = staged(
            "perturb functional_sam(radius = 0.1)",
            "clip global_norm(1.0)",
            "precondition adam(b1 = 0.9, b2 = 0.95)",
            "decay weights(0.1) where ndim >= 2",
            "tune step 0.001",
        )()
    else:
        optimizer = program(name)()
    assert step_flops(optimizer) <= 2.05


@pytest.mark.parametrize("name", ["cdat_gd", "cdat_adam"])
def test_cdat_is_a_gradient_and_a_second_derivative_along_a_line(name):
    """u'Hu by nested jvp, in (7 L - 4) P with the gradient: 2.125 gradients for 3 layers.

    A layer z = h W has the products of its first derivative, h' W and h W', and of its second,
    h'' W and h' W' (twice the same): 4, and 1 in the first layer, whose input is constant. The
    forward pass is that of the gradient. A Hessian times a vector, by the derivative of the
    gradient, would cost two more gradients.
    """
    bound = (3 * LAYERS - 1 + 4 * (LAYERS - 1) + 1) / (3 * LAYERS - 1)
    assert step_flops(program(name)()) <= 1.02 * bound


def test_a_search_that_accepts_at_once_costs_one_more_loss():
    """XLA counts a loop's body once: a gradient and one trial, L of 3 L - 1 products."""
    found = step_flops(program("armijo_gd")())
    assert found <= 1.02 * (1 + LAYERS / (3 * LAYERS - 1))


def test_polyak_costs_no_loss_beside_the_one_of_its_gradient():
    assert step_flops(program("polyak_sgd")()) <= 1.02


# What a question costs in products of a layer, of which there are L, beside those of the loss with
# its gradient: L forward, L - 1 for the derivatives of the layers' inputs, L for those of kernels.
# The input of the first layer has no derivative, so it has one product less in each sum.
PLAIN = 3 * LAYERS - 1
FORWARD = LAYERS
BACKWARD = 2 * LAYERS - 1
ALONG = 2 * LAYERS - 1
"""The outputs' first derivative: h' W and h W'."""
HESSIAN = ALONG + 2 * (LAYERS - 1) + 2 * LAYERS - 1
"""The derivative of what goes forward, of what comes back, and of the kernels' gradients."""

QUESTIONS = {
    # what is observed: (what the plan counts beside the gradient, calls of the model, products)
    "loss(w - g)": ({"loss": 1}, 2, FORWARD),
    "dot(g, grad(w - g))": ({"grad": 1}, 2, PLAIN),
    "dot(g, hvp(g))": ({"curvature": 1}, 2, ALONG + 2 * (LAYERS - 1)),
    "dot(g, ggn(g))": ({"ggn_curvature": 1}, 1, ALONG),
    "norm(hvp(g))": ({"hvp": 1}, 1, HESSIAN),
    "norm(ggn(g))": ({"ggn": 1}, 1, ALONG + BACKWARD),
    # J v is in both, and what it changes at the outputs goes back through the last layer in both.
    "norm(hvp(g)) + norm(ggn(g))": ({"hvp": 1, "ggn": 1}, 1, HESSIAN + BACKWARD - 1),
    "norm(hvp(hvp(g)))": ({"hvp": 2}, 1, 2 * HESSIAN),
    # Where the outputs themselves are not wanted, the last layer does not go forward.
    "norm(pullback(outputs_grad(w), at = w - g))": (
        {"outputs_grad": 1, "pullback": 1},
        2,
        FORWARD - 1 + BACKWARD,
    ),
    # The examples go forward as the batch does, which XLA finds.
    "norm(per_example_mean(e => e))": ({"per_example_grad": 1}, 2, BACKWARD),
    # XLA counts a loop's body once, and the dearer side of a choice.
    "norm(cg(d => ggn(d) + d, g, 5))": ({"ggn": 5}, 1, ALONG + BACKWARD),
    # There the point is linearised anew, but for the gradients of kernels, which are not wanted.
    "norm(hvp(g)) every 4": ({"hvp": 0.25}, 2, PLAIN - LAYERS + HESSIAN),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_costs_what_is_counted(question):
    counts, calls, products = QUESTIONS[question]
    value, every, period = question.partition(" every ")
    text = f"optimizer asks() {{ tune step 0.1 observe {value} as x {every}{period} }}"

    found = lowered_graph(Located(Source("<string>", text)), {})[0]
    expected = {name: counts.get(name, 0) + (name in ("loss", "grad")) for name in counts}
    assert budget(found, TREE).oracles == {"loss": 1, "grad": 1} | expected

    optimizer = optc.compile(text)()
    state = jax.eval_shape(optimizer.init, SHAPES)
    models = []

    def model(params, batch):
        models.append(None)
        return perceptron(params, batch)

    objective = optc.Objective(outputs=model, loss=mean_square, batch_axis=0)
    step = jax.jit(lambda p, s, b: optimizer.update(p, s, b, objective)).lower(SHAPES, state, BATCH)
    assert len(models) == calls
    share = step.compile().cost_analysis()["flops"] / gradient_flops()
    # Elementwise operations are a hundredth of the products.
    assert share == pytest.approx(1 + products / PLAIN, rel=0.03)


# ---- bytes


CLIPPED = """
optimizer one(lr = 1e-3 in [0, inf), decay = 1e-2 in [0, inf)) {
  clip         global_norm(1.0)
  precondition adam()
  decay        weights(decay)
  tune step    lr
}
"""

LARGE = {name: jax.ShapeDtypeStruct((512, 512), jnp.float32) for name in "abc"}
WEIGHTS = 3 * 512 * 512


def compiled_update(tx):
    """The update of given gradients, applied, in place; and the bytes that are kept."""
    if isinstance(tx, str):
        tx = (optc.compile(tx) if tx == CLIPPED else program(tx))().transform()
    state = jax.eval_shape(tx.init, LARGE)

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(LARGE, state, LARGE)
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((LARGE, state)))
    return lowered.compile(), kept


@pytest.mark.parametrize(
    ("name", "bytes_per_weight"),
    [
        # XLA on a CPU makes one kernel for each output. Those of the states read the state and g;
        # that of the weights reads the new states and p.
        ("adamw", 4 * (2 + 2 + 3 + 3)),
        ("momentum", 4 * (2 + 2 + 2)),
        ("signum", 4 * (2 + 2 + 2)),
        ("sgd", 4 * (2 + 1)),
        # Scalars are carried so that no state is made twice, and no sum is stored.
        ("eadam", 4 * (2 + 2 + 3 + 3)),
        ("adabelief", 4 * (2 + 3 + 3 + 3)),
        ("sgdr", 4 * (3 + 4 + 1)),
        # The norm's kernel reads g once more; the moments take the scaled gradient as it comes.
        (CLIPPED, 4 * (1 + 2 + 2 + 3 + 3)),
    ],
    ids=lambda case: "clipped adamw" if case == CLIPPED else None,
)
def test_an_update_moves_no_more_than_it_must_and_works_in_place(name, bytes_per_weight):
    compiled, kept = compiled_update(name)
    memory = compiled.memory_analysis()
    assert compiled.cost_analysis()["bytes accessed"] <= 1.001 * bytes_per_weight * WEIGHTS
    assert memory.temp_size_in_bytes < 1024
    assert memory.alias_size_in_bytes == kept


@pytest.mark.parametrize("name", ["adamw", "adagrad", "adamax"])
def test_an_observed_norm_does_not_make_a_step_store_squares(name):
    """`norm(g)` and the second moment square the gradient, each for itself."""
    step = optc.plan(name, LARGE, compiled=True).compiled
    assert step is not None
    assert step.temporaries < 0.02 * 4 * WEIGHTS


def test_lion_moves_no_more_than_that_of_optax():
    """XLA copies the old momentum, which the direction reads while it is overwritten: 36 bytes."""
    ours, _ = compiled_update("lion")
    theirs, _ = compiled_update(optax.lion(1e-4))
    ours, theirs = (x.cost_analysis()["bytes accessed"] for x in (ours, theirs))
    assert ours <= 1.001 * theirs


COPIES = {
    # name: of how many copies of the weights a step makes room beside weights and states
    "sam": 1,  # the gradient, of which the other weights are made, and then the one there
    "storm": 1,
    "cdat_gd": 1,  # the gradient; its curvature makes no vector
    "usam": 4 / 3,  # the gradient of a kernel at the weights moves that kernel alone
    "armijo_gd": 2,  # the direction, and the weights that are tried
    # The direction, its residual, the conjugate direction and its product; and the gradient, which
    # the damping asks for.
    "gauss_newton": 5,
}


@pytest.mark.parametrize("name", COPIES)
def test_a_step_makes_no_copy_that_its_method_does_not_need(name):
    optimizer = program(name)()
    few = {key: jax.ShapeDtypeStruct((4, 512), jnp.float32) for key in "xy"}
    kernels = list(LARGE.values())
    state = jax.eval_shape(optimizer.init, kernels)
    step = jax.jit(lambda p, s, b: optimizer.update(p, s, b, SPLIT), donate_argnums=(0, 1))
    memory = step.lower(kernels, state, few).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= (COPIES[name] + 0.05) * 4 * WEIGHTS
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((kernels, state)))
    assert memory.alias_size_in_bytes == kept
