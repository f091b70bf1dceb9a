"""The text of what XLA compiled, as instructions: what each reads and makes, and whose it is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

WIDTHS = {
    **{"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8},
    **{"f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16},
}
"""The bytes of a number; what is not here is no array (`token`)."""

_INSTRUCTION = re.compile(
    r"\s*(?P<root>ROOT )?%(?P<name>\S+) = (?P<type>.*?) (?P<op>[a-z][\w-]*)\("
)
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%(?P<name>\S+) \(.*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%([\w.-]+)"
    r"|branch_computations=\{(.*?)\}"
)


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a value: the bytes of a number, and how many there are."""

    width: int
    size: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.width * self.size


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `number` is that of a parameter, or a place in a tuple.

    `frame` is where it comes from, and `target` what a `custom-call` calls.
    """

    name: str
    op: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    calls: tuple[str, ...]
    frame: int | None
    number: int | None
    target: str


@dataclass(frozen=True)
class Computation:
    """Instructions in the order in which they run, and the one whose value is the result."""

    instructions: tuple[Instruction, ...]
    root: str


@dataclass(frozen=True)
class Module:
    """A compiled program. `frames` has, for each frame, file and line of all calls, inner first."""

    entry: Computation
    computations: Mapping[str, Computation]
    frames: Mapping[int, tuple[tuple[str, int], ...]]

    def walk(self, computation: Computation) -> Iterator[Instruction]:
        """The instructions that run, also in loops and branches, but not those inside kernels."""
        for instruction in computation.instructions:
            yield instruction
            if instruction.op in ("while", "conditional", "call"):
                for name in instruction.calls:
                    yield from self.walk(self.computations[name])


def parse(text: str) -> Module:
    """The module that XLA printed."""
    computations: dict[str, Computation] = {}
    entry = name = root = ""
    instructions: list[Instruction] = []
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name, instructions = head["name"], []
            entry = name if head["entry"] else entry
        elif line.startswith("}"):
            computations[name] = Computation(tuple(instructions), root)
        elif match := _INSTRUCTION.match(line):
            instructions.append(_instruction(match, line[match.end() :]))
            root = match["name"] if match["root"] else root
    return Module(computations[entry], computations, _frames(text))


def _instruction(match: re.Match[str], rest: str) -> Instruction:
    given, attributes = _closed(rest)
    called = [name for one, many in _CALLED.findall(attributes) for name in (one, *_names(many))]
    frame = re.search(r"stack_frame_id=(\d+)", attributes)
    target = re.search(r'custom_call_target="(.*?)"', attributes)
    number = given if match["op"] == "parameter" else _attribute("index", attributes)
    return Instruction(
        name=match["name"],
        op=match["op"],
        arrays=tuple(_arrays(match["type"])),
        operands=tuple(_names(given)),
        calls=tuple(name for name in called if name),
        frame=int(frame[1]) if frame else None,
        number=int(number) if number else None,
        target=target[1] if target else "",
    )


def _closed(rest: str) -> tuple[str, str]:
    """What is inside the parentheses that are open, and what follows them."""
    depth = 1
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return rest[:place], rest[place + 1 :]
    return rest, ""


def _names(text: str) -> list[str]:
    return re.findall(r"%([\w.-]+)", text)


def _arrays(type: str) -> Iterator[Array]:
    for dtype, lengths in re.findall(r"(\w+)\[([\d,]*)\]", type):
        if dtype in WIDTHS:
            yield Array(WIDTHS[dtype], prod(int(length) for length in lengths.split(",") if length))


def _attribute(name: str, attributes: str) -> str | None:
    found = re.search(rf"\b{name}=(\d+)", attributes)
    return found[1] if found else None


def _frames(text: str) -> dict[int, tuple[tuple[str, int], ...]]:
    """The calls of each frame, of four tables that refer to each other by number."""
    files = {key: value.strip('"') for key, value in _table("FileNames", text).items()}
    places = {key: _fields(value) for key, value in _table("FileLocations", text).items()}
    frames = {key: _fields(value) for key, value in _table("StackFrames", text).items()}
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    for key, frame in frames.items():  # each after the one that called it
        place = places[frame["file_location_id"]]
        # The parent is counted from one more than frames are; the outermost has none.
        outer = found.get(frame.get("parent_frame_id", 0) - 1, ())
        found[key] = ((files[place["file_name_id"]], place["line"]), *outer)
    return found


def _table(title: str, text: str) -> dict[int, str]:
    section = re.search(rf"^{title}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
    rows = (row.split(" ", 1) for row in section[1].splitlines()) if section else ()
    return {int(key): value for key, value in rows}


def _fields(row: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", row)}
