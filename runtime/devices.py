"""Stacks that several devices share: each keeps and works out its part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


@dataclass(frozen=True)
class Split:
    """The axis of a mesh of devices over which stacks are split."""

    mesh: Mesh
    axis: str

    @property
    def devices(self) -> int:
        """How many parts a stack has."""
        return int(self.mesh.shape[self.axis])

    @property
    def is_open(self) -> bool:
        """Whether all devices run this: not where one does alone, in a shard_map of the caller."""
        return self.axis not in jax.sharding.get_abstract_mesh().manual_axes

    def over(self, work: Callable[..., Any], stacks: tuple[bool, ...]) -> Callable[..., Any]:
        """Work on a part of each stack, done on all devices for theirs.

        `stacks` says which arguments are stacks; the others are whole everywhere. The results are
        stacks. What `work` speaks of besides its arguments is whole too.
        """
        shared = jax.shard_map(
            work,
            mesh=self.mesh,
            in_specs=tuple(_spec(self.axis) if is_stack else _spec() for is_stack in stacks),
            out_specs=_spec(self.axis),
            axis_names={self.axis},
            check_vma=False,
        )

        def run(*args: Any) -> Any:
            rows = zip(args, stacks, strict=True)
            return shared(
                *(jax.tree.map(self.parted, x) if is_stack else x for x, is_stack in rows)
            )

        return run if self._is_explicit else shared

    def parted(self, x: jax.Array) -> jax.Array:
        """A stack in parts, one on each device."""
        if self._is_explicit:
            return self._moved(x, self.axis)
        if isinstance(x, jax.core.Tracer):
            return self._constrained(x)
        sharding = x.sharding
        others = sharding.spec[1:] if isinstance(sharding, NamedSharding) else ()
        placed: jax.Array = jax.device_put(x, NamedSharding(self.mesh, _spec(self.axis, *others)))
        return placed

    def whole(self, x: jax.Array) -> jax.Array:
        """A stack that is whole on every device, where its type says that it is not."""
        return self._moved(x, None) if self._is_explicit else x

    @property
    def _is_explicit(self) -> bool:
        """Whether shardings over the axis are part of types, and change only where it is said."""
        types = dict(zip(self.mesh.axis_names, self.mesh.axis_types, strict=True))
        return bool(types[self.axis] == AxisType.Explicit)

    def _moved(self, x: jax.Array, first: str | None) -> jax.Array:
        others = jax.typeof(x).sharding.spec[1:]
        placed = NamedSharding(self.mesh, _spec(first, *others))
        moved: jax.Array = jax.sharding.reshard(x, placed)  # type: ignore[no-untyped-call]  # jax has none
        return moved

    def _constrained(self, x: jax.Array) -> jax.Array:
        free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
        placed = NamedSharding(self.mesh, _spec(self.axis, *free))
        parted: jax.Array = lax.with_sharding_constraint(x, placed)  # type: ignore[no-untyped-call]  # jax has none
        return parted


def _spec(*axes: Any) -> Any:
    return PartitionSpec(*axes)  # type: ignore[no-untyped-call]  # jax has none
