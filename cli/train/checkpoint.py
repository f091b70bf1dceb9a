"""Weights and state of a run on disk, by step, through orbax."""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orbax.checkpoint as ocp

from ...runtime import State
from .tasks.task import Params

# Orbax tells its steps at this level; a run says itself what it does.
logging.getLogger("absl").setLevel(logging.ERROR)


class Snapshot(NamedTuple):
    """Where a run stands after `step` steps.

    `batch_size` is that of the next step where batches grow, and None where they do not.
    """

    step: int
    params: Params
    state: State
    model_state: Params | None = None
    batch_size: int | None = None

    @property
    def arrays(self) -> dict[str, Any]:
        """What is on disk, by name."""
        named = self._asdict()
        return {name: x for name, x in named.items() if name != "step" and x is not None}


class Checkpoints:
    """The newest snapshots of a run. A context: leaving it waits for what is being written."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot, unless its step is already there."""
        if snapshot.step not in self._manager.all_steps():
            self._manager.save(snapshot.step, args=ocp.args.StandardSave(snapshot.arrays))
            # The next step donates these arrays: they must be on disk before it starts.
            self._manager.wait_until_finished()

    def newest(self, like: Snapshot) -> Snapshot:
        """The newest snapshot, with the structure, types and placement of `like`, or `like`."""
        step = self._manager.latest_step()
        if step is None:
            return like
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(like.arrays))
        if like.batch_size is not None:
            restored["batch_size"] = int(restored["batch_size"])
        return Snapshot(step, **restored)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()
