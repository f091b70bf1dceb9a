"""Keys of executables: digests of all that decides what a compiled function does."""

import hashlib
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax.sharding import NamedSharding

from .multi_output import flags, is_allowed
from .tree import PyTree, path_text

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

_CONTEXT = (
    *("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion"),
    *("jax_default_device", "jax_disable_jit", "jax_debug_nans", "jax_default_prng_impl"),
    *("jax_threefry_partitionable", "jax_softmax_custom_jvp", "jax_enable_custom_prng"),
)


def key(devices: Sequence[jax.Device], *parts: object) -> str:
    """The key of what is made of these parts, for some devices, here and now."""
    everything = (_software(), _hardware(devices), _options(), *parts)
    return hashlib.sha256(repr(everything).encode()).hexdigest()


def context() -> tuple[object, ...]:
    """Options of JAX that may be others at the next call of the same function."""
    return tuple(getattr(jax.config, name, None) for name in _CONTEXT)


def devices_of(leaves: Sequence[Any]) -> tuple[jax.Device, ...] | None:
    """The devices on which some arrays lie, in the order of their mesh if there are several.

    None where they lie on several in other ways, or where a mesh is set around the call.
    """
    if not jax.sharding.get_abstract_mesh().empty:
        return None
    shardings = {x.sharding for x in leaves if isinstance(x, jax.Array)}
    meshes = {
        tuple(each.mesh.devices.flat) for each in shardings if isinstance(each, NamedSharding)
    }
    devices = meshes or {tuple(each.device_set) for each in shardings}
    if len(devices) != 1:
        return None
    (found,) = devices
    others = (each for each in shardings if not isinstance(each, NamedSharding))
    if len(found) > 1 and (not meshes or any(len(each.device_set) > 1 for each in others)):
        return None
    return found


def shown(given: PyTree) -> list[object]:
    """All of some arguments that a trace may depend on: structure, paths, types and places."""
    keyed, structure = jax.tree_util.tree_flatten_with_path(given)
    rows = [
        (path_text(keys), x.shape, str(x.dtype), getattr(x, "committed", None), _place(x))
        for keys, x in keyed
    ]
    # What a container says of itself may have addresses in it, and no trace can see those.
    return [_ADDRESS.sub("", str(structure)), *rows]


def _place(x: Any) -> object:
    """How an array lies on its devices, and in which of their memories."""
    sharding = getattr(x, "sharding", None)
    cut = str(sharding) if isinstance(sharding, NamedSharding) else ""
    return cut, getattr(sharding, "memory_kind", None)


def _options() -> Mapping[str, object]:
    """All options of JAX, also those that change nothing of what is compiled."""
    return dict(sorted(jax.config.values.items()))


def _hardware(devices: Sequence[jax.Device]) -> tuple[object, ...]:
    """The devices, and what XLA is told, for the most part by the environment."""
    client = devices[0].client
    backend = (jax.default_backend(), jax.device_count(), jax.process_count())
    kinds = [(device.device_kind, device.id) for device in devices]
    told = (flags(), os.environ.get("LIBTPU_INIT_ARGS"), is_allowed())
    return (*backend, client.platform, client.platform_version, kinds, told, _processor())


@cache
def _software() -> tuple[object, ...]:
    """The versions of all that makes an executable, and this library's own text."""
    own = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        own.update(file.read_bytes())
    names = ("jax", "jaxlib", "optax", "numpy", "matfree")
    return (sys.version, own.hexdigest(), *(metadata.version(name) for name in names))


@cache
def _processor() -> tuple[object, ...]:
    """What machine code for a CPU depends on: its kind, its instructions, how many there are."""
    told: list[str] = []
    try:
        with open("/proc/cpuinfo") as file:
            lines = file.read().partition("\n\n")[0].splitlines()
        told = [x for x in lines if x.startswith(("flags", "Features", "model name"))]
    except OSError:
        pass  # another system, whose name below has to do
    machine = (platform.system(), platform.machine(), platform.processor())
    return (*machine, *told, os.cpu_count())
