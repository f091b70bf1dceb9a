"""Executables that outlive their process: a jitted function that is not compiled twice.

An executable is kept under a key of all that decides what it does. Where the caller's code has no
part in that, the key is made of what the function is made of, and a function whose executable is
kept is neither traced nor lowered nor compiled. Where a loss of the caller is inside, the function
is traced and lowered, since nothing else says what a loss is, and the key is made of the program
that comes of it. An executable that cannot be loaded is as good as none.

    warm = Warm(jax.jit(f, keep_unused=True), store)
    y = warm(x)

Functions keep unused arguments: which of them are unused is not in the text of a program.
"""

import hashlib
import logging
import os
import pickle
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.experimental import serialize_executable

from .tree import PyTree, path_text

_log = logging.getLogger(__name__)

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_POINTS_INTO_PROCESS = re.compile(r"@\w*(?:[Cc]allback|CustomSPMDPartitioning)")
"""Calls of a lowered program that hold addresses of this process."""

_CONTEXT = (
    *("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion"),
    *("jax_default_device", "jax_disable_jit", "jax_debug_nans", "jax_default_prng_impl"),
    *("jax_threefry_partitionable", "jax_softmax_custom_jvp", "jax_enable_custom_prng"),
)
"""Options of JAX that may be others in the next call: a call that finds them changed looks anew."""


class Kept(Protocol):
    """Where bytes are kept by key, from process to process."""

    def read(self, key: str) -> bytes | None:
        """What is kept under a key."""

    def write(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""


@dataclass(frozen=True, slots=True)
class Results:
    """How results are built, of a function whose executable is kept and which is not traced.

    `tree(args, rest)` is a tree like the results; `rest(args, results)` is what the arguments do
    not show of it, and is kept. It has no containers of a caller, which may be gone another time.
    """

    rest: Callable[[tuple[Any, ...], PyTree], PyTree]
    tree: Callable[[tuple[Any, ...], PyTree], PyTree]


class Warm:
    """A jitted function whose executables are kept, called as that is.

    `static` is the position of an argument that is static.
    """

    def __init__(
        self,
        jitted: Any,
        store: Kept,
        *,
        static: int | None = None,
        made_of: Sequence[object] | None = None,
        results: Results | None = None,
    ) -> None:
        self._jitted = jitted
        self._store = store
        self._static = static
        self._made_of = made_of
        self._results = results
        self._found: dict[Any, Callable[..., Any] | None] = {}
        self._last: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """What the function gives."""
        given = args if self._static is None else _without(args, self._static)
        leaves, structure = jax.tree.flatten(given)
        if not all(map(_is_array, leaves)):
            return self._jitted(*args)
        now = (None if self._static is None else args[self._static], *_context())
        last = self._last.get(now)
        if last is not None:
            # It checks all arguments before it runs, and what it refuses may be another's.
            try:
                return last(*given)
            except (TypeError, ValueError):
                pass
        signature = (now, structure, tuple(map(_signature, leaves)))
        if signature not in self._found:
            self._found[signature] = self._find(args, given, leaves)
        found = self._found[signature]
        if found is None:
            return self._jitted(*args)
        self._last[now] = found
        return found(*given)

    def _find(
        self, args: tuple[Any, ...], given: tuple[Any, ...], leaves: Sequence[Any]
    ) -> Callable[..., Any] | None:
        """The executable for some arguments, kept or made; None for what is left to JAX."""
        device = _device(leaves)
        if device is None or getattr(jax.config, "jax_disable_jit", False):
            return None
        if self._made_of is None or self._results is None:
            return self._by_program(args, device)
        return self._by_content(given, self._made_of, self._results, device)

    def _by_content(
        self,
        given: tuple[Any, ...],
        made_of: Sequence[object],
        results: Results,
        device: jax.Device,
    ) -> Callable[..., Any]:
        key = _key(_facts(device), _options(), made_of, _shown(given))
        kept = self._read(key)
        if kept is not None:
            try:
                rest, lapack, payload = kept
                out_tree = jax.tree.structure(results.tree(given, rest))
                return _loaded(payload, given, out_tree, device, lapack)
            except Exception as error:
                _log.debug("passed over, since it cannot be loaded: %s", error)
        lowered = self._jitted.lower(*given)
        compiled: Callable[..., Any] = lowered.compile()
        rest = results.rest(given, _example(lowered.out_tree))
        self._write(key, compiled, lowered.as_text(), rest)
        return compiled

    def _by_program(self, args: tuple[Any, ...], device: jax.Device) -> Callable[..., Any]:
        traced = self._jitted.trace(*args)
        lowered = traced.lower()
        text = lowered.as_text()
        avals = [str(x) for x in (*traced.jaxpr.in_avals, *traced.jaxpr.out_avals)]
        key = _key(_facts(device), _options(), text, avals)
        kept = self._read(key)
        if kept is not None:
            try:
                _, lapack, payload = kept
                given, _ = _example(lowered.in_tree)
                return _loaded(payload, given, lowered.out_tree, device, lapack)
            except Exception as error:
                _log.debug("passed over, since it cannot be loaded: %s", error)
        compiled: Callable[..., Any] = lowered.compile()
        self._write(key, compiled, text, None)
        return compiled

    def _read(self, key: str) -> Any:
        data = self._store.read(key)
        try:
            return None if data is None else pickle.loads(data)
        except Exception as error:
            _log.debug("passed over, since it cannot be read: %s", error)
            return None

    def _write(self, key: str, compiled: Any, text: str, rest: PyTree) -> None:
        if _POINTS_INTO_PROCESS.search(text):
            _log.debug("not kept, since it calls into this process")
            return
        try:
            payload, _, _ = serialize_executable.serialize(compiled)
            data = pickle.dumps((rest, "@lapack_" in text, payload))
        except Exception as error:
            _log.debug("not kept, since it cannot be written: %s", error)
            return
        self._store.write(key, data)


def _loaded(
    payload: bytes, given: tuple[Any, ...], out_tree: Any, device: jax.Device, lapack: bool
) -> Callable[..., Any]:
    if lapack:
        _prepare_lapack()
    found = serialize_executable.deserialize_and_load(
        payload,
        jax.tree.structure((given, {})),
        out_tree,
        backend=device.client,
        execution_devices=[device],
    )
    assert len(found.in_avals) == 2, "it takes arguments by place and by name"
    assert found.out_info is not None, "it has as many results as are expected of it"
    run: Callable[..., Any] = found
    return run


@cache
def _prepare_lapack() -> None:
    """Let jaxlib find the functions of LAPACK, which it does when a call of one is lowered."""
    square = jax.ShapeDtypeStruct((1, 1), np.float32)  # type: ignore[no-untyped-call]  # jax has none
    jax.jit(jax.numpy.linalg.cholesky).lower(square)


def _example(structure: Any) -> PyTree:
    """A tree of this structure."""
    return jax.tree.unflatten(structure, [0] * structure.num_leaves)


def _without(args: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    return args[:i] + args[i + 1 :]


def _is_array(x: Any) -> bool:
    """Whether this is an array whose shape and dtype say all that a trace depends on."""
    if isinstance(x, np.ndarray):
        return True
    if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer):
        return False
    # A random key has no weak type, nor the attribute.
    return not getattr(x, "weak_type", False)


def _signature(x: Any) -> Any:
    return x.shape, x.dtype, getattr(x, "sharding", None), getattr(x, "committed", None)


def _context() -> tuple[object, ...]:
    return tuple(getattr(jax.config, name, None) for name in _CONTEXT)


def _device(leaves: Sequence[Any]) -> jax.Device | None:
    """The one device on which all arrays lie; None where there are several, or a mesh is set."""
    sets = {frozenset(x.sharding.device_set) for x in leaves if isinstance(x, jax.Array)}
    if len(sets) != 1 or not jax.sharding.get_abstract_mesh().empty:
        return None
    devices = sets.pop()
    return next(iter(devices)) if len(devices) == 1 else None


def _shown(given: PyTree) -> list[object]:
    """All of some arguments that a trace may depend on: structure, paths, shapes and places."""
    keyed, structure = jax.tree_util.tree_flatten_with_path(given)
    rows = [
        (path_text(keys), x.shape, str(x.dtype), getattr(x, "committed", None)) for keys, x in keyed
    ]
    return [_ADDRESS.sub("", str(structure)), *rows]


def _options() -> Mapping[str, object]:
    """All options of JAX, here and now."""
    return dict(sorted(jax.config.values.items()))


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _facts(device: jax.Device) -> tuple[object, ...]:
    """What an executable depends on beside its function: versions, the device, options of XLA."""
    client = device.client
    environment = [os.environ.get(name) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    backend = (jax.default_backend(), jax.device_count(), jax.process_count())
    kind = (client.platform, client.platform_version, device.device_kind, device.id)
    return (*_software(), *backend, *kind, *environment, *_processor())


@cache
def _software() -> tuple[object, ...]:
    """The versions of all that makes an executable, and this library's own text."""
    names = ("jax", "jaxlib", "optax", "numpy", "matfree")
    own = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        own.update(file.read_bytes())
    versions = [metadata.version(name) for name in names]
    return (sys.version, own.hexdigest(), *versions)


@cache
def _processor() -> tuple[object, ...]:
    """What the machine code of a CPU depends on: its kind, its instructions, how many there are."""
    told = ""
    try:
        with open("/proc/cpuinfo") as file:
            lines = file.read().split("\n\n")[0].splitlines()
        told = "\n".join(x for x in lines if x.startswith(("flags", "Features", "model name")))
    except OSError:
        pass
    machine = (platform.system(), platform.machine(), platform.processor())
    return (*machine, told, os.cpu_count())
