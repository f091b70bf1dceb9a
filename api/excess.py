"""Why a compiled step moves more than the least: each read and write of its kernels, explained."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..compiler.budget.compiled import Excess, Why
from .hlo import Array, Computation, Instruction, Module

_NOTHING = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    "custom-call",
}
"""Instructions that move nothing, or of which XLA does not know what they move."""

_SMALL = 64
"""A value of no more bytes, made on the way, counts with the scalars."""

_Key = tuple[Why, tuple[str, ...]]


@dataclass(eq=False, slots=True)
class _Run:
    """An instruction as it runs, once, and what it makes."""

    instruction: Instruction
    made: "list[_Buffer]" = field(default_factory=list)

    @property
    def makes_results(self) -> bool:
        """Whether the step gives something that it makes."""
        return any(buffer.result for buffer in self.made)


@dataclass(eq=False, slots=True)
class _Buffer:
    """One array: of which tensor it is, if any, what makes it, and what reads it.

    What is there when the step starts has no maker. `result` is the tensor that a step gives with
    it, and `copied` the one that it is a copy of.
    """

    array: Array
    name: str = ""
    maker: _Run | None = None
    readers: list[_Run] = field(default_factory=list)
    result: str | None = None
    copied: str = ""

    @property
    def is_written(self) -> bool:
        """Whether an instruction writes it."""
        return self.maker is not None and self.maker.instruction.op not in _NOTHING


def excess(
    module: Module, given: Sequence[str], results: Sequence[str], source: str, accessed: int
) -> tuple[Excess, ...]:
    """All that is `accessed` beyond one read of each named argument and one write of each result.

    `given` and `results` say of which tensor each argument and each result is, empty for scalars.
    `source` is the text of the generated module, whose comments name the lines of the spec.
    """
    followed = _Followed(module, given)
    for name, buffer in zip(results, followed.run(module.entry, {}), strict=True):
        buffer.result = name
    found: Counter[_Key] = Counter()
    of: dict[_Key, dict[str, None]] = {}
    explained = _Explained(_Lines(module, source))
    for buffer in followed.buffers:
        for why, lines, count in explained.reasons(buffer):
            found[why, lines] += count
            name = buffer.name or buffer.result or buffer.copied
            of.setdefault((why, lines), {})[name] = None
    least = sum(map(_least, followed.buffers))
    found["other", ()] = accessed - least - sum(found.values())
    made = (
        Excess(why, tuple(filter(None, of.get((why, lines), {}))), lines, count)
        for (why, lines), count in found.most_common()
    )
    return tuple(each for each in made if each.bytes)


def _least(buffer: _Buffer) -> int:
    """The bytes that must be moved for it: a read of an argument, a write of a result."""
    needed = buffer.is_written and buffer.result if buffer.maker else buffer.readers
    return buffer.array.bytes if needed and (buffer.name or buffer.result) else 0


class _Followed:
    """The buffers of a module, each with all that reads it."""

    def __init__(self, module: Module, given: Sequence[str]) -> None:
        self.module = module
        self.given = given
        self.buffers: list[_Buffer] = []

    def run(self, computation: Computation, known: Mapping[int, list[_Buffer]]) -> list[_Buffer]:
        """The buffers of a computation's result, for those of its parameters."""
        values: dict[str, list[_Buffer]] = {}
        for one in computation.instructions:
            values[one.name] = self._value(one, [values[name] for name in one.operands], known)
        return values[computation.root]

    def _value(
        self,
        one: Instruction,
        operands: Sequence[list[_Buffer]],
        known: Mapping[int, list[_Buffer]],
    ) -> list[_Buffer]:
        inner = [self.module.computations[name] for name in one.calls]
        match one.op:
            case "parameter":
                assert one.number is not None, "a parameter has a number"
                return known.get(one.number) or self._given(one, self.given[one.number])
            case "bitcast":
                return operands[0]
            case "tuple":
                return [buffer for operand in operands for buffer in operand]
            case "get-tuple-element":
                assert one.number is not None, "it takes one of a number"
                return [operands[0][one.number]]
            case "call":
                return self.run(inner[0], dict(enumerate(operands)))
            case "while":
                condition, body = inner
                self.run(condition, {0: operands[0]})
                return self.run(body, {0: operands[0]})
            case "conditional":
                sides = zip(inner, operands[1:], strict=True)
                dearest, operand = max(sides, key=lambda side: self._moved(side[0]))
                return self.run(dearest, {0: operand})
        run = _Run(one)
        if one.op not in _NOTHING:
            for operand in operands:
                for buffer in operand:
                    buffer.readers.append(run)
        run.made = [_Buffer(array, maker=run) for array in one.arrays]
        if one.op == "copy":
            run.made[0].copied = operands[0][0].name
        self.buffers += run.made
        return run.made

    def _given(self, one: Instruction, name: str) -> list[_Buffer]:
        made = [_Buffer(array, name) for array in one.arrays]
        self.buffers += made
        return made

    def _moved(self, computation: Computation) -> int:
        """What is made in a computation, to find the dearest side of a choice."""
        inner = self.module.walk(computation)
        return sum(array.bytes for one in inner if one.op not in _NOTHING for array in one.arrays)


class _Explained:
    """Why there is more traffic of a buffer than the least."""

    def __init__(self, lines: "_Lines") -> None:
        self.lines = lines

    def reasons(self, buffer: _Buffer) -> Iterator[tuple[Why, tuple[str, ...], int]]:
        """Each further read and write: why, the lines that it is for, and its bytes."""
        times = len(buffer.readers) + buffer.is_written
        count = buffer.array.bytes * times
        if not times:
            return
        if buffer.name or buffer.result:
            yield from self._again(buffer)
        elif buffer.maker is None or buffer.result == "" or buffer.array.bytes <= _SMALL:
            yield "scalars", (), count
        elif buffer.maker.instruction.op == "copy":
            yield "copy", (), count
        else:
            yield "kept", self.lines.of([buffer.maker, *buffer.readers]), count

    def _again(self, buffer: _Buffer) -> Iterator[tuple[Why, tuple[str, ...], int]]:
        """The reads of an argument but for one, and those of a result."""
        readers = list(buffer.readers)
        if buffer.maker is None:
            # One that makes a result would read the tensor in the best case too.
            readers.remove(([run for run in readers if run.makes_results] or readers)[-1])
        for run in readers:
            why = _why(buffer, run)
            runs = [run] if why in ("kept", "reduction") else []
            runs += (reader for made in run.made for reader in made.readers if why == "kept")
            yield why, self.lines.of(runs), buffer.array.bytes


def _why(buffer: _Buffer, reader: _Run) -> Why:
    if reader.makes_results:
        return "kernels"
    if reader.instruction.op == "copy":
        return "copy"
    made = sum(each.array.bytes for each in reader.made)
    return "reduction" if 2 * made <= buffer.array.bytes else "kept"


class _Lines:
    """The lines of the spec that instructions come from."""

    def __init__(self, module: Module, source: str) -> None:
        self._module = module
        self._says: list[str] = []
        said = ""
        for row in source.splitlines():
            comment = re.match(r"\s+# (.*\d+ \| .*)$", row)
            said = comment[1] if comment else said if row.startswith(" ") else ""
            self._says.append(said)

    def of(self, runs: Sequence[_Run]) -> tuple[str, ...]:
        """The lines of some instructions, each once."""
        found = (self._line(run.instruction) for run in runs)
        return tuple(dict.fromkeys(filter(None, found)))

    def _line(self, one: Instruction) -> str:
        inside = [one, *(i for name in one.calls for i in self._inside(name))]
        for frame in (i.frame for i in inside if i.frame is not None):
            for file, line in self._module.frames.get(frame, ()):
                if file.startswith("<optc ") and self._says[line - 1]:
                    return self._says[line - 1]
        return ""

    def _inside(self, name: str) -> Iterator[Instruction]:
        yield from reversed(self._module.computations[name].instructions)
