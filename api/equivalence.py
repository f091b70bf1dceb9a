"""Whether two optimizers are the same map, given as specs or as expressions over optax."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike, fspath

from ..compiler.graph import walk
from ..compiler.graphs import lowered_graph
from ..compiler.locate import NotFoundError, find, modules
from ..compiler.meaning.side import Program, Side
from ..compiler.meaning.verdict import Verdict, decide
from ..compiler.records import Hyperparameter, Scalar

PREFIX = "optax:"
"""What an expression over optax begins with."""


def equiv(
    a: str | PathLike[str],
    b: str | PathLike[str],
    *,
    set_a: Mapping[str, Scalar] | None = None,
    set_b: Mapping[str, Scalar] | None = None,
    seed: int = 0,
    steps: int = 20,
    maps: bool = True,
    allow_extern: Iterable[str] = (),
) -> Verdict:
    """Whether A and B are the same map of weights and gradients to weights.

    Each is a path, `path.opt:NAME`, a name of the library, or an expression over optax such as
    `optax:adamw(1e-3)`, in which names are hyperparameters of the other. `set_a` and `set_b` give
    hyperparameters another value, `steps` is the length of a tape, and without `maps` nobody looks
    for parameters that would make them the same. Raises FileNotFoundError, SpecError, ValueError,
    and TwinError for an expression that optax does not understand.
    """
    texts = fspath(a), fspath(b)
    settings = dict(set_a or {}), dict(set_b or {})
    if steps < 2:
        raise ValueError("`steps` is 2 at least")
    allowed = tuple(allow_extern)
    try:
        programs = [
            None if text.startswith(PREFIX) else _program(text, given, allowed)
            for text, given in zip(texts, settings, strict=True)
        ]
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from None
    if programs[0] and programs[1] and programs[0].name == programs[1].name:
        programs = [replace(p, name=text) for p, text in zip(programs, texts, strict=True) if p]
    others = (programs[1], programs[0])
    one, two = (
        side or _twin(text, given, other)
        for text, given, side, other in zip(texts, settings, programs, others, strict=True)
    )
    return decide(one, two, *settings, seed=seed, steps=steps, maps=maps)


def _program(text: str, settings: Mapping[str, Scalar], allow_extern: tuple[str, ...]) -> Program:
    located = replace(find(text), modules=modules(allow_extern))
    graph, _ = lowered_graph(located, settings)
    if any(node.op == "extern" for region in graph.regions() for node in walk(region)):
        from .lent import Lent  # JAX, which nothing else of two specs needs

        return Program(graph.name, graph, Lent())
    return Program(graph.name, graph)


def _twin(text: str, settings: Mapping[str, Scalar], other: Program | None) -> Side:
    from .followed import Followed  # JAX again
    from .twins import ALLOWED, TwinError, expression, names

    written = text.removeprefix(PREFIX)
    if settings:
        raise ValueError(f"`{text}` has no hyperparameters to set: write them in it")
    parsed = expression(written)
    known: dict[str, Hyperparameter] = {}
    if other is not None:
        known = {h.name: h for h in other.hyperparameters}
    asked = dict.fromkeys(names(parsed))
    for name in asked:
        if name not in known:
            where = other.name if other else "the other side, which is no spec"
            call = f"; it is called as `{name}(...)`" if f"optax.{name}" in ALLOWED else ""
            raise TwinError(f"`{name}` is no hyperparameter of {where}{call}")
    twin = Followed(text, parsed, tuple(known[name] for name in asked))
    twin.check()
    return twin
