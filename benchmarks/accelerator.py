"""Steps of the library's optimizers on this machine's accelerator, against the same on its CPU.

`python -m benchmarks.accelerator [NAME ...]`. Each takes some steps on a small MLP in both places,
in both liftings. Printed is by how much the weights differ at most, in parts of how far they went;
both are float32, products on the accelerator too, but for those of Newton-Schulz, which are of
bfloat16 there. Optimizers with noise of their own draw the same numbers in both places.

A sign is not continuous, nor is a vote, and eigenvectors turn freely where eigenvalues are equal;
what comes after such a step may differ by much more than rounding. How much it is, without any
other machine, is what `--changed` shows: on the CPU, each number of a gradient changed by 1e-7 of
itself, against the same unchanged.
"""

import argparse
import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from typing import IO, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import optc

Found: TypeAlias = "str | list[Way]"
"""Of one optimizer: how its weights went, in each lifting, or why they did not."""

Way: TypeAlias = tuple[np.ndarray, np.ndarray]
"""All weights in a row, the first and the last."""

LIFTINGS = ("tensors", "stacked")

STEPS = 3
SIZES = (24, 48, 48, 10)
EXAMPLES = 32

NAMES = (
    *("adamw", "sgd", "lion", "adafactor", "lamb", "adan", "schedule_free_adamw", "adamw_int8"),
    *("sam", "fsam", "pfsam", "cdat_adam", "sophia", "adahessian", "gauss_newton", "m_fac"),
    *("armijo_gd", "goldstein_gd", "lbfgs", "storm", "sgld", "lanczos_sgd", "sm3", "prodigy"),
    *("muon", "muon_polar_express", "normuon", "dion", "scion", "spectral_descent", "galore_adamw"),
    *("soap", "soap_factored", "kl_shampoo", "kl_soap", "kron", "shampoo", "shampoo_adamw"),
    *("shampoo_squared", "distributed_shampoo", "scalable_shampoo", "kfac", "sso"),
)
"""What is looked at where no names are given: one of each kind."""

WAYS = "--ways"
"""What this script tells itself, to have a place of its own in each process."""

CHANGED = "--changed"
CHANGE = 1e-7


def main(arguments: list[str]) -> None:
    """Print a line for each optimizer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator")
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of each kind, where none is")
    parser.add_argument(CHANGED, action="store_true", help="of the CPU, by changed gradients")
    parser.add_argument(WAYS, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.names or list(NAMES)
    if options.ways:
        _write(names, CHANGE if options.changed else 0.0, sys.stdout.buffer)
        return
    cpu = {"JAX_PLATFORMS": "cpu"}
    more, where = ([CHANGED], cpu) if options.changed else ([], {})
    with _started(names, cpu) as home, _started([*more, *names], where) as away:
        print(f"{_read(away)} against {_read(home)}: the largest difference of a weight")
        print(f"after {STEPS} steps, in parts of the longest way that one went")
        print(f"{'':24}" + "".join(f"{lifting:>11}" for lifting in LIFTINGS))
        for name in names:
            print(f"{name:24}{_compared(_read(home), _read(away))}", flush=True)


def _started(arguments: list[str], settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", __spec__.name, WAYS, *arguments]
    return subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE)


def _read(process: "subprocess.Popen[bytes]") -> Any:
    assert process.stdout is not None
    return pickle.load(process.stdout)


def _write(names: list[str], change: float, file: IO[bytes]) -> None:
    """The name of the device, then what is found of each optimizer."""
    warnings.simplefilter("ignore", optc.GroupWarning)
    jax.config.update("jax_default_matmul_precision", "highest")
    pickle.dump(jax.devices()[0].device_kind, file)
    for name in names:
        pickle.dump(_found(name, change), file)
        file.flush()


def _found(name: str, change: float) -> Found:
    try:
        return [_way(name, lifting, change) for lifting in LIFTINGS]
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _compared(home: Found, away: Found) -> str:
    if isinstance(home, str) or isinstance(away, str):
        return f"  cpu: {home}" if isinstance(home, str) else f"  {away}"
    both = zip(home, away, strict=True)
    differences = (np.abs(a - b).max() / np.abs(a - first).max() for (first, a), (_, b) in both)
    return "".join(f"{d:11.1e}" for d in differences)


def _way(name: str, lifting: Any, change: float) -> Way:
    """How the weights of the MLP go on the device of this process."""
    batch_key, label_key, *layer_keys = jax.random.split(jax.random.key(0), 1 + len(SIZES))
    batch = {
        "x": jax.random.normal(batch_key, (EXAMPLES, SIZES[0])),
        "y": jax.random.randint(label_key, (EXAMPLES,), 0, SIZES[-1]),
    }
    params = [
        {
            "kernel": jax.random.normal(key, (inputs, outputs)) / inputs**0.5,
            "bias": jnp.full(outputs, 0.01),
        }
        for key, inputs, outputs in zip(layer_keys, SIZES, SIZES[1:], strict=False)
    ]

    def outputs(params: Any, batch: Any) -> jax.Array:
        return _outputs(_changed(params, change), batch) if change else _outputs(params, batch)

    objective = optc.Objective(outputs=outputs, loss=_loss, batch_axis=0, sampler=_drawn)
    optimizer = optc.load(name, lifting=lifting)()
    first = _row(params)
    state = optimizer.init(params, key=jax.random.key(1))
    for _ in range(STEPS):
        params, state, _ = optimizer.step(params, state, batch, objective)
    return first, _row(params)


def _outputs(params: Any, batch: Any) -> jax.Array:
    x = batch["x"]
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return x @ params[-1]["kernel"] + params[-1]["bias"]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _changed(params: Any, change: float) -> Any:
    """The weights, whose derivatives are changed by this part of themselves, each by chance."""
    return params


@_changed.defjvp
def _changed_tangents(change: float, params: Any, tangents: Any) -> Any:
    leaves, tree = jax.tree.flatten(tangents[0])
    keys = jax.random.split(jax.random.key(2), len(leaves))
    drawn = [
        1 + change * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)
    ]
    changed = [x * by for x, by in zip(leaves, drawn, strict=True)]
    return params[0], jax.tree.unflatten(tree, changed)


def _loss(outputs: jax.Array, batch: Any) -> jax.Array:
    picked = jnp.take_along_axis(outputs, batch["y"][:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - picked)


def _drawn(outputs: jax.Array, batch: Any, key: jax.Array) -> Any:
    return {**batch, "y": jax.random.categorical(key, outputs)}


def _row(params: Any) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])


if __name__ == "__main__":
    main(sys.argv[1:])
