"""Stacks that several devices share: each keeps and works out its part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def placed_like(x: jax.Array, made: jax.Array) -> jax.Array:
    """What was made of the shape of `x` alone, on the devices on which `x` lies.

    In a traced function, such as `jax.jit(optimizer.init)`, nothing else ties the two together.
    Shardings propagate through a choice, here one that never takes `x`, and that XLA does not see
    through as numbers may be NaN.
    """
    alone = jax.device_count() == 1 or bool(jax.sharding.get_abstract_mesh().manual_axes)
    if alone or not isinstance(x, jax.core.Tracer):
        return made
    never = (x != x) & (x == x)
    return jnp.where(never, x.astype(made.dtype), made)


def along(x: jax.Array, made: jax.Array) -> jax.Array:
    """What is kept beside the weight `x`, cut over devices along the axes that it has from it.

    An axis is known by its place and length, so a factor of the rows is cut where the rows are.
    """
    if isinstance(x, jax.core.Tracer) or isinstance(made, jax.core.Tracer):
        return made
    sharding = x.sharding
    if not isinstance(sharding, NamedSharding) or sharding.is_fully_replicated:
        return made
    placed: jax.Array = jax.device_put(made, _along(sharding, x.shape, made.shape))
    return placed


def are_shared(weights: Any) -> bool:
    """Whether some of the weights lie on several devices."""
    given = [x for x in jax.tree.leaves(weights) if isinstance(x, jax.Array)]
    return any(len(x.sharding.device_set) > 1 for x in given if not isinstance(x, jax.core.Tracer))


def freely(work: Callable[..., Any]) -> Callable[..., Any]:
    """Work on one tensor, or a stack, whose shardings XLA chooses in between.

    Where they are part of types, a product over an axis that is cut is none without it. Results
    are cut as `along` says.
    """

    def run(*args: Any) -> Any:
        given = [x for x in jax.tree.leaves(args) if isinstance(x, jax.core.Tracer)]
        cut = [x for x in given if any(jax.typeof(x).sharding.spec)]
        if not cut:
            return work(*args)
        taken = [i for i, x in enumerate(args) if isinstance(x, jax.core.Tracer)]

        def called(*tensors: Any) -> Any:
            own = dict(zip(taken, tensors, strict=True))
            return work(*(own.get(i, x) for i, x in enumerate(args)))

        def result(x: Any) -> Any:
            like = next((y for y in cut if y.ndim == x.ndim), None)
            if like is None:
                return NamedSharding(jax.typeof(cut[0]).sharding.mesh, _spec())
            return _along(jax.typeof(like).sharding, like.shape, x.shape)

        tensors = [args[i] for i in taken]
        shapes = [_shape(x) for x in tensors]
        results = jax.tree.map(result, jax.eval_shape(called, *shapes))
        return jax.sharding.auto_axes(called, out_sharding=results)(*tensors)

    return run


def _shape(x: jax.Array) -> jax.ShapeDtypeStruct:
    """Shape and dtype alone."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype)  # type: ignore[no-untyped-call]  # jax has none


def _along(sharding: NamedSharding, shape: tuple[int, ...], other: tuple[int, ...]) -> Any:
    """The sharding for another shape: as here on the axes that the two have in common."""
    spec = (*sharding.spec, *(None,) * (len(shape) - len(sharding.spec)))
    if len(shape) != len(other):
        return NamedSharding(sharding.mesh, _spec())
    axes = [s if n == m else None for s, n, m in zip(spec, shape, other, strict=True)]
    while axes and axes[-1] is None:
        axes.pop()
    return NamedSharding(sharding.mesh, _spec(*axes))


def whole(x: jax.Array) -> jax.Array:
    """An array that is whole on every device, where its type says that it is cut."""
    if not any(jax.typeof(x).sharding.spec):
        return x
    gathered: jax.Array = jax.sharding.reshard(x, _spec())  # type: ignore[no-untyped-call]  # jax has none
    return gathered


def on_their_mesh(made: Any, weights: Any) -> Any:
    """A tree of arrays of which none lies on one device alone where the weights lie on a mesh.

    What is made of shapes alone, such as an identity, is on the default device; here it comes to
    all devices, whole.
    """
    shardings = [x.sharding for x in jax.tree.leaves(weights) if not isinstance(x, jax.core.Tracer)]
    meshes = [each.mesh for each in shardings if isinstance(each, NamedSharding)]
    if not meshes or meshes[0].size == 1:
        return made
    whole = NamedSharding(meshes[0], _spec())

    def place(x: jax.Array) -> jax.Array:
        if isinstance(x, jax.core.Tracer) or len(x.sharding.device_set) > 1:
            return x
        placed: jax.Array = jax.device_put(x, whole)
        return placed

    return jax.tree.map(place, made)


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
            return self._moved(x, self.axis, 0)
        if isinstance(x, jax.core.Tracer):
            return self._constrained(x)
        sharding = x.sharding
        others = sharding.spec[1:] if isinstance(sharding, NamedSharding) else ()
        placed: jax.Array = jax.device_put(x, NamedSharding(self.mesh, _spec(self.axis, *others)))
        return placed

    def whole(self, x: jax.Array, axis: int = 0) -> jax.Array:
        """A stack that is whole on every device, where its type says that it is not."""
        return self._moved(x, None, axis) if self._is_explicit else x

    @property
    def _is_explicit(self) -> bool:
        """Whether shardings over the axis are part of types, and change only where it is said."""
        types = dict(zip(self.mesh.axis_names, self.mesh.axis_types, strict=True))
        return bool(types[self.axis] == AxisType.Explicit)

    def _moved(self, x: jax.Array, over: str | None, axis: int) -> jax.Array:
        spec = list(jax.typeof(x).sharding.spec)
        spec[axis] = over
        placed = NamedSharding(self.mesh, _spec(*spec))
        moved: jax.Array = jax.sharding.reshard(x, placed)  # type: ignore[no-untyped-call]  # jax has none
        return moved

    def _constrained(self, x: jax.Array) -> jax.Array:
        free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
        placed = NamedSharding(self.mesh, _spec(self.axis, *free))
        parted: jax.Array = lax.with_sharding_constraint(x, placed)  # type: ignore[no-untyped-call]  # jax has none
        return parted


def _spec(*axes: Any) -> Any:
    return PartitionSpec(*axes)  # type: ignore[no-untyped-call]  # jax has none
