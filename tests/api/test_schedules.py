"""Schedules as values: the rates that a program would use, in NumPy and as optax takes them."""

import jax
import numpy as np
import optax
import pytest

import optc
from optc.api.schedules import ask
from optc.compiler import library
from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter

ARGUMENTS = {
    **{"peak": 0.3, "start": 0.2, "end": 0.1, "low": 0.1, "high": 0.3, "rate": 0.5, "power": 2},
    **{"warmup": 10, "total": 60, "steps": 7, "period": 10, "half": 5, "factor": 0.5, "first": 9},
}
"""A value for each parameter of the library's schedules that has no default."""


def of_library(name):
    entry = library.file("schedule", name).items[-1]
    needed = [p.name.id for p in entry.params if p.default is None]
    return optc.schedule(name, **{k: ARGUMENTS[k] for k in needed})


@pytest.mark.parametrize("name", library.names("schedule"))
def test_a_schedule_has_the_values_of_the_reference_interpreter(name):
    rate = of_library(name)
    runner = Interpreter(rate.graph, Tensors([], []), {})
    for t in (1, 2, 9, 10, 11, 60, 61, 1000):
        expected = runner.step([], [], t).observed["value"]
        np.testing.assert_array_max_ulp(rate(t), expected, maxulp=4)


def test_a_schedule_is_what_optax_has_at_the_count_before():
    rate = optc.schedule("warmup_cosine", peak=0.3, warmup=10, total=60)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, 10, 60)
    counts = np.arange(1, 60)
    np.testing.assert_allclose(rate(counts), [theirs(c) for c in counts], rtol=1e-6, atol=1e-8)


def test_optax_counts_from_0_where_t_counts_from_1():
    rate = optc.schedule("warmup_cosine", peak=0.3, warmup=10, total=60)
    compiled = jax.jit(jax.vmap(rate.optax()))
    # Float32 keeps 24 bits; a dozen operations lose a few of them.
    np.testing.assert_allclose(compiled(np.arange(60)), rate.values(60), rtol=1e-6, atol=1e-7)


def test_numbers_and_arrays_of_any_shape_are_steps():
    rate = optc.schedule("constant", rate=0.5)
    assert isinstance(rate(3), float)
    assert rate(np.ones((2, 3), int)).shape == (2, 3)
    np.testing.assert_array_equal(rate.values(3), [0.5, 0.5, 0.5])


CHOICES = """
func steps_of(x) {
  var n = 0
  repeat 5 while n < x { n <- n + 1 }
  if x > 3 { return n * 10 } else { return n }
}
schedule staircase(peak: float in (0, 1]) = peak * steps_of(t)
func big() { return norm(w) }
schedule weighty(peak) = peak * big()
optimizer two(lr = 0.1, k = lr / 10) {
  group a where ndim > 1 { tune step linear_decay(peak = lr, total = 10) }
  group rest { tune step k }
}
optimizer one from sgd with (lr = 0.25) { replace tune with lr / t }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.opt"
    path.write_text(CHOICES)
    return path


def test_choices_and_loops_are_made_for_each_step(file):
    rate = optc.schedule(f"{file}:staircase", peak=0.5)
    np.testing.assert_array_equal(rate(np.arange(1, 8)), [0.5, 1, 1.5, 20, 25, 25, 25])
    np.testing.assert_array_equal(
        jax.vmap(rate.optax())(np.arange(7)), [0.5, 1, 1.5, 20, 25, 25, 25]
    )


def test_expressions_speak_of_the_names_of_a_file(file):
    assert optc.schedule(f"{file}:2 * staircase(peak = 0.5) + t")(3) == 6.0
    assert optc.schedule("0.1 * min(t / 10, 1)")(5) == pytest.approx(0.05)
    assert optc.schedule("t")(7) == 7.0


def test_the_step_sizes_of_an_optimizer_are_schedules(file):
    first, rest = ask(f"{file}:two", {"lr": 0.2})
    assert (first.text, rest.text) == (f"{file}:two.a(lr = 0.2)", f"{file}:two.rest(lr = 0.2)")
    assert (first(5), rest(5)) == pytest.approx((0.1, 0.02))
    assert optc.schedule(f"{file}:one")(5) == 0.05
    with pytest.raises(ValueError, match="has 2 step sizes"):
        optc.schedule(f"{file}:two")


@pytest.mark.parametrize(
    ("spec", "arguments", "code"),
    [
        ("warmup_cosin", {}, "unknown-function"),
        ("warmup_cosine", {"peak": 1.0}, "missing-argument"),
        ("constant", {"rate": 1.0, "rat": 1.0}, "unknown-argument"),
        ("wsd", {"peak": 1.0, "warmup": 1, "total": 9, "share": 1.5}, "out-of-range"),
        ("constant", {"rate": True}, "type-mismatch"),
        ("constant(", {}, "unclosed-bracket"),
        ("norm(g)", {}, "unknown-name"),
        ("cdat_gd", {}, "not-of-time"),
        ("dog", {}, "not-of-time"),
        ("own.opt:weighty", {"peak": 1.0}, "not-of-time"),
        ("own.opt:staircase", {"peak": 2.0}, "out-of-range"),
    ],
)
def test_mistakes_are_those_of_a_spec(spec, arguments, code, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    with pytest.raises(optc.SpecError) as caught:
        optc.schedule(spec, **arguments)
    assert {d.code for d in caught.value.diagnostics} == {code}


def test_wrong_calls_name_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError):
        optc.schedule(str(tmp_path / "nowhere.opt:x"))
    with pytest.raises(TypeError, match="`rate`"):
        optc.schedule("constant", rate=[1, 2])
    with pytest.raises(TypeError, match="`rate`"):
        optc.schedule("constant", rate=float("nan"))
    with pytest.raises(ValueError, match="is an expression"):
        optc.schedule("constant(rate = 1)", rate=2.0)


def test_a_schedule_shows_what_it_is():
    rate = optc.schedule("constant", rate=np.float64(0.5))
    assert repr(rate) == "Schedule(constant(rate = 0.5))"
    axes = rate.plot(total=7).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), rate.values(7))
