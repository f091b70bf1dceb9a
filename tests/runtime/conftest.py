"""What the tests of the runtime share: a small model, its objectives, and float64."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest

from optc import runtime as rt


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 inside the test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def params():
    """Two layers, made anew for each test, so that a test may donate them."""
    return make_params()


def make_params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(1), 3)
    return {
        "layers": [
            {"kernel": jax.random.normal(keys[0], (3, 4), dtype), "bias": jnp.zeros(4, dtype)},
            {"kernel": jax.random.normal(keys[1], (4, 2), dtype), "bias": jnp.ones(2, dtype)},
        ],
        "scale": jnp.full((), 1.5, dtype),
        "unused": None,
    }


@pytest.fixture
def batch():
    keys = jax.random.split(jax.random.key(2), 2)
    return {"x": jax.random.normal(keys[0], (5, 3)), "y": jax.random.normal(keys[1], (5, 2))}


class Counted:
    """The model's functions, counting how often each is traced."""

    def __init__(self) -> None:
        self.outputs_traced = 0
        self.loss_traced = 0

    def outputs(self, params, batch):
        self.outputs_traced += 1
        first, second = params["layers"]
        hidden = jnp.tanh(batch["x"] @ first["kernel"] + first["bias"])
        return params["scale"] * (hidden @ second["kernel"] + second["bias"])

    def criterion(self, outputs, batch):
        self.loss_traced += 1
        return jnp.mean((outputs - batch["y"]) ** 2)

    def loss(self, params, batch):
        return self.criterion(self.outputs(params, batch), batch)

    @property
    def whole(self) -> rt.Objective:
        return rt.Objective(loss=self.loss)

    @property
    def split(self) -> rt.Objective:
        return rt.Objective(outputs=self.outputs, loss=self.criterion)


@pytest.fixture
def model() -> Counted:
    return Counted()
