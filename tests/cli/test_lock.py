"""Locks: what they hold, that other versions agree with them, and what `verify` says when not."""

import json
import re
from pathlib import Path

import optax
import pytest

import optc as optc_
from optc import runtime as rt
from optc.api import lent
from optc.cli.main import main
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import find
from optc.compiler.meaning.lock import LockError, deviation, read_lock, track
from optc.compiler.meaning.meaning import changes
from optc.compiler.meaning.tracks import fitting_tape, tolerances

LOCKS = Path(__file__).parents[1] / "data" / "locks"
"""Made by Python 3.13, jax 0.12 and NumPy 2.5: see the versions in them."""

SPEC = """
optimizer mine(lr = 0.1 in [0, inf), beta = 0.9 in [0, 1)) {
  precondition own(beta)
  tune step lr
  average ema(0.9)
}
rule precondition own(beta) {
  state m = zeros(g)
  m <- beta * m + g
  return m / (1 + norm(m))
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The text of the lock of the spec, made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "mine.opt").write_text(SPEC)
    assert main(["lock", str(folder / "mine.opt")]) == 0
    return (folder / "mine.opt.lock").read_text()


@pytest.fixture
def locked(optc, made, tmp_path):
    """A folder with the spec and its lock."""
    (tmp_path / "mine.opt").write_text(SPEC)
    (tmp_path / "mine.opt.lock").write_text(made)
    return tmp_path


def rewrite(folder, old, new):
    text = SPEC.replace(old, new)
    assert text != SPEC
    (folder / "mine.opt").write_text(text)


def change_lock(folder, change):
    path = folder / "mine.opt.lock"
    lock = json.loads(path.read_text())
    change(lock)
    path.write_text(json.dumps(lock))


@pytest.mark.parametrize("name", ["adamw", "sam"])
def test_a_lock_of_other_versions_of_python_and_jax_holds(optc, name):
    lock = read_lock(name, (LOCKS / f"{name}.opt.lock").read_text())
    assert (lock.versions["python"], lock.versions["jax"][:4]) == ("3.13.0", "0.12")
    code, out, _ = optc("verify", LOCKS / f"{name}.opt.lock")
    assert (code, out.count("as locked, by interpreter, float64, float32")) == (0, 1)


def test_what_does_not_change_the_meaning_keeps_the_lock(optc, locked):
    text = SPEC.replace("m <- beta * m + g", "# a comment\n  m <- g + m * beta")
    (locked / "mine.opt").write_text(f'"""Documented."""{text.replace("own", "mine_too")}')
    code, out, _ = optc("verify", "mine.opt")
    assert (code, out.startswith("mine.opt: as locked")) == (0, True)
    first = optc("lock", "mine.opt", "--hash").out
    assert first.strip() == json.loads((locked / "mine.opt.lock").read_text())["meaning"]["hash"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("beta = 0.9", "beta = 0.95", "hyperparameter `beta`: = 0.9 in [0, 1) -> = 0.95 in [0, 1)"),
        ("in [0, inf)", "in (0, inf)", "hyperparameter `lr`"),
        (
            "state m ",
            "state m: bf16 ",
            "stored dtype of `precondition.m`: as the weights -> bfloat16",
        ),
        ("beta * m + g", "beta * m + 2 * g", "the state `precondition.m`: β m + g -> β m + 2 g"),
        ("1 + norm(m)", "2 + norm(m)", "in `precondition`, `u`: m / (1 + ‖m‖) -> m / (2 + ‖m‖)"),
        ("1 + norm(m)", "2 + norm(m)", "and what is made of these: the state `average.ema`, "),
        ("tune step lr", "decay weights(0.1) tune step lr", "stage `decay` is new"),
        ("tune step lr", "tune step lr observe norm(g) as size", "result `observed size` is new"),
        ("state m = ", "state k = zeros(g) k <- g state m = ", "state `precondition.k` is new"),
    ],
)
def test_a_change_of_meaning_is_named(optc, locked, old, new, said):
    rewrite(locked, old, new)
    code, out, _ = optc("verify", "mine.opt")
    assert code == 1
    assert "mine.opt: the meaning has changed" in out
    assert said in out
    assert "all versions are those that made the lock" in out


@pytest.mark.parametrize(("kind", "part"), [("float64", 1e-9), ("float32", 1e-2)])
def test_numbers_that_moved_are_named_with_step_tensor_and_dtype(optc, locked, kind, part):
    def move(lock):
        rows = lock["tracks"][kind]["numbers"]["head/kernel"]
        norm, *rest = rows[6].split()
        rows[6] = " ".join([(float.fromhex(norm) * (1 + part)).hex(), *rest])
        lock["versions"]["jax"] = "0.10.0"

    change_lock(locked, move)
    code, out, _ = optc("verify", "mine.opt.lock")
    assert code == 1
    assert "the numbers have changed" in out
    assert f"{kind}: at step 7, `head/kernel` is" in out
    assert "jax was 0.10.0 and is" in out


@pytest.mark.parametrize("part", [1e-5, 1e-9])
def test_a_function_of_the_runtime_that_is_another_is_found(optc, locked, monkeypatch, part):
    norm = rt.norm
    monkeypatch.setattr(rt, "norm", lambda *x, **how: norm(*x, **how) * (1 + part))
    code, out, _ = optc("verify", "mine.opt")
    assert code == 1
    assert "the numbers have changed\n  float64: at step 1, `" in out
    assert "interpreter" not in out


def test_an_optax_that_does_something_else_is_found(optc, tmp_path, monkeypatch):
    (tmp_path / "lent.opt").write_text(
        """
extern precondition trace_of(decay) = optax.trace(decay)
optimizer lent(lr = 0.1 in [0, inf)) {
  precondition trace_of(0.9)
  tune step lr
}
"""
    )
    assert optc("lock", "lent.opt").code == 0
    assert optc("verify", "lent.opt").code == 0
    trace = optax.trace
    monkeypatch.setattr(optax, "trace", lambda decay: trace(decay * (1 + 1e-6)))
    lent._made.cache_clear()
    code, out, _ = optc("verify", "lent.opt")
    lent._made.cache_clear()
    assert code == 1
    assert "interpreter: at step 2" in out
    assert "float64: at step 2" in out


def test_locks_of_a_file_with_several_optimizers_and_of_other_folders(optc, locked):
    optimizer = SPEC.partition("rule")[0]
    (locked / "several.opt").write_text(optimizer.replace("mine", "adamw") + SPEC)
    (locked / "locks").mkdir()
    assert optc("lock", "several.opt:adamw", "--set", "beta=0.5", "-o", "locks/a.lock").code == 0
    lock = read_lock("a", (locked / "locks" / "a.lock").read_text())
    assert (lock.spec, lock.optimizer, lock.settings) == ("../several.opt", "adamw", {"beta": 0.5})
    # Neither the library's `adamw` nor the default of `beta` is what was locked.
    assert optc("verify", "locks/a.lock").out.startswith("locks/a.lock: as locked")
    (locked / "adamw.opt.lock").write_text("no lock")
    code, out, err = optc("verify", "several.opt", "mine.opt")
    assert (code, "adamw.opt.lock is no lock file" in err) == (1, True)
    assert "mine.opt: as locked" in out
    (locked / "several.opt").write_text(SPEC.replace("mine", "adamw").replace("beta", "b"))
    code, out, _ = optc("verify", "locks/a.lock")
    assert (code, "hyperparameter `beta` is gone" in out) == (1, True)


def test_a_spec_that_is_broken_or_gone_is_said_so_and_the_others_are_verified(optc, locked):
    (locked / "broken.opt").write_text(SPEC.replace("tune step", "tune stp"))
    (locked / "broken.opt.lock").write_text((locked / "mine.opt.lock").read_text())
    change_lock(locked, lambda lock: lock.update(spec="gone.opt"))
    (locked / "b.lock").write_text(
        (locked / "mine.opt.lock").read_text().replace("gone.opt", "broken.opt")
    )
    code, out, err = optc("verify", "b.lock", "mine.opt.lock", "mine.opt")
    assert (code, out.startswith("mine.opt: as locked")) == (1, True)
    assert "b.lock: the spec has errors" in err
    assert "gone.opt: no such file" in err


def test_where_rounding_decides_a_lock_has_no_rows():
    graph, _ = lowered_graph(find("radam"))
    taped, _ = fitting_tape(graph, {})
    double, single = (tolerances(graph, taped, {}, unit, None) for unit in (2.0**-52, 2.0**-23))
    assert {len(rows) for rows in double.values()} == {12}
    # Whether the variance can be corrected is a matter of 1 - b2^t, of which float32 knows little.
    assert {len(rows) for rows in single.values()} == {4}
    kept = track(double, single).numbers
    assert {name: len(rows) for name, rows in kept.items()} == {
        k: len(v) for k, v in single.items()
    }


def test_averages_are_locked_as_weights_are(made):
    tracks = read_lock("x", made).tracks
    for each in tracks.values():
        rows = each.numbers
        assert rows["head/kernel to evaluate"][1:] != rows["head/kernel"][1:]
    double, single = tracks["float64"].numbers, tracks["float32"].numbers
    for name, rows in double.items():
        for one, other in zip(rows, single[name], strict=True):
            words = zip(one.split(), other.split(), strict=True)
            pairs = [(float.fromhex(a), float.fromhex(b)) for a, b in words]
            assert all(a == pytest.approx(b, rel=1e-4, abs=1e-5) for a, b in pairs)


def test_what_a_model_measures_is_one_number_for_all_that_run_a_tape(optc, tmp_path):
    spec = tmp_path / "clipped.opt"
    spec.write_text(
        "optimizer clipped() {\n  tune step 0.1\n  constrain qk_clip(20) where ndim >= 1\n}\n"
    )
    code, out, _ = optc("lock", str(spec), "-o", "-")
    assert code == 0
    tracks = read_lock("x", out).tracks
    exact, double = tracks["interpreter"].numbers, tracks["float64"].numbers
    for name, rows in exact.items():
        for one, other in zip(rows, double[name], strict=True):
            pairs = zip(one.split(), other.split(), strict=True)
            assert all(float.fromhex(a) == pytest.approx(float.fromhex(b)) for a, b in pairs)


def test_python_locks_and_verifies(locked):
    found = optc_.verify(locked / "mine.opt.lock", spec=locked / "mine.opt")
    assert found
    assert str(found) == "as locked, by interpreter, float64, float32"
    rewrite(locked, "beta = 0.9", "beta = 0.8")
    found = optc_.verify(locked / "mine.opt.lock")
    assert not found
    assert found.meaning[0].startswith("hyperparameter `beta`")
    with pytest.raises(FileNotFoundError):
        optc_.verify(locked / "none.lock")


def test_a_program_that_draws_is_locked_by_the_interpreter(optc):
    code, out, err = optc("lock", "noisy_sgd", "-o", "-")
    assert code == 0
    assert set(json.loads(out)["tracks"]) == {"interpreter"}
    assert "draws random numbers" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no lock file"),
        ("[]", "is no lock file"),
        ("\0\1", "is no lock file"),
        ('{"schema_version": 9}', "is a lock of another version of optc"),
        ("{}", "is no lock file: field required at `schema_version`"),
    ],
)
def test_what_is_no_lock_is_said_so(optc, tmp_path, text, said):
    (tmp_path / "x.lock").write_text(text)
    code, out, err = optc("verify", "x.lock")
    assert (code, out) == (1, "")
    assert said in err


def _put(kind, table, words):
    return lambda lock: lock["tracks"][kind][table]["head/kernel"].__setitem__(3, words)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_put("float64", "tolerance", "nan 1 1"), "a tolerance is no finite number from 0"),
        (_put("float64", "tolerance", "inf 1 1"), "a tolerance is no finite number from 0"),
        (_put("float64", "tolerance", "-1 1 1"), "a tolerance is no finite number from 0"),
        (_put("float64", "tolerance", "1 1"), "do not belong together"),
        (_put("float64", "numbers", "0x1p99999 0x0p0 0x0p0"), "a number is too large"),
        (lambda x: x["tracks"]["float64"]["numbers"].pop("head/kernel"), "do not belong together"),
        (lambda x: x["tracks"].pop("float64"), "a track is missing"),
        (lambda x: x.update(tree="tiny"), "a track is not of the optimizer on the tree `tiny`"),
        (lambda x: x.update(steps=11), "a track has more than 11 steps"),
        (lambda x: x.update(steps=10**9), "at `steps`"),
        (lambda x: x.update(settings={"lr": float("nan")}), "a setting is no number"),
        (lambda x: x["meaning"].update(hash="0" * 64), "its hash is not that of its parts"),
        (lambda x: x["meaning"]["hyperparameters"].update(beta="= 1"), "its hash is not that of"),
        (lambda x: x.update(spec="../../etc/passwd"), "at `spec`"),
        (lambda x: x.update(optimizer="../adamw", spec=None), "at `optimizer`"),
        (lambda x: x.update(more=1), "at `more`"),
    ],
)
def test_a_corrupt_lock_is_told_from_changed_numbers(made, change, said):
    lock = json.loads(made)
    change(lock)
    with pytest.raises(LockError, match=re.escape(said)):
        read_lock("mine.opt.lock", json.dumps(lock))


def test_numbers_that_are_none_deviate_from_those_that_are(made):
    old = read_lock("x", made).tracks["float64"]
    rows = {k: [[float.fromhex(x) for x in r.split()] for r in v] for k, v in old.numbers.items()}
    assert deviation("float64", old, rows) is None
    rows["head/kernel"][6][1] = float("nan")
    rows["head/kernel"][8][0] = float("inf")
    found = deviation("float64", old, rows)
    assert (found.step, found.of) == (7, "head/kernel")
    assert "is nan and was" in str(found)


def test_a_lock_of_another_normal_form_is_still_compared_by_its_numbers(locked):
    old = read_lock("x", (locked / "mine.opt.lock").read_text())
    same = old.meaning.model_copy(update={"form": 0, "hash": "", "map": ""})
    assert changes(same, old.meaning) == []
    other = same.model_copy(update={"hyperparameters": {"lr": "= 1"}})
    assert changes(other, old.meaning) != []


def test_a_lock_that_is_not_there_is_said_so(optc):
    code, _, err = optc("verify", "adamw")
    assert (code, "adamw.opt.lock: no such file" in err) == (1, True)
