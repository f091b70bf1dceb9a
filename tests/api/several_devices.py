"""Run by `test_devices.py` with 8 devices: one optimizer on a mesh, and on one device alone.

    python several_devices.py steps|auto|explicit

Prints a line for each thing that is to hold, and ends with 1 where one does not.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import optc
from optc.api.store import Store

SPEC = """
rule precondition rotated(eps = 1e-2, beta = 0.9) {
  when g is [rows, cols] {
    state L = eps * eye(rows)
    state PL = eye(rows)
    state mu = zeros(g)
    L <- beta * L + (1 - beta) * g @ g.T
    mu <- beta * mu + g
    every 2 staggered {
      PL <- inverse_root(L, 4)
    }
    return PL @ mu
  } else {
    return g
  }
}
optimizer whole(lr = 0.05) {
  precondition rotated()
  tune step    lr
  observe      norm(u) as u_norm
  observe      mean(u) as u_mean
}
"""

LAYERS, WIDTH, STEPS = 9, 8, 3
"""Nine layers on eight devices: some hold two matrices, others one that counts."""

DIGITS = {"float32": 1e-4, "float64": 1e-11}
"""What sums in another order may do in some steps, with roots of matrices whose smallest
eigenvalues are 1e-2."""


def loss(params, batch):
    x = batch
    if any(jax.typeof(params[0]["w"]).sharding.spec):
        # Where shardings are part of types the model itself says that it gathers weights.
        params = jax.tree.map(lambda x: jax.sharding.reshard(x, P()), params)
    for layer in params:
        x = x + jnp.tanh(x @ layer["w"] + layer["b"])
    return jnp.mean((x - 1) ** 2)


def run(program, params, batch):
    optimizer = program()
    objective = optc.Objective(loss=loss)
    params = jax.tree.map(jnp.copy, params)
    state = optimizer.init(params)
    for _ in range(STEPS):
        params, state, report = optimizer.step(params, state, batch, objective)
    return params, state, report


def is_cut(x: jax.Array) -> bool:
    """Whether each of the devices has an eighth."""
    return x.addressable_shards[0].data.size * 8 == x.size


def claim(what: str, holds: bool) -> None:
    print(("  ok  " if holds else "FAILS ") + what)
    FAILED.append(what) if not holds else None


def again_from_what_was_kept(mesh) -> None:
    """A step of given gradients in a second program is that of the first, and not compiled."""
    params = jax.device_put({"w": jnp.ones((WIDTH, WIDTH))}, NamedSharding(mesh, P("data")))
    grads = jax.tree.map(jnp.copy, params)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event)
    )
    found = []
    with TemporaryDirectory() as folder:
        for _ in range(2):
            optimizer = optc.load("sgd").keep(Store(Path(folder)), optc.load("sgd").source)()
            weights = jax.tree.map(jnp.copy, params)
            state = optimizer.init(weights)
            compiled.clear()
            weights, _, _ = optimizer.apply(weights, state, grads)
            found.append((weights["w"], len(compiled)))
    (first, done), (second, none) = found
    claim("a step is kept for weights that are cut", done > 0 and none == 0)
    claim("and is the same", bool(jnp.all(first == second)) and is_cut(second))


FAILED: list[str] = []


def main(kind: str) -> None:
    explicit = kind == "explicit"
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Explicit if explicit else AxisType.Auto,))
    keys = jax.random.split(jax.random.key(0), LAYERS)
    params = [
        {"w": 0.3 * jax.random.normal(key, (WIDTH, WIDTH)), "b": jnp.zeros(WIDTH)} for key in keys
    ]
    batch = jax.random.normal(jax.random.key(1), (16, WIDTH))
    alone = run(optc.compile(SPEC, lifting="tensors"), params, batch)

    whole, parted = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    shared = optc.compile(SPEC, mesh=mesh, axis="data")
    with jax.set_mesh(mesh) if explicit else nullcontext():
        found = run(shared, jax.device_put(params, whole), jax.device_put(batch, parted))
        state = found[1]
        slots = state.slots["precondition"]
        for name in ("L", "PL", "mu"):
            (x,) = jax.tree.leaves(slots[name])
            claim(f"each device holds its part of {name}", x.sharding.spec[0] == "data")
            claim(f"the stack {name} has two for each device", x.shape[0] == 16)
        claim("weights stay whole", found[0][0]["w"].sharding.is_fully_replicated)

        digits = DIGITS[str(batch.dtype)]
        apart = optc.compile(SPEC, lifting="tensors")().adopt(state, found[0])
        for name, a, b in (
            ("weights", alone[0], found[0]),
            ("report", alone[2], found[2]),
            ("states", alone[1], apart),
        ):
            leaves = (jax.tree.leaves(jax.device_get(x)) for x in (a, b))
            apart_by = max(float(np.max(abs(x * 1.0 - y))) for x, y in zip(*leaves, strict=True))
            claim(f"{name} are those of one device: {apart_by:.1e} apart", apart_by < digits)

        if kind == "steps":
            again_from_what_was_kept(mesh)
            sys.exit(bool(FAILED))
        split = jax.device_put(params, NamedSharding(mesh, P("data")))
        for way in ("tensors", "stacked"):
            program = optc.compile(SPEC, lifting=way)
            optimizer = program()
            for init in (optimizer.init, jax.jit(optimizer.init)):
                fresh = init(split).slots["precondition"]
                mu, *_ = jax.tree.leaves(fresh["mu"])
                left, *_ = jax.tree.leaves(fresh["L"])
                claim(f"{way}: a state follows its weight", is_cut(mu))
                claim(f"{way}: all devices have a part in a factor", len(left.devices()) == 8)
            left, *_ = jax.tree.leaves(optimizer.init(split).slots["precondition"]["L"])
            claim(f"{way}: a factor of the rows is cut where they are", is_cut(left))
            found = run(program, split, jax.device_put(batch, whole))
            left, *_ = jax.tree.leaves(found[1].slots["precondition"]["L"])
            claim(f"{way}: and stays so", is_cut(left))
            pairs = zip(
                *(jax.tree.leaves(jax.device_get(x[0])) for x in (alone, found)), strict=True
            )
            apart_by = max(float(np.max(abs(x - y))) for x, y in pairs)
            claim(f"{way}: weights are those of one device: {apart_by:.1e}", apart_by < digits)
        packed = optc.compile(SPEC, lifting="packed")
        for form, weights in (("a tree", split), ("a pack", packed().pack(split))):
            after, *_ = run(packed, weights, jax.device_put(batch, whole))
            pairs = zip(
                *map(jax.tree.leaves, (alone[0], getattr(after, "tree", after))), strict=True
            )
            apart_by = max(float(np.max(abs(np.asarray(x) - y))) for x, y in pairs)
            claim(f"packed: {form} is that of one device: {apart_by:.1e}", apart_by < digits)
    sys.exit(bool(FAILED))


if __name__ == "__main__":
    main(sys.argv[1])
