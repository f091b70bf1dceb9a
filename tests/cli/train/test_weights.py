"""The shapes of weights in folders that orbax has written."""

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from optc.cli.train.checkpoint import Checkpoints, Snapshot
from optc.cli.train.weights import read_folder
from optc.compiler.budget.tensors import Tensor, TreeError

PARAMS = {"layers": [{"kernel": jnp.ones((2, 3), jnp.bfloat16)}, {"kernel": jnp.ones(3)}]}
TENSORS = (Tensor("layers/0/kernel", (2, 3), "bfloat16"), Tensor("layers/1/kernel", (3,)))


def test_a_checkpoint_is_read_by_its_metadata(tmp_path):
    folder = tmp_path / "own"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, {**PARAMS, "count": jnp.ones((), jnp.int32)})
    tree = read_folder(folder)
    assert tree.tensors == TENSORS
    assert tree.left_out == ("count",)


def test_of_a_run_the_params_of_the_newest_step_are_read(tmp_path):
    state = {"mu": PARAMS}
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        checkpoints.save(Snapshot(9, {"old": jnp.ones(1)}, state))
        checkpoints.save(Snapshot(10, PARAMS, state))
    assert read_folder(tmp_path).tensors == TENSORS
    assert read_folder(tmp_path / "checkpoints").tensors == TENSORS


def test_a_broken_or_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(TreeError, match="is a folder without a checkpoint"):
        read_folder(tmp_path)
    (tmp_path / "_METADATA").write_text("{}")
    with pytest.raises(TreeError, match=r"cannot be read|no array"):
        read_folder(tmp_path)
