"""Why a compiled step moves more than the least: each read and write of its kernels, explained."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..compiler.budget.compiled import Excess, Why
from .hlo import Array, Computation, Instruction, Module

_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
"""Instructions that move nothing."""

_INSIDE = {"while", "conditional"}
"""Those of whose inside XLA counts a part, by rules of its own."""

_SMALL = 64
"""A value of no more bytes, made on the way, counts with the scalars."""

_Key = tuple[Why, tuple[str, ...]]


@dataclass(eq=False, slots=True)
class _Buffer:
    """One array: of which tensor it is, if any, what makes it, and what reads it.

    `result` is the tensor that a step gives with it, and `copied` the one that it is a copy of.
    """

    array: Array
    name: str = ""
    maker: Instruction | None = None
    readers: list[Instruction] = field(default_factory=list)
    result: str | None = None
    copied: str = ""

    @property
    def is_given(self) -> bool:
        """Whether it is there when the step starts."""
        return self.maker is None


def excess(
    module: Module, given: Sequence[str], results: Sequence[str], source: str, accessed: int
) -> tuple[Excess, ...]:
    """All that is `accessed` beyond one read of each named argument and one write of each result.

    `given` and `results` say of which tensor each argument and each result is, empty for scalars.
    `source` is the text of the generated module, whose comments name the lines of the spec.
    """
    followed = _Followed(module, given)
    results_of = followed.run(module.entry, {})
    for name, buffer in zip(results, results_of, strict=True):
        buffer.result = name
    found: Counter[_Key] = Counter()
    of: dict[_Key, dict[str, None]] = {}
    least = 0
    explained = _Explained(followed, _Lines(module, source))
    for buffer in followed.buffers:
        least += explained.least(buffer)
        for why, lines, count in explained.reasons(buffer):
            found[why, lines] += count
            name = buffer.name or buffer.result or buffer.copied
            of.setdefault((why, lines), {})[name] = None
    found["other", ()] = accessed - least - sum(found.values())
    made = (
        Excess(why, tuple(filter(None, of.get((why, lines), {}))), lines, count)
        for (why, lines), count in found.most_common()
    )
    return tuple(each for each in made if each.bytes)


class _Followed:
    """The buffers of a module, each with all that reads it."""

    def __init__(self, module: Module, given: Sequence[str]) -> None:
        self.module = module
        self.given = given
        self.buffers: list[_Buffer] = []
        self.made: dict[str, list[_Buffer]] = {}

    def run(self, computation: Computation, known: Mapping[int, list[_Buffer]]) -> list[_Buffer]:
        """The buffers of a computation's result, for those of its parameters."""
        values: dict[str, list[_Buffer]] = {}
        for one in computation.instructions:
            values[one.name] = self._value(one, values, known)
        return values[computation.root]

    def _value(
        self,
        one: Instruction,
        values: Mapping[str, list[_Buffer]],
        known: Mapping[int, list[_Buffer]],
    ) -> list[_Buffer]:
        operands = [values[name] for name in one.operands]
        match one.op:
            case "parameter":
                assert one.number is not None, "a parameter has a number"
                return known.get(one.number) or self._new(one, name=self.given[one.number])
            case "bitcast":
                return operands[0]
            case "tuple":
                return [buffer for operand in operands for buffer in operand]
            case "get-tuple-element":
                assert one.number is not None, "it takes one of a number"
                return [operands[0][one.number]]
            case "call":
                inner = self.module.computations[one.calls[0]]
                return self.run(inner, dict(enumerate(operands)))
        if one.op not in _NOTHING | _INSIDE:
            for operand in operands:
                for buffer in operand:
                    buffer.readers.append(one)
        made = self.made[one.name] = self._new(one, maker=one)
        if one.op == "copy":
            made[0].copied = operands[0][0].name
        return made

    def _new(
        self, one: Instruction, name: str = "", maker: Instruction | None = None
    ) -> list[_Buffer]:
        made = [_Buffer(array, name, maker) for array in one.arrays]
        self.buffers += made
        return made


class _Explained:
    """What is the least of a buffer's traffic, and why there is more."""

    def __init__(self, followed: _Followed, lines: "_Lines") -> None:
        self.followed = followed
        self.lines = lines

    def least(self, buffer: _Buffer) -> int:
        """The bytes that must be moved for it: a read of an argument, a write of a result."""
        needed = buffer.readers if buffer.is_given else self._writes(buffer) and buffer.result
        return buffer.array.bytes if needed and (buffer.name or buffer.result) else 0

    def reasons(self, buffer: _Buffer) -> Iterator[tuple[Why, tuple[str, ...], int]]:
        """Each further read and write: why, the lines that it is for, and its bytes."""
        size = buffer.array.bytes
        readers, writes = list(buffer.readers), self._writes(buffer)
        if buffer.is_given and not buffer.name:
            yield "scalars", (), size * len(readers)
        elif buffer.is_given:
            readers.remove(self._needed(readers)) if readers else None
            yield from self._again(buffer, readers)
        elif buffer.result:
            yield from self._again(buffer, readers)
        elif size <= _SMALL or buffer.result is not None:
            yield "scalars", (), size * (len(readers) + writes)
        elif writes or readers:
            copied = buffer.maker is not None and buffer.maker.op == "copy"
            lines = (buffer.maker, *readers) if buffer.maker else readers
            why: Why = "copy" if copied else "kept"
            yield why, () if copied else self.lines.of(lines), size * (len(readers) + writes)

    def _again(
        self, buffer: _Buffer, readers: Sequence[Instruction]
    ) -> Iterator[tuple[Why, tuple[str, ...], int]]:
        for reader in readers:
            why = self._why(buffer, reader)
            involved = [reader] if why in ("kept", "reduction") else []
            if why == "kept":
                involved += (i for made in self.followed.made[reader.name] for i in made.readers)
            yield why, self.lines.of(involved), buffer.array.bytes

    def _writes(self, buffer: _Buffer) -> bool:
        return buffer.maker is not None and buffer.maker.op not in _NOTHING | _INSIDE

    def _needed(self, readers: Sequence[Instruction]) -> Instruction:
        """The reader that would read the tensor in the best case: one that makes a result."""
        best = [one for one in readers if self._makes_results(one)]
        return (best or readers)[-1]

    def _makes_results(self, one: Instruction) -> bool:
        return any(buffer.result for buffer in self.followed.made[one.name])

    def _why(self, buffer: _Buffer, reader: Instruction) -> Why:
        if self._makes_results(reader):
            return "kernels"
        if reader.op == "copy":
            return "copy"
        made = sum(each.array.bytes for each in self.followed.made[reader.name])
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

    def of(self, instructions: Sequence[Instruction]) -> tuple[str, ...]:
        """The lines of some instructions, each once."""
        return tuple(dict.fromkeys(filter(None, map(self._line, instructions))))

    def _line(self, one: Instruction) -> str:
        inside = [one, *(i for name in one.calls for i in self._inside(name))]
        frames = (i.frame for i in inside if i.frame is not None)
        for frame in frames:
            for file, line in self._module.frames.get(frame, ()):
                if file.startswith("<optc ") and self._says[line - 1]:
                    return self._says[line - 1]
        return ""

    def _inside(self, name: str) -> Iterator[Instruction]:
        yield from reversed(self._module.computations[name].instructions)
