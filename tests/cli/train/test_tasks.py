import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optc
from optc.cli.train.tasks import NAMES, make
from optc.cli.train.tasks.digits import digits
from optc.cli.train.tasks.digits_normed import digits_normed
from optc.cli.train.tasks.quadratic import quadratic
from optc.cli.train.tasks.rosenbrock import rosenbrock
from optc.cli.train.tasks.text import ALPHABET, text

SMALL = {
    "digits": lambda: digits(batch_size=8, hidden=(16,)),
    "digits_normed": lambda: digits_normed(batch_size=8, hidden=16),
    "text": lambda: text(batch_size=2, layers=2, width=16, heads=2, context=8),
    "rosenbrock": lambda: rosenbrock(4),
    "quadratic": lambda: quadratic(4),
}


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


@pytest.fixture(params=NAMES)
def task(request):
    return SMALL[request.param]()


def test_a_batch_depends_on_seed_and_step_alone(task):
    np.testing.assert_equal(leaves(task.batch(1, 30)), leaves(task.batch(1, 30)))
    for seed, step in ((1, 31), (2, 30)):
        old, new = leaves(task.batch(1, 30)), leaves(task.batch(seed, step))
        assert not old or any((a != b).any() for a, b in zip(old, new, strict=True))


def test_the_objective_is_split_and_differentiable(task):
    params, batch = task.init(jax.random.key(0)), task.batch(0, 0)
    drawn = {"key": jax.random.key(0), "model_state": task.model_state}
    value_and_grad = jax.jit(jax.value_and_grad(task.objective.value, has_aux=True))
    (loss, _), gradient = value_and_grad(params, batch, **drawn)
    assert task.objective.split
    assert jnp.isfinite(loss)
    assert all(np.isfinite(x).all() and x.any() for x in leaves(gradient))


def test_evaluation_measures_a_finite_loss(task):
    measured = task.evaluate(task.init(jax.random.key(0)), task.model_state)
    assert "loss" in measured
    assert all(jnp.isfinite(x) for x in measured.values())


def test_seeds_start_from_different_weights(task):
    one, other = (leaves(task.init(jax.random.key(seed))) for seed in (0, 1))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_an_epoch_of_digits_shows_no_image_twice():
    task = digits(batch_size=479)  # 1,437 images to train on: three batches
    seen = np.concatenate([task.batch(0, step)["pixels"] for step in range(3)])
    other_epoch = np.concatenate([task.batch(0, step)["pixels"] for step in range(3, 6)])
    assert {x.tobytes() for x in seen} == {x.tobytes() for x in other_epoch}
    assert len({x.tobytes() for x in seen}) == 1437


def test_the_transformer_does_not_see_the_future():
    task = SMALL["text"]()
    params, batch = task.init(jax.random.key(0)), task.batch(0, 0)
    changed = {**batch, "inputs": batch["inputs"].at[:, 5].add(1)}
    old, new = (task.objective.outputs(params, b) for b in (batch, changed))
    np.testing.assert_array_equal(old[:, :5], new[:, :5])
    assert (old[:, 5:] != new[:, 5:]).any()


def test_a_fresh_transformer_knows_nothing():
    task = SMALL["text"]()
    # With logits near zero each of the characters is as likely as the others.
    loss = task.evaluate(task.init(jax.random.key(0)), task.model_state)["loss"]
    assert abs(float(loss) - np.log(len(ALPHABET) + 1)) < 0.1


def test_a_target_is_the_character_after_its_input():
    batch = SMALL["text"]().batch(0, 0)
    np.testing.assert_array_equal(batch["inputs"][:, 1:], batch["targets"][:, :-1])


def test_the_quadratic_has_its_condition_number():
    task = quadratic(4, condition=1e4)
    hessian = jax.hessian(lambda x: task.objective.value({"weight": x.reshape(4, 4)}, {})[0])(
        jnp.zeros(16)
    )
    eigenvalues = np.linalg.eigvalsh(hessian)
    # float32 rounding of the largest eigenvalue, 1, bounds the error of the smallest, 1e-4.
    np.testing.assert_allclose(eigenvalues[[0, -1]], [1e-4, 1.0], atol=16 * 2.0**-23)


def test_the_minimum_of_rosenbrock_is_at_ones():
    task = rosenbrock(4)
    assert float(task.evaluate({"x": jnp.ones(4)}, None)["loss"]) == 0.0


def test_a_batch_size_is_refused_where_it_means_nothing():
    with pytest.raises(ValueError, match="the task quadratic has no batches"):
        make("quadratic", 4)
    with pytest.raises(ValueError, match="batch_size is 2000"):
        make("digits", 2000)


TABLES = {
    "digits": {"head/kernel"},
    "digits_normed": {"head/kernel"},
    "text": {"embed/characters", "embed/positions", "head"},
}


@pytest.mark.parametrize("name", TABLES)
def test_an_optimizer_of_matrices_knows_the_tables_and_the_head_of_a_task(name):
    params = jax.eval_shape(SMALL[name]().init, jax.random.key(0))
    for optimizer in ("muon", "soap_adamw", "shampoo_adamw", "kl_shampoo"):
        rows = optc.load(optimizer).groups(params).rows
        assert {r.path for r in rows if r.group == "rest" and len(r.shape) == 2} == TABLES[name]
