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

import logging
import pickle
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np
from jax.experimental import serialize_executable

from .keys import context, devices_of, key, shown
from .tree import PyTree

_log = logging.getLogger(__name__)

_POINTS_INTO_PROCESS = re.compile(r"@\w*(?:[Cc]allback|CustomSPMDPartitioning)")
"""Calls of a lowered program that hold addresses of this process."""


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


_Devices: TypeAlias = tuple[jax.Device, ...]
_Executable: TypeAlias = Callable[..., Any]


class Warm:
    """A jitted function whose executables are kept, called as that is.

    `static` is the position of an argument that is static. `made_of` is all that decides what the
    function does but for its arguments, where no code of a caller has a part in it, and `results`
    how its results are built then. Of arguments that are traced, of weak types, or on devices that
    have no common mesh nothing is kept.
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
        self._found: dict[Any, _Executable | None] = {}
        self._last: dict[Any, _Executable] = {}

    def __call__(self, *args: Any) -> Any:
        """What the function gives."""
        given = args if self._static is None else _without(args, self._static)
        leaves, structure = jax.tree.flatten(given)
        if not all(map(_is_array, leaves)):
            return self._jitted(*args)
        now = (None if self._static is None else args[self._static], *context())
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
    ) -> _Executable | None:
        """The executable for some arguments, kept or made; None where none is kept."""
        devices = devices_of(leaves)
        if devices is None or getattr(jax.config, "jax_disable_jit", False):
            return None
        if self._made_of is None or self._results is None:
            return self._by_program(args, devices)
        return self._by_content(given, self._made_of, self._results, devices)

    def _by_content(
        self, given: tuple[Any, ...], made_of: Sequence[object], results: Results, devices: _Devices
    ) -> _Executable:
        name = key(devices, made_of, shown(given))

        def loaded(rest: PyTree, payload: bytes) -> _Executable:
            return _loaded(payload, given, jax.tree.structure(results.tree(given, rest)), devices)

        kept = self._taken(name, loaded)
        if kept is not None:
            return kept
        lowered = self._jitted.lower(*given)
        rest = results.rest(given, _example(lowered.out_tree))
        return self._made(name, lowered, lowered.as_text(), rest)

    def _by_program(self, args: tuple[Any, ...], devices: _Devices) -> _Executable:
        traced = self._jitted.trace(*args)
        lowered = traced.lower()
        text = lowered.as_text()
        types = [str(x) for x in (*traced.jaxpr.in_avals, *traced.jaxpr.out_avals)]
        name = key(devices, text, types)

        def loaded(rest: PyTree, payload: bytes) -> _Executable:
            given, _ = _example(lowered.in_tree)
            return _loaded(payload, given, lowered.out_tree, devices)

        return self._taken(name, loaded) or self._made(name, lowered, text, None)

    def _taken(
        self, name: str, loaded: Callable[[PyTree, bytes], _Executable]
    ) -> _Executable | None:
        """The executable that is kept under a name; None where there is none that can be loaded."""
        data = self._store.read(name)
        if data is None:
            return None
        try:
            rest, lapack, payload = pickle.loads(data)
            if lapack:
                _prepare_lapack()
            return loaded(rest, payload)
        except Exception as error:
            _log.debug("passed over, since it cannot be loaded: %s", error)
            return None

    def _made(self, name: str, lowered: Any, text: str, rest: PyTree) -> _Executable:
        """A new executable, which is kept if it can be."""
        before = _heard().hits
        compiled: Any = lowered.compile()
        if _POINTS_INTO_PROCESS.search(text):
            _log.debug("not kept, since it calls into this process")
        elif _heard().hits != before:
            # XLA writes what it has read itself without its machine code.
            _log.debug("not kept, since it comes from JAX's own cache")
        else:
            try:
                payload, _, _ = serialize_executable.serialize(compiled)
                self._store.write(name, pickle.dumps((rest, "@lapack_" in text, payload)))
            except Exception as error:
                _log.debug("not kept, since it cannot be written: %s", error)
        run: _Executable = compiled
        return run


def _loaded(
    payload: bytes, given: tuple[Any, ...], out_tree: Any, devices: _Devices
) -> _Executable:
    found = serialize_executable.deserialize_and_load(
        payload,
        jax.tree.structure((given, {})),
        out_tree,
        backend=devices[0].client,
        execution_devices=devices,
    )
    assert len(found.in_avals) == 2, "it takes arguments by place and by name"
    assert found.out_info is not None, "it has as many results as are expected of it"
    run: _Executable = found
    return run


class _Heard(threading.local):
    """What JAX has said in this thread: how often its own cache had what was to be compiled."""

    hits = 0


@cache
def _heard() -> _Heard:
    heard = _Heard()

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            heard.hits += 1

    jax.monitoring.register_event_listener(listen)
    return heard


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
    kind: Any = type(x)
    # A random key has no weak type, nor the attribute.
    return _is_concrete(kind) and not getattr(x, "weak_type", False)


@cache  # since asking a class of JAX takes longer than all else that is done with an argument
def _is_concrete(kind: type) -> bool:
    if issubclass(kind, jax.core.Tracer):
        return False
    return issubclass(kind, jax.Array | np.ndarray | np.generic)


def _signature(x: Any) -> Any:
    return x.shape, x.dtype, getattr(x, "sharding", None), getattr(x, "committed", None)
