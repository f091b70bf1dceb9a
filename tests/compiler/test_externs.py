"""External stages: what they may name, what they compute, where their state lies."""

import runpy
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from agreement import agree, located, mistakes, specimen
from jax import lax
from tried import net

import optc
from optc.compiler.check import check
from optc.compiler.driver import optax_chain
from optc.compiler.transformations import TABLE
from optc.grammar.diagnostic import SpecError


def one(declaration, stage="precondition mine", tail="tune step 0.1"):
    return f"{declaration}\noptimizer x() {{\n  {stage}\n  {tail}\n}}\n"


# ---- what may be named

HOSTILE = {
    'os.system("rm -rf /")': "extern-not-allowed: the module `os` is not allowed",
    'system("x")': "extern-not-allowed: `system` says no module",
    'eval("1")': "extern-not-allowed: `eval` says no module",
    "optax._src.transform.scale_by_adam()": "extern-not-allowed: `_src` is not a public name",
    "optax.chain.__globals__()": "extern-not-allowed: `__globals__` is not a public name",
    "optax.chain.run()": "extern-not-allowed: the module `optax.chain` is not allowed",
    "optax.contrib.sam.run()": "extern-not-allowed: the module `optax.contrib.sam` is not",
    "optc.runtime.jax()": "unknown-transformation: `optc.runtime` has no transformation `jax`",
    "optc.runtime.jax.jit()": "extern-not-allowed: the module `optc.runtime.jax` is not",
    "optax.chain()": "unknown-transformation: `optax` has no transformation `chain`",
    "optax.inject_hyperparams()": "unknown-transformation: `optax` has no",
    "optax.import()": "extern-not-allowed: `import` is not a public name",
}


@pytest.mark.parametrize("call", HOSTILE)
def test_what_a_stranger_may_not_name_is_refused(call):
    expected = HOSTILE[call]
    found = mistakes(one(f"extern precondition mine() = {call}"))
    assert [each for each in found if each.startswith(expected)], found
    with pytest.raises(SpecError):
        optc.compile(one(f"extern precondition mine() = {call}"))


def test_nothing_is_imported_for_a_check():
    report = check(located(one("extern precondition mine() = optax.scale_by_adam()")))
    assert not len(report)


def test_a_module_is_open_when_the_caller_names_it(monkeypatch):
    text = one(
        "extern precondition mine(rate = 2.0) = optc_test_module.twice(rate = rate, extra = 3)"
    )
    assert mistakes(text) == ["extern-not-allowed: the module `optc_test_module` is not allowed"]
    module = ModuleType("optc_test_module")
    module.twice = lambda rate, extra: optax.scale(rate * extra)
    monkeypatch.setitem(sys.modules, "optc_test_module", module)
    program = optc.compile(text, allow_extern=["optc_test_module"])
    assert "import optc_test_module\n" in program.source
    tx = program().transform()
    update, _ = tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
    np.testing.assert_allclose(update, -0.6)


@pytest.mark.parametrize(
    ("call", "expected"),
    {
        "m.f(2)": "extern-argument: the arguments of `m.f` are given by name",
        "m.f(lambda = 2)": "extern-argument: no parameter in Python is named `lambda`",
        "m._f()": "extern-not-allowed: `_f` is not a public name of a module",
        "m.f.g()": "extern-not-allowed: the module `m.f` is not allowed",
    }.items(),
)
def test_an_open_module_opens_its_public_functions_only(call, expected):
    with pytest.raises(SpecError) as error:
        optc.compile(one(f"extern precondition mine() = {call}"), allow_extern=["m"])
    assert expected in {f"{d.code}: {d.message}" for d in error.value.diagnostics}


def test_allowed_modules_are_names_of_modules():
    with pytest.raises(ValueError, match="not the name of a module"):
        optc.compile("", allow_extern=["os; import sys"])
    with pytest.raises(TypeError, match="are a list"):
        optc.compile("", allow_extern="os")
    with pytest.raises(TypeError, match="is a text, not 3"):
        optc.compile("", allow_extern=[3])  # type: ignore[list-item]  # a wrong call


def test_an_allowed_module_that_is_not_there_is_named():
    with pytest.raises(ImportError, match="cannot be imported: No module named 'nowhere'"):
        optc.compile(one("extern precondition mine() = nowhere.f()"), allow_extern=["nowhere"])


def test_the_table_is_that_of_the_installed_optax():
    """Names and parameters; how the table's script finds sorts is shown on some of them."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "transformations.py"))
    for module, rows in TABLE.items():
        functions = dict(script["candidates"](script["MODULES"][module]))
        for name, row in rows.items():
            plain, required = script["parameters"](functions[name])
            assert list(row.parameters) == plain, name
            assert len(required) <= row.required, name
    for name, arguments in (
        ("adam", {"learning_rate": 0.1}),
        ("scale_by_polyak", {}),
        ("add_decayed_weights", {}),
    ):
        positive, extra = script["trial"](getattr(optax, name), arguments)
        row = TABLE["optax"][name]
        assert (row.sort, list(row.extra)) == ("direction" if positive else "update", extra)


# ---- what it computes

STAGES = {
    "scale_by_adam": ("precondition", "b1 = 0.8, eps = 1e-6, nesterov = true"),
    "scale_by_rms": ("precondition", "decay = 0.8, initial_scale = 0.1"),
    "scale_by_lion": ("precondition", "b1 = 0.8"),
    "scale_by_yogi": ("precondition", ""),
    "scale_by_belief": ("precondition", "b2 = 0.9"),
    "scale_by_rss": ("precondition", ""),
    "scale_by_sm3": ("precondition", ""),
    "scale_by_trust_ratio": ("precondition", ""),
    "trace": ("precondition", "decay = 0.9"),
    "ema": ("precondition", "decay = 0.9, debias = false"),
    "clip_by_global_norm": ("clip", "max_norm = 0.1"),
    "adaptive_grad_clip": ("clip", "0.01"),
    "add_decayed_weights": ("decay", "weight_decay = 0.1"),
    "contrib.scale_by_ademamix": ("precondition", "alpha = 2"),
}
"""A dozen transformations, with arguments as a spec writes them."""

PARAMS = {
    "matrix": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4))),
    "vector": jnp.ones(5),
    "none": None,
    "list": [jnp.full((), 2.0), None, jnp.ones((1, 2))],
}


def python(arguments):
    """Arguments of a spec as Python has them."""
    return eval(f"dict({arguments})", {"true": True, "false": False})


def trained(tx, steps=4):
    """The updates of a few steps, and the last state."""
    rng = np.random.default_rng(1)
    grads = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=(steps, *x.shape))), PARAMS)

    @jax.jit
    def run(params, grads):
        def step(state, g):
            update, state = tx.update(g, state, params)
            return state, update

        return lax.scan(step, tx.init(params), grads)

    return run(PARAMS, grads)


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        # The scalars of ours are arrays of float32 where optax folds numbers of Python.
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", STAGES)
def test_a_masked_stage_is_the_masked_transformation(name):
    kind, arguments = STAGES[name]
    text = one(
        f"extern {kind} mine() = optax.{name}({arguments})",
        f"{kind} mine where ndim >= 2",
        "tune step 1.0",
    )
    function = getattr(optax.contrib if "." in name else optax, name.rpartition(".")[2])
    values = python(arguments) if "=" in arguments else {"clipping": 0.01} if arguments else {}
    mask = jax.tree.map(lambda x: x.ndim >= 2, PARAMS)
    expected, updates = trained(
        optax.chain(optax.masked(function(**values), mask), optax.scale(-1.0))
    )
    state, found = trained(optc.compile(text)().transform())
    assert_equal(found, updates)
    assert_equal(state.slots[kind]["mine"], expected[0].inner_state)


def test_graph_and_module_agree_with_views_groups_guards_accumulation_and_rules():
    text = """
    extern precondition adam(b1 = 0.9 in [0, 1)) = optax.scale_by_adam(b1 = b1, eps = 1e-3)
    extern clip block(limit = 1.0) = optax.clip_by_block_rms(2 * limit)
    extern constrain positive() = optax.keep_params_nonnegative()
    rule precondition both(b1 = 0.7) {
      u = adam(g, b1 = b1)
      v = adam(u, b1 = 0.5)
      return u + v
    }
    optimizer x(lr = 0.1, b1 = 0.8 in [0, 1), floor = 0.1) {
      accumulate   2
      clip         block(floor / 10)
      group matrices where ndim == 2 view "a b -> b a" {
        precondition both(b1 = b1)
      }
      group rest {
        precondition adam(b1 = b1)
      }
      tune step    lr
      constrain    positive
      guard        finite
    }
    """
    case = specimen(text)
    assert case.program.needs == {"grad"}
    state = case.program().init(net().params)
    assert set(state.slots["matrices.precondition"]) == {"adam", "adam_2"}
    agree(case, steps=4, b1=0.6)


def test_a_whole_update_is_that_of_optax_with_the_loss_that_it_asks():
    text = """
    extern tune polyak(limit = 1.0) = optax.polyak_sgd(max_learning_rate = limit)
    optimizer x(cap = 0.05) {
      tune step polyak(limit = cap)
      observe norm(u) as length
      observe eta as eta
    }
    """
    case = specimen(text)
    assert case.program.needs == {"loss", "grad"}
    trace = agree(case, steps=3)
    assert trace.last.observed["eta"] == 1.0


SEARCHES = {
    "optax.scale_by_backtracking_linesearch(20, store_grad = true)": "linesearch",
    "optax.lbfgs()": "lbfgs",
    "optax.scale_by_zoom_linesearch(max_linesearch_steps = 10)": "zoom",
}


@pytest.mark.parametrize("call", SEARCHES)
def test_line_searches_evaluate_the_loss_of_the_batch(call):
    optimizer = optc.compile(one(f"extern tune mine() = {call}", "tune step mine()", ""))()
    centre = jnp.asarray([1.0, -2.0])

    def loss(params, batch):
        return jnp.sum(batch * (params["w"] - centre) ** 2) + jnp.sum(params["w"] ** 4) / 4

    batch, params = jnp.asarray([1.0, 3.0]), {"w": jnp.asarray([0.5, 0.5])}
    search = {
        "linesearch": lambda: optax.chain(
            optax.scale(-1.0), optax.scale_by_backtracking_linesearch(20, store_grad=True)
        ),
        "zoom": lambda: optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(10)),
        "lbfgs": optax.lbfgs,
    }[SEARCHES[call]]()

    @jax.jit
    def ours(params):
        objective = optc.Objective(loss=loss)

        def step(carry, _):
            return optimizer.update(*carry, batch, objective)[:2], None

        return lax.scan(step, (params, optimizer.init(params)), length=3)[0][0]

    @jax.jit
    def theirs(params):
        def step(carry, _):
            params, state = carry
            value, grad = jax.value_and_grad(loss)(params, batch)
            update, state = search.update(
                grad, state, params, value=value, grad=grad, value_fn=lambda p: loss(p, batch)
            )
            return (optax.apply_updates(params, update), state), None

        return lax.scan(step, (params, search.init(params)), length=3)[0][0]

    np.testing.assert_allclose(ours(params)["w"], theirs(params)["w"], rtol=1e-5)


# ---- where its state lies


PROGRAM = """
extern precondition mine(b1 = 0.9) = optax.scale_by_adam(b1 = b1)
optimizer x(lr = 0.1, b1 = 0.8) { precondition mine(b1 = b1) tune step lr }
"""


def test_the_state_is_that_of_optax_for_the_weights_own_dtypes():
    params = {"a": jnp.ones((2, 3), jnp.bfloat16), "none": None, "b": jnp.ones(2)}
    optimizer = optc.compile(PROGRAM)()
    state = optimizer.init(params)
    expected = optax.scale_by_adam().init(params)
    assert_equal(state.slots["precondition"]["mine"], expected)
    objective = optc.Objective(loss=lambda p, batch: jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2))
    params, after, _ = optimizer.step(params, state, None, objective)
    assert jax.tree.structure(after) == jax.tree.structure(optimizer.init(params))
    assert after.slots["precondition"]["mine"].mu["a"].dtype == jnp.bfloat16
    assert optax.tree.get(after, "mu")["a"].dtype == jnp.bfloat16


def test_its_numbers_are_inputs_that_sweep_in_one_program():
    optimizer = optc.compile(PROGRAM)
    objective = optc.Objective(loss=lambda p, batch: jnp.sum((p - 1) ** 2))

    def train(b1):
        bound = optimizer(b1=b1)
        params = jnp.zeros(2)

        def step(carry, _):
            return bound.update(*carry, None, objective)[:2], None

        (params, _), _ = lax.scan(step, (params, bound.init(params)), length=5)
        return params

    swept = jax.jit(jax.vmap(train))(jnp.asarray([0.5, 0.9]))

    def alone(b1):
        tx, params = optax.chain(optax.scale_by_adam(b1=b1), optax.scale(-0.1)), jnp.zeros(2)
        state = tx.init(params)
        for _ in range(5):
            update, state = tx.update(2 * (params - 1), state, params)
            params = params + update
        return params

    np.testing.assert_allclose(swept, [alone(0.5), alone(0.9)], rtol=1e-5)


def test_a_state_of_other_weights_is_refused_by_its_slot():
    optimizer = optc.compile(PROGRAM)()
    tx = optimizer.transform()
    state = tx.init(jnp.ones(2))
    with pytest.raises(ValueError, match="slot `precondition/mine`"):
        tx.update(jnp.ones(3), state, jnp.ones(3))
    with pytest.raises(ValueError, match="slot `precondition/mine`"):
        tx.update({"a": jnp.ones(2)}, state, {"a": jnp.ones(2)})


def test_what_python_decides_on_must_be_fixed():
    text = """
    extern precondition mine(n = 3.0) = optax.apply_every(k = n)
    extern precondition fixed(n: int = 3) = optax.contrib.scale_by_galore(rank = n)
    optimizer x(size = 3.0) { precondition mine(n = size) tune step 1.0 }
    extern tune whole(momentum = 0.9, nesterov = 1.0) =
      optax.sgd(0.1, momentum = momentum, nesterov = nesterov)
    optimizer y(nesterov = 1.0) { tune step whole(nesterov = nesterov) }
    """
    optimizer = optc.compile(text, "y")()
    params, objective = jnp.ones(2), optc.Objective(loss=lambda p, batch: jnp.sum(p**2))
    with pytest.raises(ValueError, match="make it a literal, or an int, bool or str parameter"):
        optimizer.step(params, optimizer.init(params), None, objective)


def test_an_error_of_optax_says_which_stage_it_comes_from():
    text = one('extern precondition mine() = optax.scale_by_adam(mu_dtype = "float5")')
    with pytest.raises(TypeError) as error:
        optc.compile(text)().init(jnp.ones(2))
    assert error.value.__notes__ == ["in the stage <string>:3 | precondition mine"]


@pytest.mark.filterwarnings("ignore:.*seed:DeprecationWarning")
def test_a_state_may_hold_a_random_key():
    text = one("extern precondition mine() = optax.add_noise(0.1, 0.5, 3)")
    transform, theirs = optc.compile(text)().transform(), optax.add_noise(0.1, 0.5, 3)
    g = jnp.arange(3.0)
    found, _ = transform.update(g, transform.init(g), g)
    expected, _ = theirs.update(g, theirs.init(g))
    np.testing.assert_allclose(found, -0.1 * expected, rtol=1e-6)


def test_an_extern_is_its_own_twin_in_a_chain():
    text = """
    extern precondition mine(b1 = 0.9) = optax.scale_by_adam(b1 = b1)
    optimizer x(lr = 0.1) { precondition mine(0.8) where ndim >= 2 tune step lr }
    """
    assert "optax.scale_by_adam(b1=0.8)" in optax_chain(located(text))


def test_a_claim_reaches_a_chain_only_as_a_public_name_of_optax():
    text = """
    rule precondition mine() equals eval("1") { return g }
    optimizer x(lr = 0.1) { precondition mine() tune step lr }
    """
    with pytest.raises(SpecError, match="no twin"):
        optax_chain(located(text))
