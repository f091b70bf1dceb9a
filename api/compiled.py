"""The step of a program as XLA compiles it, for weights that are only shapes."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..compiler.budget.compiled import CompiledStep
from ..compiler.budget.least import GRADIENT, WEIGHTS, Traffic
from ..grammar.diagnostic import OptcError
from ..runtime import Optimizer, State
from ..runtime.border import enter, leave, next_weights, read, reported, stepped
from ..runtime.oracles import Given
from ..runtime.tree import PyTree
from .excess import excess
from .hlo import Module, parse

_ALONE = "the step cannot be compiled without a model"


class NoStepError(OptcError):
    """The step of an optimizer cannot be compiled for some weights; the message says why."""


def compiled_step(optimizer: Optimizer, params: PyTree, least: tuple[Traffic, ...]) -> CompiledStep:
    """The step of given gradients, compiled for weights of these shapes. Raises NoStepError.

    As in `Optimizer.step` weights and state are donated, and what is observed is a result.
    """
    program = optimizer.program
    static = {n: x for n, x in optimizer.values.items() if program.hyperparameters[n].static}
    lift = partial(program.lifted, static=static)

    def step(params: PyTree, state: State, grads: PyTree, loss: jax.Array) -> Any:
        weights = read(params)
        w = enter(weights, lift)
        given = Given(enter(read(grads), lift), loss)
        outcome, after, _ = program.advance(
            w, state, None, None, static=static, given=given, unavailable=_ALONE
        )
        observed = {name: reported(x) for name, x in (outcome.observed or {}).items()}
        return leave(next_weights(w, stepped(outcome), weights.tree)), after, observed

    loss = jax.eval_shape(lambda: jnp.zeros(()))
    try:
        state = jax.eval_shape(optimizer.init, params)
        arguments = params, state, params, loss
        traced = jax.jit(step, donate_argnums=(0, 1), keep_unused=True).trace(*arguments)
    except ValueError as error:
        raise NoStepError(str(error)) from error
    compiled = traced.lower().compile()
    module = parse(compiled.as_text())
    counted, memory = compiled.cost_analysis(), compiled.memory_analysis()
    accessed = int(counted["bytes accessed"])
    known = frozenset(each.name for each in least)
    given = _names(arguments, (WEIGHTS, "", GRADIENT, ""), known)
    results = _names(traced.out_info, (WEIGHTS, "", ""), known)
    return CompiledStep(
        platform=jax.default_backend(),
        least=least,
        excess=excess(module, given, results, program.source, accessed),
        accessed=accessed,
        temporaries=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        donated=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((params, state))),
        flops=int(counted.get("flops", 0)),
        transcendentals=int(counted.get("transcendentals", 0)),
        doubts=tuple(_doubts(module)),
    )


def _names(trees: tuple[PyTree, ...], names: tuple[str, ...], known: frozenset[str]) -> list[str]:
    """What each leaf of some trees is of: the tree's name, or a slot's; empty for scalars."""
    found = []
    for tree, name in zip(trees, names, strict=True):
        for path, _ in jax.tree.flatten_with_path(tree)[0]:
            slot = re.match(r"\.slots\['(.*?)'\]\['(.*?)'\]", jax.tree_util.keystr(path))
            own = f"{slot[1]}.{slot[2]}" if slot else name
            found.append(own if own in known else "")
    return found


def _doubts(module: Module) -> Iterator[str]:
    """What XLA does not count as it happens."""
    ops = Counter(one.op for one in module.walk(module.entry))
    called = Counter(i.target for i in module.walk(module.entry) if i.op == "custom-call")
    if loops := ops["while"]:
        yield f"{_many(loops, 'loop')}: one round of each is counted, and not how many there are"
    if branches := ops["conditional"]:
        yield f"{_many(branches, 'choice')}: the dearest side of each is counted"
    for target, times in sorted(called.items()):
        yield f"{_many(times, 'call')} of {target}: nothing of it is counted"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
