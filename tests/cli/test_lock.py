"""Locks: what they hold, that other versions agree with them, and what `verify` says when not."""

import json
from pathlib import Path

import pytest

from optc.cli.main import main
from optc.compiler.meaning.lock import read_lock

LOCKS = Path(__file__).parents[1] / "data" / "locks"
"""Made by Python 3.13, jax 0.12 and NumPy 2.5: see the versions in them."""

SPEC = """
optimizer mine(lr = 0.1 in [0, inf), beta = 0.9 in [0, 1)) {
  precondition own(beta)
  tune step lr
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
        ("beta = 0.9", "beta = 0.95", "hyperparameter `beta`: float = 0.9 in [0.0, 1.0) ->"),
        ("in [0, inf)", "in (0, inf)", "hyperparameter `lr`"),
        ("state m ", "state m: bf16 ", "stored dtype of `precondition.m`: None -> bfloat16"),
        ("beta * m + g", "beta * m + 2 * g", "the state `precondition.m`"),
        ("1 + norm(m)", "2 + norm(m)", "the result `weights`"),
        ("tune step lr", "tune step lr observe norm(g) as size", "result `observed size` is new"),
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


def test_a_corrupt_lock_is_told_from_changed_numbers(optc, locked):
    change_lock(locked, lambda lock: lock["tracks"]["float64"]["numbers"].pop("head/kernel"))
    code, _, err = optc("verify", "mine.opt")
    assert code == 1
    assert "is no lock file" in err


def test_a_lock_that_is_not_there_is_said_so(optc):
    code, _, err = optc("verify", "adamw")
    assert (code, "adamw.opt.lock: no such file" in err) == (1, True)
