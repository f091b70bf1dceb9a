"""Equal equations are done once.

A derivative along a direction of a derivative along the same direction computes the first
derivatives twice, once for each of the two. XLA finds such copies by itself where the equations
between them are few; behind a softmax or in the body of a scan it does not. Here they are merged
before XLA sees them, so that the cost does not hang on what it finds.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jax.extend.core.primitives import cond_p, jit_p, remat_p, scan_p, while_p
from jax.interpreters.partial_eval import dce_jaxpr

Atom: TypeAlias = Var | Literal

Firsts: TypeAlias = tuple[int, ...]
"""For each of some values the first that equals it: its own place, or one before."""


def merged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, in which nothing is computed twice from the same values.

    The result is the same to the last bit, but for how XLA fuses what is left. Equations with
    effects stay as they are. Raises what `jax.make_jaxpr` raises for functions that look at the
    numbers of their arguments.
    """

    def call(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = jaxpr_as_fun(merge(closed))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def merge(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with equal equations merged, also inside loops and branches.

    Inner jitted functions are written out: two calls of one may have equations in common.
    """
    return _merge(closed, range(len(closed.jaxpr.invars)))


def _merge(closed: ClosedJaxpr, same: Sequence[int]) -> ClosedJaxpr:
    """As `merge`, where inputs are known to be equal: each to the one whose place `same` gives."""
    jaxpr, scope = closed.jaxpr, _Scope()
    inputs = [jaxpr.invars[first] for first in same]
    results = list(scope.write(closed, inputs))
    constants = list(scope.constants.values())
    whole = jaxpr.replace(
        constvars=[var for var, _ in constants], eqns=scope.equations, outvars=results
    )
    kept, _ = dce_jaxpr(whole, [True] * len(results), instantiate=True)
    return ClosedJaxpr(kept, [value for _, value in constants])


class _Scope:
    """The equations of one program, or of one body in it, as they are written."""

    def __init__(self) -> None:
        self.equations: list[JaxprEqn] = []
        self.constants: dict[int, tuple[Var, Any]] = {}
        self._written: dict[Hashable, list[Var]] = {}

    def write(self, closed: ClosedJaxpr, inputs: Sequence[Atom]) -> Sequence[Atom]:
        """Write the equations of a program with other inputs; gives its results."""
        jaxpr = closed.jaxpr
        known: dict[Var, Atom] = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, value in zip(jaxpr.constvars, closed.consts, strict=True):
            known[var] = self.constants.setdefault(id(value), (Var(var.aval), value))[0]
        for equation in jaxpr.eqns:
            atoms = [_look_up(atom, known) for atom in equation.invars]
            if _is_plain_call(equation):
                results = self.write(equation.params["jaxpr"], atoms)
            else:
                results = self._equation(equation, atoms)
            known.update(zip(equation.outvars, results, strict=True))
        return [_look_up(atom, known) for atom in jaxpr.outvars]

    def _equation(self, equation: JaxprEqn, inputs: list[Atom]) -> Sequence[Atom]:
        key = _key(equation, inputs)
        if key is not None and key in self._written:
            return self._written[key]
        params, firsts = _inside(equation, inputs)
        # Fresh names: a program that is written out twice binds its own twice.
        results = [Var(var.aval) for var in equation.outvars]
        self.equations.append(equation.replace(invars=inputs, outvars=results, params=params))
        results = [results[first] for first in firsts]
        if key is not None:
            self._written[key] = results
        return results


def _look_up(atom: Atom, known: dict[Var, Atom]) -> Atom:
    return atom if isinstance(atom, Literal) else known[atom]


def _is_plain_call(equation: JaxprEqn) -> bool:
    """Whether an equation is an inner jitted function that says nothing of placement."""
    if equation.primitive is not jit_p or equation.params.get("compiler_options_kvs"):
        return False
    shardings = (*equation.params["in_shardings"], *equation.params["out_shardings"])
    return all(type(sharding).__name__ == "UnspecifiedValue" for sharding in shardings)


# ---- which equations are equal


def _key(equation: JaxprEqn, inputs: Sequence[Atom]) -> Hashable | None:
    """What two equations share if they are equal; None for one that is like no other."""
    if equation.effects:
        return None
    params = tuple(sorted(equation.params.items(), key=lambda item: item[0]))
    key = equation.primitive, params, equation.ctx, tuple(map(_identity, inputs))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _identity(atom: Atom) -> Hashable:
    """What two atoms share if they are one value. The bytes of a number tell 0 from -0."""
    if isinstance(atom, Literal):
        value = np.asarray(atom.val)
        return atom.aval, value.dtype.name, value.tobytes()
    return atom


def _firsts(*keys: Sequence[Hashable]) -> Firsts:
    """Values are equal that have the same keys in every list."""
    places: dict[Hashable, int] = {}
    return tuple(places.setdefault(key, i) for i, key in enumerate(zip(*keys, strict=True)))


# ---- loops and branches


def _inside(equation: JaxprEqn, inputs: list[Atom]) -> tuple[dict[str, Any], Firsts]:
    """The parameters with bodies merged, and which results are equal."""
    params = dict(equation.params)
    keys = list(map(_identity, inputs))
    apart: Firsts = tuple(range(len(equation.outvars)))
    match equation.primitive:
        case p if p is scan_p:
            consts, carried = _of_scan(params)
            places = ["const"] * consts + ["carry"] * carried
            places += ["slice"] * (len(inputs) - len(places))
            params["jaxpr"], same = _loop(params["jaxpr"], _firsts(keys, places), consts, carried)
            results = list(map(_identity, params["jaxpr"].jaxpr.outvars))
            finals = [("carry", first) for first in same[consts : consts + carried]]
            return params, _firsts([*finals, *results[carried:]])
        case p if p is while_p:
            asks, consts = params["cond_nconsts"], params["body_nconsts"]
            places = ["const"] * consts + ["carry"] * (len(inputs) - asks - consts)
            params["body_jaxpr"], same = _loop(
                params["body_jaxpr"], _firsts(keys[asks:], places), consts, len(places) - consts
            )
            carry = [("carry", first) for first in same[consts:]]
            params["cond_jaxpr"] = _merge(params["cond_jaxpr"], _firsts([*keys[:asks], *carry]))
            return params, _firsts(carry)
        case p if p is cond_p:
            same = _firsts(keys[1:])
            branches = tuple(_merge(branch, same) for branch in params["branches"])
            params["branches"] = branches
            return params, _firsts(*([_identity(x) for x in b.jaxpr.outvars] for b in branches))
        case p if p is remat_p:
            body = _merge(ClosedJaxpr(params["jaxpr"], ()), _firsts(keys))
            if body.consts:
                return dict(equation.params), apart
            params["jaxpr"] = body.jaxpr
            return params, _firsts(list(map(_identity, body.jaxpr.outvars)))
    return params, apart


def _of_scan(params: dict[str, Any]) -> tuple[int, int]:
    """How many constants a scan has, and how many values it carries."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    # From JAX 0.11 on the three kinds of inputs are trees.
    consts, carried, _ = params["ft_in"].unpack()
    return len(consts), len(carried)


def _loop(body: ClosedJaxpr, same: Firsts, consts: int, carried: int) -> tuple[ClosedJaxpr, Firsts]:
    """The merged body of a loop, and which of its inputs are equal in every round.

    What is carried is equal if it starts equal and a round, which may take that for granted, keeps
    it so. `same` says what starts equal; what a round does not keep is told apart until all is.
    """
    while True:
        found = _merge(body, same)
        after: list[Hashable] = list(map(_identity, found.jaxpr.outvars[:carried]))
        kept = _firsts(same, [None] * consts + after + [None] * (len(same) - consts - carried))
        if kept == same:
            return found, same
        same = kept
