"""Warm starts: a second process does not do again what the first one did, and gets the same bits.

A program that is loaded again stands for another process, since nothing of one program is known to
another but through the folder; the last test is of two processes.
"""

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optc
from optc.api import modules
from optc.api.store import Store

WORK = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
"""What JAX says when it does something that a warm start spares."""

_done = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: _done.append(WORK.get(event))
)

STATIC = """
rule tune halved(lr, slow: bool = false) {
  when slow { return lr / 2 } else { return lr }
}
optimizer plain(lr = 0.1, slow: bool = false) { tune step halved(lr, slow) }
"""
PLAIN = "optimizer plain(lr = 0.1 in (0, 10)) { tune step lr observe norm(g) as grad_norm }"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("OPTC_CACHE_MIB", raising=False)
    return Store.of_user()


@contextmanager
def counting():
    """A list of what JAX does meanwhile."""
    found = []
    start = len(_done)
    yield found
    found += [what for what in _done[start:] if what]


def params(dtype=jnp.float32):
    return {"a": jnp.arange(6, dtype=dtype).reshape(2, 3), "b": [jnp.ones((), dtype)], "c": None}


def grads(dtype=jnp.float32):
    return jax.tree.map(lambda x: 0.5 * jnp.ones_like(x), params(dtype))


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def started(program, **values):
    """Weights, state and report after the first step of given gradients."""
    optimizer = program(**values)
    weights = params()
    return optimizer.apply(weights, optimizer.init(weights), grads(), value=2.0)


# ---- given gradients


def test_apply_is_what_the_transformation_does():
    optimizer = optc.compile(PLAIN)()
    weights, state = params(), optimizer.init(params())
    update = jax.jit(optimizer.transform().update)
    updates, expected = update(grads(), state, weights)
    expected = jax.tree.map(jnp.copy, expected)
    after, state, report = optimizer.apply(weights, state, grads())
    expected = jax.tree.map(jnp.add, params(), updates), expected
    for x, y in zip(jax.tree.leaves((after, state)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)  # one rounding of a float32 more or less
    assert np.isnan(report.loss)
    assert float(report.observed["grad_norm"]) == pytest.approx(0.5 * 7**0.5)
    assert all(x.is_deleted() for x in jax.tree.leaves(weights)), "weights are donated"


def test_apply_refuses_what_gradients_do_not_answer():
    weights = params()
    sam = optc.load("sam")()
    with pytest.raises(ValueError, match=r"perturb sam.* asks for the oracle `grad_at`|oracle `"):
        sam.apply(weights, sam.init(weights), grads())
    adamw = optc.load("adamw")()
    with pytest.raises(ValueError, match="grads and params are not built alike"):
        adamw.apply(weights, adamw.init(weights), [jnp.ones(3)])
    with pytest.raises(TypeError, match="grads leaf `a` is a str"):
        adamw.apply(weights, adamw.init(weights), {**grads(), "a": "no"})


# ---- modules


def refuse(*_, **__):
    raise AssertionError("compiled again")


def test_a_module_is_compiled_once(monkeypatch, store):
    first = optc.load("adamw", cache=True)
    assert store.usage().entries == 1
    monkeypatch.setattr(modules, "_compiled", refuse)
    again = optc.load("adamw", cache=True)
    assert again.source == first.source
    assert again.__doc__ == first.__doc__
    with pytest.raises(AssertionError):
        optc.load("adamw", cache=True, defaults={"lr": 0.5})
    with pytest.raises(AssertionError):
        optc.load("adamw", cache=True, without=["factor"])
    with pytest.raises(AssertionError):
        optc.load("adamw")


def test_a_module_is_of_its_spec_and_of_the_files_that_it_uses(tmp_path, monkeypatch):
    spec, used, deep = (tmp_path / name for name in ("s.opt", "used.opt", "deep.opt"))
    deep.write_text("func third(x) { return x / 3 }")
    used.write_text('use "deep.opt"\nrule clip thirds() { return third(g) }')
    spec.write_text('use "used.opt"\noptimizer o(lr = 0.1) { clip thirds() tune step lr }')
    load = lambda **more: optc.load(spec, cache=True, **more)  # noqa: E731
    first = load().source

    changes = {
        deep: "func third(x) { return x / 3.5 }",
        used: 'use "deep.opt"\nrule clip thirds() { return 2 * third(g) }',
        spec: 'use "used.opt"\noptimizer o(lr = 0.2) { clip thirds() tune step lr }',
    }
    for file, text in changes.items():
        before = file.read_text()
        file.write_text(text)
        assert load().source == optc.load(spec).source != first
        file.write_text(before)
        assert load().source == first
    with monkeypatch.context() as patched:
        patched.setattr(modules, "_compiled", refuse)
        assert load().source == first
    deep.unlink()
    with pytest.raises(optc.SpecError):
        load()


def test_what_a_spec_may_not_read_is_not_read_for_it(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "outside.opt").write_text("rule clip half() { return g / 2 }")
    spec = tmp_path / "below" / "s.opt"
    spec.write_text('use "../outside.opt"\noptimizer o(lr = 0.1) { clip half() tune step lr }')
    optc.load(spec, cache=True, allow_use=[tmp_path])
    with pytest.raises(optc.SpecError):
        optc.load(spec, cache=True)


def test_a_mistake_is_reported_each_time():
    for _ in range(2):
        with pytest.raises(optc.SpecError):
            optc.compile("optimizer wrong(lr = 0.1) { clip halve() tune step lr }", cache=True)


# ---- executables


def test_given_gradients_are_neither_traced_nor_lowered_nor_compiled_again():
    expected = started(optc.compile(PLAIN, cache=True))
    given = params(), grads(), jnp.float32(2.0)
    optimizer = optc.compile(PLAIN, cache=True)()
    weights, gradients, value = given
    state = optimizer.init(weights)
    with counting() as done:
        found = optimizer.apply(weights, state, gradients, value=value)
    same(found, expected)
    assert done == []


def test_a_fresh_state_is_not_compiled_again():
    weights = params()
    expected = optc.load("adamw", cache=True)().init(weights)
    optimizer = optc.load("adamw", cache=True)()
    with counting() as done:
        found = optimizer.init(weights)
    same(found, expected)
    assert done == []


def squares(weights, batch):
    return batch * sum(jnp.sum(x**2) for x in jax.tree.leaves(weights))


def stepped(program, loss, batch=1.0, **values):
    optimizer = program(**values)
    weights = params()
    return optimizer.step(weights, optimizer.init(weights), batch, optc.Objective(loss=loss))


def test_a_step_is_traced_and_lowered_and_not_compiled_again():
    batch = np.float32(1.0)
    expected = stepped(optc.compile(PLAIN, cache=True), squares, batch)
    with counting() as done:
        found = stepped(optc.compile(PLAIN, cache=True), squares, batch)
    same(found, expected)
    assert "trace" in done
    assert "lower" in done
    assert "compile" not in done
    same(stepped(optc.compile(PLAIN), squares, batch)[0], expected[0])


def test_a_loss_is_what_it_does_and_not_how_it_is_called(store):
    """The same name, module and constants' names, but other numbers: never a stale loss."""
    found = set()
    for power in (2, 3):
        for scale in (1.0, 2.0):
            scales = np.full(20, scale)

            def loss(weights, batch, power=power, scales=scales):
                sizes = sum(jnp.sum(x**power) for x in jax.tree.leaves(weights))
                return batch * sizes * jnp.sum(jnp.asarray(scales, jnp.float32))

            cached = stepped(optc.compile(PLAIN, cache=True), loss, np.ones((), np.float32))
            plain = stepped(optc.compile(PLAIN), loss, np.ones((), np.float32))
            same(cached, plain)
            found.add(float(cached[2].loss))
    assert len(found) == 4


def test_arguments_that_are_not_used_are_told_apart():
    """Two programs that differ only in which of two equal arguments they use."""
    for used in ("a", "b", "a"):
        loss = lambda weights, batch, used=used: jnp.sum(weights["a"]) * batch[used]  # noqa: E731
        batch = {"a": jnp.float32(2.0), "b": jnp.float32(3.0)}
        optimizer = optc.compile(PLAIN, cache=True)()
        weights = params()
        state = optimizer.init(weights)
        _, _, report = optimizer.step(weights, state, batch, optc.Objective(loss=loss))
        assert float(report.loss) == 15.0 * float(batch[used])


def test_what_decides_a_step_tells_entries_apart(store):
    program = lambda: optc.compile(PLAIN, cache=True)  # noqa: E731

    def entries():
        return store.usage().entries

    started(program())
    known = entries()
    started(program(), lr=0.3)
    assert entries() == known, "a float hyperparameter is an argument"

    optimizer = program()()
    weights = params(jnp.bfloat16)
    optimizer.apply(weights, optimizer.init(weights), grads(jnp.bfloat16))
    other = {"renamed": jnp.ones((2, 3)), "b": [jnp.ones(())]}
    optimizer.apply(other, optimizer.init(other), jax.tree.map(jnp.ones_like, other))
    assert entries() == known + 2 * 2, "dtypes and paths"

    with jax.default_matmul_precision("highest"):
        started(program())
    assert entries() == known + 3 * 2, "options of JAX"


def test_static_hyperparameters_tell_entries_apart():
    found = [started(optc.compile(STATIC, cache=True), slow=slow)[0] for slow in (True, False)]
    assert [round(float(weights["b"][0]), 6) for weights in found] == [0.975, 0.95]


def test_a_change_of_options_between_two_steps_is_seen():
    optimizer = optc.compile(PLAIN, cache=True)()
    weights = params()
    weights, state, _ = optimizer.apply(weights, optimizer.init(weights), grads())
    with jax.enable_x64(True):
        weights, state, _ = optimizer.apply(weights, state, grads())
    with jax.disable_jit():
        weights, state, _ = optimizer.apply(weights, state, grads())
    assert int(state.count) == 3
    np.testing.assert_allclose(weights["b"][0], 1 - 3 * 0.1 * 0.5, rtol=1e-6)


def test_traced_and_weakly_typed_arguments_go_the_ordinary_way(store):
    optimizer = optc.compile(PLAIN, cache=True)()
    objective = optc.Objective(loss=squares)

    def twice(weights, rate):
        state = optimizer.set(optimizer.init(weights), lr=rate)
        weights, state, _ = optimizer.step(weights, state, 1.0, objective)
        return optimizer.apply(weights, state, grads())[0]

    before = store.usage().entries
    found = jax.vmap(twice, in_axes=(None, 0))(params(), jnp.array([0.1, 0.2]))
    assert found["a"].shape == (2, 2, 3)
    stepped(optc.compile(PLAIN, cache=True), squares, 1.0)  # a Python number has no dtype
    assert store.usage().entries == before + 1, "the fresh state of the last line alone"


def test_what_calls_into_this_process_is_not_kept(store):
    called = []

    def loss(weights, batch):
        jax.debug.callback(called.append, batch)
        return squares(weights, batch)

    stepped(optc.compile(PLAIN, cache=True), loss, np.float32(1.0))
    before = store.usage().entries
    stepped(optc.compile(PLAIN, cache=True), loss, np.float32(2.0))
    jax.effects_barrier()
    assert [float(x) for x in called] == [1.0, 2.0]
    assert store.usage().entries == before == 2, "the module and the fresh state"


def test_what_comes_from_the_cache_of_jax_is_not_kept(tmp_path, monkeypatch, store):
    """XLA writes what it has read itself without its machine code."""
    from jax.experimental.compilation_cache import compilation_cache

    options = {
        "jax_compilation_cache_dir": str(tmp_path / "jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: jax.config.values[name] for name in options}
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        expected = started(optc.compile(PLAIN, cache=True))
        assert store.usage().entries == 3
        store.clear()
        same(started(optc.compile(PLAIN, cache=True)), expected)
        assert store.usage().entries == 1, "the module"
        same(started(optc.compile(PLAIN, cache=True)), expected)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_the_callers_own_stages_are_traced(tmp_path, monkeypatch):
    """A module of the caller may change without a version that could tell."""
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = """
    extern precondition own(by = 1.0) = cache_test_stage.scaled(by = by)
    optimizer o(lr = 0.1) { precondition own() tune step lr }
    """
    text = "import optax\ndef scaled(by):\n    return optax.scale({} * by)\n"
    file = tmp_path / "cache_test_stage.py"
    for factor in (2.0, 3.0):
        file.write_text(text.format(factor))
        sys.modules.pop("cache_test_stage", None)
        program = optc.compile(spec, cache=True, allow_extern=["cache_test_stage"])
        after, _, _ = started(program)
        np.testing.assert_allclose(after["b"][0], 1 - 0.1 * factor * 0.5, rtol=1e-6)


def payloads(store):
    """The entries of executables, and how each may be damaged though its digest is right."""
    for path in sorted(store.folder.iterdir()):
        value = store.read(path.stem)
        if value[:1] != b"{":
            yield path.stem, value


DAMAGES = [
    lambda rest, lapack, payload: b"",
    lambda rest, lapack, payload: b"no pickle",
    lambda rest, lapack, payload: b"cnot_a_module\nat_all\n.",
    lambda rest, lapack, payload: pickle.dumps(None),
    lambda rest, lapack, payload: pickle.dumps((rest, lapack)),
    lambda rest, lapack, payload: pickle.dumps((rest, lapack, b"")),
    lambda rest, lapack, payload: pickle.dumps((rest, lapack, payload[: len(payload) // 2])),
    lambda rest, lapack, payload: pickle.dumps((rest, lapack, pickle.dumps((None, [], True)))),
]


def test_what_cannot_be_loaded_is_made_again(store, caplog):
    program = lambda: optc.compile(PLAIN, cache=True)  # noqa: E731
    expected = started(program())
    whole = dict(payloads(store))
    assert len(whole) == 2
    for damage in DAMAGES:
        damaged = {key: damage(*pickle.loads(value)) for key, value in whole.items()}
        for key, value in damaged.items():
            store.write(key, value)
        same(started(program()), expected)
        assert not set(dict(payloads(store)).values()) & set(damaged.values())
    # Sound entries of one function under the key of another: the report, and the fresh state.
    first, second = whole
    store.write(first, whole[second])
    store.write(second, whole[first])
    same(started(program()), expected)
    for path in store.folder.iterdir():
        if path.stem not in dict(payloads(store)):
            for value in (b"{", b"{}", b"null", b'{"name": 1, "source": 2, "uses": 3}'):
                store.write(path.stem, value)
                same(started(program()), expected)
    assert not caplog.records


def test_without_a_folder_all_is_as_without_a_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "file"))
    same(started(optc.compile(PLAIN, cache=True)), started(optc.compile(PLAIN)))


STEPS = """
SPEC = '''
rule precondition rooted() {
  when g is [rows, cols] { return inverse_root(g @ g.T + eye(rows), 2) @ g } else { return g }
}
optimizer o(lr = 0.1) { precondition rooted() tune step lr }
'''
import jax
import jax.numpy as jnp
import optc

done = []
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: done.append(event))
optimizer = optc.compile(SPEC, cache=True)()
weights = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
grads = jax.tree.map(jnp.ones_like, weights)
state = optimizer.init(weights)
done.clear()
for _ in range(2):
    weights, state, report = optimizer.apply(weights, state, grads)
found = [x.hex() for row in weights["a"].tolist() for x in row]
print(found, any("backend_compile" in event for event in done))
"""


def test_another_process_calls_lapack_without_having_lowered_a_call(capsys):
    exec(STEPS, {})
    here = capsys.readouterr().out.strip().rpartition(" ")
    paths = [str(Path(optc.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    ended = subprocess.run(
        [sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True
    )
    there = ended.stdout.strip().rpartition(" ")
    assert here[0] == there[0]
    assert (here[2], there[2]) == ("True", "False")
