"""Functions of tensors of which each result is computed from a copy of the inputs of its own.

XLA on CPU makes one kernel of several results where no value in between is used by two of them:
such a value would be stored and read again. So each result but the first is computed from inputs
times one. The ones are numbers that XLA does not know and that differ in how they could be other
than one, so it merges nothing; the results are the same, since `1 * x` is `x`.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from .merge import merge

_elementwise = """
abs add and atan2 broadcast_in_dim cbrt ceil clamp convert_element_type copy cos div eq exp exp2
expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg nextafter not
or pow reduce_precision rem round rsqrt select_n sign sin sqrt square stop_gradient sub tan tanh xor
"""
_moving = "concatenate expand_dims optimization_barrier pad reshape rev slice squeeze transpose"
_reducing = "reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum"

ELEMENTWISE, MOVING, REDUCING = (
    frozenset(names.split()) for names in (_elementwise, _moving, _reducing)
)
"""Names of JAX's primitives. A reduction is fused with no more than squares and products."""

SUMMED = frozenset({"abs", "integer_pow", "square"})
"""What a sum outside does as it reads, so that the result itself is never stored."""

MOST = 21
"""XLA makes no kernel of more than 23 inputs and results, and counts ones and constants too."""


def in_copies(fn: Callable[..., Any], *, numbers: int | None = None) -> Callable[..., Any]:
    """The same function, with an int32 scalar before its arguments that tells copies apart.

    Only work on elements is done again for each result. What reductions, products, factorisations
    and loops are given and give is computed once, and copied like an input. With more inputs and
    results than XLA puts into one kernel nothing is changed; `numbers` is in how many arrays those
    among the arguments come, where it is not one for each.
    """

    @wraps(fn)
    def run(count: jax.Array, *args: Any) -> Any:
        given = [i for i, x in enumerate(args) if isinstance(x, jax.Array)]

        def of_arrays(*arrays: Any) -> Any:
            row = dict(zip(given, arrays, strict=True))
            return fn(*(row.get(i, x) for i, x in enumerate(args)))

        arrays = [args[i] for i in given]
        closed, shapes = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays)
        tensors = [x for x in arrays if x.ndim]
        inputs = len(arrays) if numbers is None else len(tensors) + numbers
        if inputs + len(closed.jaxpr.outvars) > MOST:
            return fn(*args)
        results = _Split(merge(closed)).results(count, arrays)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run


class _Split:
    """A program in two: what is computed once, and the work on elements for each result."""

    def __init__(self, closed: ClosedJaxpr) -> None:
        self._jaxpr = closed.jaxpr
        self._consts = closed.consts
        self._makers = {var: eqn for eqn in self._jaxpr.eqns for var in eqn.outvars}
        self._wide = self._of_tensors()
        self._once = self._computed_once()

    def results(self, count: jax.Array, arrays: Sequence[jax.Array]) -> list[Any]:
        """The results for these inputs."""
        jaxpr = self._jaxpr
        values = dict(zip(jaxpr.constvars, self._consts, strict=True))
        values |= dict(zip(jaxpr.invars, arrays, strict=True))
        once = list(self._once)
        equations = self._behind(once, frozenset())
        values |= dict(zip(once, self._run(equations, once, values.__getitem__), strict=True))
        used = self._between(equations) - self._once.keys()
        found: dict[int, Any] = {}
        for k, behind in self._in_turn():
            result = jaxpr.outvars[k]
            equations = self._behind([result], self._once.keys() | behind)
            between = self._between(equations)
            copied = bool(used & between)

            def given(x: Var, k: int = k, copied: bool = copied) -> Any:
                return _copied(count, k, values[x]) if copied and x in self._wide else values[x]

            found[k] = self._run(equations, [result], given)[0]
            used |= between
            if isinstance(result, Var):
                values.setdefault(result, found[k])
        return [found[k] for k in range(len(found))]

    def _in_turn(self) -> list[tuple[int, set[Var]]]:
        """The places of the results, and the other result of which one is a view or magnitude.

        That comes before what is made of it.
        """
        results = [x if isinstance(x, Var) else None for x in self._jaxpr.outvars]
        behind = [set(self._sources([x], SUMMED)) & set(results) - {x} for x in results]
        return sorted(enumerate(behind), key=lambda place: len(place[1]))

    def _computed_once(self) -> dict[Var, None]:
        """What other work than that on elements gives, and what is stored for it."""
        once: dict[Var, None] = {}
        for eqn in self._jaxpr.eqns:
            name = eqn.primitive.name
            if name not in ELEMENTWISE and name not in MOVING:
                through = ELEMENTWISE if name in REDUCING else frozenset()
                stored = [*self._sources(eqn.invars, through), *eqn.outvars]
                once |= {x: None for x in stored if x in self._makers}
        return once

    def _sources(
        self, atoms: Iterable[Var | Literal | None], through: AbstractSet[str]
    ) -> list[Var]:
        """The values of which others are only a view, or a function by the primitives given."""
        found: list[Var] = []
        for x in atoms:
            eqn = self._makers.get(x) if isinstance(x, Var) else None
            name = eqn.primitive.name if eqn else ""
            if eqn and (name in MOVING or name in through):
                behind = {y: None for y in eqn.invars if isinstance(y, Var)}
                if len(behind) == 1 or (name == "mul" and self._wide.issuperset(behind)):
                    found += self._sources(behind, frozenset() if name == "mul" else through)
                    continue
            found += [x] if isinstance(x, Var) else []
        return found

    def _of_tensors(self) -> set[Var]:
        """The values that are made of more than numbers."""
        wide = {x for x in self._jaxpr.invars if x.aval.shape}
        for eqn in self._jaxpr.eqns:
            if not wide.isdisjoint(x for x in eqn.invars if isinstance(x, Var)):
                wide.update(eqn.outvars)
        return wide

    def _behind(self, results: Iterable[Var | Literal], known: AbstractSet[Var]) -> list[JaxprEqn]:
        """The equations between what is known and some results, in order."""
        wanted = {x for x in results if isinstance(x, Var)} - known
        equations = []
        for eqn in reversed(self._jaxpr.eqns):
            if not wanted.isdisjoint(eqn.outvars):
                equations.append(eqn)
                wanted |= {x for x in eqn.invars if isinstance(x, Var)} - known
        return equations[::-1]

    def _between(self, equations: Iterable[JaxprEqn]) -> set[Var]:
        return self._wide.intersection(x for eqn in equations for x in eqn.outvars)

    def _run(
        self,
        equations: Sequence[JaxprEqn],
        results: Sequence[Var | Literal],
        given: Callable[[Var], Any],
    ) -> list[Any]:
        made = {x for eqn in equations for x in eqn.outvars}
        asked = [*results, *(x for eqn in equations for x in eqn.invars)]
        inputs = list(dict.fromkeys(x for x in asked if isinstance(x, Var) and x not in made))
        part = self._jaxpr.replace(
            constvars=[], invars=inputs, eqns=list(equations), outvars=list(results)
        )
        found: list[Any] = jaxpr_as_fun(ClosedJaxpr(part, []))(*map(given, inputs))
        return found


def _copied(count: jax.Array, k: int, x: Any) -> Any:
    """The value, in a way of its own for each `k`.

    It would be another for one count alone, which no run reaches.
    """
    reached: Any = count != np.iinfo(count.dtype).min + k
    if x.dtype == jnp.bool_:
        return x & reached
    return x * reached.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.number) else x
