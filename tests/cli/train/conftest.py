"""What the tests of `optc train` share."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="session")
def started():
    """JAX's backend, so that no run in this process sets options of XLA for all tests."""
    jax.devices()
