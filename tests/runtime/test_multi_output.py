"""Kernels of several results: when they are made, what they move, and that no number changes."""

import json
import os
import subprocess
import sys

import in_one_kernel
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import adamw

import optc
from optc.runtime import multi_output
from optc.runtime.multi_output import OPTION, with_option

FLAG = f"--xla_backend_extra_options={OPTION}=true"

LEAST = {
    # Bytes for each weight: tensors that are read, and written, once each. A norm reads once more.
    "adamw": 4 * (4 + 3),
    "clipped": 4 * (1 + 4 + 3),
    "averaged": 4 * (1 + 5 + 4),
    # One tensor of two by Adam, one with momentum.
    "grouped": 4 * (4 + 3 + 3 + 2) / 2,
    "momentum": 4 * (3 + 2),
    "sgd": 4 * (2 + 1),
    # The direction is stored, since its norm is wanted before it is applied: it is read twice.
    "trusted": 4 * (4 + 3 + 1 + 1 + 2 + 1),
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The counts and the results of a process that has the option."""
    file = tmp_path_factory.mktemp("several") / "results.npz"
    done = subprocess.run(
        [sys.executable, in_one_kernel.__file__, file],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), np.load(file)


@pytest.mark.parametrize("name", LEAST)
def test_an_update_reads_and_writes_each_tensor_once(elsewhere, name):
    accessed, temporary, not_in_place = elsewhere[0][name][0]
    assert accessed <= 1.001 * LEAST[name]
    assert temporary <= (4.05 if name == "trusted" else 0.05)
    assert not_in_place == 0


@pytest.mark.parametrize(("name", "results"), [("adamw", 3), ("momentum", 2), ("sgd", 1)])
def test_a_kernel_is_of_one_tensor(elsewhere, name, results):
    assert elsewhere[0][name][1] == [results] * 2


def test_a_number_may_be_many_at_once(elsewhere):
    """A step of 0.5 may round twice more: by a product, and as it is divided."""
    assert elsewhere[0]["between rates"] <= 2 * 0.5 * 2.0**-24


@pytest.mark.parametrize("name", ["clipped", "averaged", "trusted"])
def test_the_option_changes_no_number(elsewhere, name, pytestconfig):
    """But for products that LLVM rounds or does not: one more or less for each sum of a step."""
    here = in_one_kernel.after_steps(name)
    roundings = 12 * 2.0**-24 if pytestconfig.getoption("--all") else 0.0
    for i, x in enumerate(here):
        y = elsewhere[1][f"{name} {i}"]
        assert np.abs(x - y).max() <= roundings * max(1.0, np.abs(x).max())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", FLAG),
        ("--a=1 --b", f"--a=1 --b {FLAG}"),
        (FLAG, FLAG),
        (
            "--xla_backend_extra_options=x=y,z --a",
            f"--a --xla_backend_extra_options=x=y,z,{OPTION}=true",
        ),
        (f"--xla_backend_extra_options={OPTION}=false,x", f"{FLAG[:28]}x,{OPTION}=true"),
    ],
)
def test_the_option_joins_the_flags_that_are_there(flags, expected):
    assert with_option(flags) == expected


def test_flags_in_a_file_are_not_overwritten():
    with pytest.raises(ValueError, match=r"XLA_FLAGS names a file, 'flags\.txt'"):
        with_option("flags.txt")


def test_flags_in_a_file_are_read_and_left_alone(tmp_path, monkeypatch):
    file = tmp_path / "flags"
    file.write_text(FLAG)
    monkeypatch.setenv("XLA_FLAGS", str(file))
    assert multi_output.flags() == FLAG
    monkeypatch.setattr(multi_output, "in_force", lambda: False)
    assert not multi_output.prefer()
    assert os.environ["XLA_FLAGS"] == str(file)
    with pytest.raises(RuntimeError, match=r"to the file that XLA_FLAGS names$"):
        optc.configure(multi_output=True)
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "none"))
    assert multi_output.flags() == ""


def test_the_option_cannot_be_set_once_jax_has_started():
    jnp.zeros(()).block_until_ready()
    flags = os.environ.get("XLA_FLAGS", "")
    if OPTION in flags:
        pytest.skip("this process has the option")
    with pytest.raises(RuntimeError, match="it reads its options once") as caught:
        optc.configure(multi_output=True)
    assert str(caught.value).endswith(f"XLA_FLAGS={FLAG}")
    assert os.environ.get("XLA_FLAGS", "") == flags
    assert not multi_output.in_force()


def _is_in_copies():
    """Whether an update that is traced now is."""
    tx = adamw().transform()
    params = {"w": jnp.ones((2, 3))}
    return " ne " in str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))


def test_copies_are_for_what_is_traced_with_the_option_in_force(monkeypatch):
    assert not _is_in_copies()
    monkeypatch.setattr(multi_output, "in_force", lambda: True)
    assert _is_in_copies()
    monkeypatch.setattr(multi_output, "_allowed", True)
    optc.configure(multi_output=False)
    assert not _is_in_copies()


def test_a_process_without_the_option_compiles_no_sample(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(jax, "jit", None)
    multi_output.in_force.cache_clear()
    assert not multi_output.in_force()
