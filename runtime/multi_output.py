"""Whether XLA on CPU makes one kernel of several results, which an option of it decides.

Without the option each result of an update is a kernel of its own, that reads weights, gradients
and states again. The option acts on all that the process compiles, XLA reads it when JAX starts
its CPU backend, and nothing documents it: so a sample is compiled, and its bytes are counted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from .copies import in_copies

OPTION = "xla_cpu_use_multi_output_fusion"

_FLAG = "--xla_backend_extra_options="
_allowed = True
_unknown: ContextVar[jax.Array | None] = ContextVar("_unknown", default=None)


def configure(*, multi_output: bool) -> None:
    """Have updates on CPU read and write each tensor once, in kernels of several results.

    With True the option of XLA is set and JAX's backend started, so call it before anything else
    has started that and after `jax.distributed.initialize`. It acts on all that the process
    compiles. Raises RuntimeError where it is not in force then. With False programs keep the
    plain form, whatever the environment says. Other backends than CPU have the plain form always.
    """
    global _allowed
    _allowed = multi_output
    if multi_output and not prefer():
        raise RuntimeError(
            "XLA makes no kernels of several results here: it reads its options once, when JAX "
            f"starts. {_advice()}"
        )


def is_allowed() -> bool:
    """Whether the caller leaves the form of updates to the option."""
    return _allowed


def prefer() -> bool:
    """Set the option where that is still possible; whether it is in force, if this is a CPU.

    Flags in a file are the caller's.
    """
    before = os.environ.get("XLA_FLAGS")
    if _names_file(before or ""):
        return jax.default_backend() != "cpu" or in_force()
    os.environ["XLA_FLAGS"] = with_option(before or "")
    if jax.default_backend() != "cpu" or in_force():
        return True
    # Another process might read what this one could not.
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before
    in_force.cache_clear()
    return False


def with_option(told: str) -> str:
    """Flags of XLA with the option among them. Raises ValueError for the name of a file."""
    if _names_file(told):
        raise ValueError(f"XLA_FLAGS names a file, {told!r}: add {_FLAG}{OPTION}=true to that")
    others = [flag for flag in told.split() if not flag.startswith(_FLAG)]
    given = [flag.removeprefix(_FLAG) for flag in told.split() if flag.startswith(_FLAG)]
    extra = [each for each in ",".join(given).split(",") if each and not each.startswith(OPTION)]
    return " ".join([*others, _FLAG + ",".join([*extra, f"{OPTION}=true"])])


def flags() -> str:
    """What XLA is told: its flags, or the text of the file that is named in their place."""
    told = os.environ.get("XLA_FLAGS", "")
    try:
        return Path(told).read_text() if _names_file(told) else told
    except (OSError, ValueError):
        return ""


def _names_file(told: str) -> bool:
    return bool(told.strip()) and not told.lstrip().startswith("-")


def _advice() -> str:
    if _names_file(os.environ.get("XLA_FLAGS", "")):
        return f"Add {_FLAG}{OPTION}=true to the file that XLA_FLAGS names"
    return (
        "Call `optc.configure` before the first array, or start Python with "
        f"XLA_FLAGS={_FLAG}{OPTION}=true"
    )


@cache
def in_force() -> bool:
    """Whether XLA makes one kernel of several results, by what a sample accesses."""
    if OPTION not in flags() or jax.default_backend() != "cpu":
        return False

    def sample(t: jax.Array, g: jax.Array, trace: jax.Array) -> tuple[jax.Array, jax.Array]:
        def fn(g: jax.Array, trace: jax.Array) -> tuple[jax.Array, jax.Array]:
            trace = 0.5 * trace + g
            return trace, g + trace * trace

        made: tuple[jax.Array, jax.Array] = in_copies(fn)(t, g, trace)
        return made

    size = 4096
    x = jax.ShapeDtypeStruct((size,), jnp.float32)  # type: ignore[no-untyped-call]  # jax has none
    t = jax.ShapeDtypeStruct((), jnp.int32)  # type: ignore[no-untyped-call]  # jax has none
    costs = jax.jit(sample).lower(t, x, x).compile().cost_analysis()
    # Two tensors read and two written; apart each kernel reads both.
    return bool(costs and costs.get("bytes accessed", jnp.inf) < 5 * 4 * size)


@contextmanager
def unknown(count: jax.Array) -> Iterator[None]:
    """Inside, `copies_by` is `count`, where kernels are to have several results."""
    traced = isinstance(count, jax.core.Tracer)
    token = _unknown.set(count if traced and _allowed and in_force() else None)
    try:
        yield
    finally:
        _unknown.reset(token)


def copies_by() -> jax.Array | None:
    """A whole number that XLA does not know, by which kernels tell copies of inputs apart.

    None where kernels are to have the plain form.
    """
    return _unknown.get()
