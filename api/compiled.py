"""The step of a program as XLA compiles it, for weights that are only shapes."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..compiler.budget.compiled import CompiledStep
from ..compiler.budget.least import GRADIENT, WEIGHTS, Moved
from ..grammar.diagnostic import OptcError
from ..runtime import Optimizer, State
from ..runtime.border import enter, leave, next_weights, read, reported, stepped
from ..runtime.oracles import Given
from ..runtime.state import Observed
from ..runtime.tree import PyTree
from .answers import Answers, nbytes
from .excess import excess
from .hlo import Module, parse

ASKED, ANSWERS = "what it asks about", "the answers"
"""What a step gives to the objective and gets from it, beside the gradient at the weights."""


class NoStepError(OptcError):
    """The step of an optimizer cannot be compiled for some weights; the message says why."""


def compiled_step(optimizer: Optimizer, params: PyTree, least: tuple[Moved, ...]) -> CompiledStep:
    """The step of given gradients, compiled for weights of these shapes. Raises NoStepError.

    As in `Optimizer.step` weights and state are donated, and what is observed is a result.
    """
    step = _Step(optimizer)
    try:
        state = jax.eval_shape(optimizer.init, params)
        loss = jax.eval_shape(lambda: jnp.zeros(()))
        answers = jax.eval_shape(step.answers, params, state, params, loss)
        arguments = params, state, params, loss, answers
        traced = jax.jit(step, donate_argnums=(0, 1), keep_unused=True).trace(*arguments)
    except ValueError as error:
        raise NoStepError(f"the step cannot be compiled without a model: {error}") from error
    compiled = traced.lower().compile()
    results = traced.out_info
    further = Moved(ASKED, 0, nbytes(results[-1])), Moved(ANSWERS, nbytes(answers), 0)
    least += tuple(each for each in further if each.bytes)
    known = frozenset(each.name for each in least)
    module = parse(compiled.as_text())
    counted, memory = compiled.cost_analysis(), compiled.memory_analysis()
    accessed = int(counted["bytes accessed"])
    reasons = excess(
        module,
        _names(arguments, (WEIGHTS, "", GRADIENT, "", ANSWERS), known),
        _names(results, (WEIGHTS, "", "", ASKED), known),
        optimizer.program.source,
        accessed,
    )
    return CompiledStep(
        platform=jax.default_backend(),
        least=least,
        excess=reasons,
        accessed=accessed,
        temporaries=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        donated=nbytes((params, state)),
        flops=int(counted.get("flops", 0)),
        transcendentals=int(counted.get("transcendentals", 0)),
        doubts=tuple(_doubts(module)),
    )


class _Step:
    """A step as a function of the weights, the state, and all that the objective would say."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.program = optimizer.program
        parameters = self.program.hyperparameters
        self.static = {n: x for n, x in optimizer.values.items() if parameters[n].static}

    def __call__(
        self, params: PyTree, state: State, grads: PyTree, loss: jax.Array, answers: list[Any]
    ) -> tuple[PyTree, State, dict[str, Observed], list[Any]]:
        """The next weights and state, what is observed, and what questions are about."""
        results, _ = self._run(params, state, grads, loss, answers)
        return results

    def answers(self, params: PyTree, state: State, grads: PyTree, loss: jax.Array) -> list[Any]:
        """What the objective is asked, beside the gradient and the loss at the weights."""
        return self._run(params, state, grads, loss, None)[1].given

    def _run(
        self, params: PyTree, state: State, grads: PyTree, loss: jax.Array, known: list[Any] | None
    ) -> tuple[tuple[PyTree, State, dict[str, Observed], list[Any]], Answers]:
        lift = partial(self.program.steps.lifted, static=self.static)
        weights = read(params)
        w, g = enter(weights, lift), enter(read(grads), lift)
        answers = Answers(self.program.asked_by, [*w.members, *g.members], known)
        outcome, after, _ = self.program.steps.advance(
            w, state, None, None, static=self.static, given=Given(g, loss, answers)
        )
        observed = {name: reported(x) for name, x in (outcome.observed or {}).items()}
        moved = leave(next_weights(w, stepped(outcome), weights.tree))
        return (moved, after, observed, answers.asked), answers


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
