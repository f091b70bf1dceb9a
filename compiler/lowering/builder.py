"""Building regions of nodes: typed values, nested blocks, and the values that change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from ..constants import apply
from ..op import Op
from ..ops import OPS
from ..records import Domain, Scalar, View, is_within
from ..types import TUPLE, UNKNOWN, Type, dynamic, join
from .draft import DraftNode, DraftRegion

_NONE: Mapping[str, Scalar] = {}

MAX_NODES = 100_000
"""A program is refused when its rules expand to more nodes than this."""


@dataclass(frozen=True, slots=True)
class Value:
    """A node's result: its id, its type, and its constant where it is known."""

    id: int
    type: Type
    constant: Scalar | None = None


MISTAKE = Value(-1, UNKNOWN)
"""What stands for a value whose mistake was already reported."""


class TooLargeError(Exception):
    """The program expands beyond all bounds; the message says beyond which."""


@dataclass
class Cell:
    """Something that changes while a region runs: a state (`slot` >= 0) or a var.

    `domain` are the tensors for which it was declared.
    """

    type: Type
    name: str
    slot: int = -1
    domain: int = 0


BlockKind = Literal["top", "branch", "loop", "turn", "example", "eigenvalue", "operator"]


@dataclass
class Block:
    """Nodes being collected, and what kind of block they stand in.

    `outer` is how many cells there were before it: those of a smaller key live longer.
    """

    kind: BlockKind
    outer: int = 0
    nodes: list[DraftNode] = field(default_factory=list)
    defined: set[int] = field(default_factory=set)
    points: dict[int, Value] = field(default_factory=dict)
    index: Value | None = None


class Frame:
    """One top region: its inputs, made when first asked for, and the stack of open blocks."""

    def __init__(self) -> None:
        self.inputs: dict[tuple[str, Scalar | View], tuple[DraftNode, Value]] = {}
        self.blocks: list[Block] = [Block("top")]

    def region(self, results: Sequence[Value]) -> DraftRegion:
        """The finished region."""
        inputs = tuple(node for node, _ in self.inputs.values())
        nodes = (*inputs, *self.blocks[0].nodes)
        return DraftRegion(nodes=nodes, results=tuple(v.id for v in results))


class Builder:
    """Adds nodes to the open block of the current frame."""

    domains: list[Domain]

    def __init__(self) -> None:
        self.step = Frame()
        self.start = Frame()
        self.frame = self.step
        self.domain = 0
        self.stage = -1
        self.cells: dict[int, Value] = {}
        self.cell_info: dict[int, Cell] = {}
        self.made: dict[int, DraftNode] = {}
        self._next_id = 0

    @property
    def block(self) -> Block:
        """The innermost open block."""
        return self.frame.blocks[-1]

    @contextmanager
    def in_frame(self, frame: Frame) -> Iterator[None]:
        """Build in another top region for a while."""
        outer, self.frame = self.frame, frame
        yield
        self.frame = outer

    @contextmanager
    def in_domain(self, domain: int) -> Iterator[None]:
        """Build for some of the tensors for a while."""
        outer, self.domain = self.domain, domain
        yield
        self.domain = outer

    @contextmanager
    def in_stage(self, stage: int) -> Iterator[None]:
        """Mark new nodes as caused by this line of the spec for a while."""
        outer, self.stage = self.stage, stage
        yield
        self.stage = outer

    # ---- nodes

    def fresh(self) -> int:
        """A new id."""
        self._next_id += 1
        if self._next_id > MAX_NODES:
            raise TooLargeError(f"more than {MAX_NODES:,} operations")
        return self._next_id - 1

    def node(
        self,
        op: str,
        inputs: Sequence[Value],
        type: Type,
        *,
        name: str | None = None,
        regions: tuple[DraftRegion, ...] = (),
        constant: Scalar | None = None,
        attributes: Mapping[str, Scalar] = _NONE,
    ) -> Value:
        """Add one node; a mistake among its inputs makes it a mistake."""
        if any(v.type.is_unknown for v in inputs):
            return MISTAKE
        node = DraftNode(
            id=self.fresh(),
            op=op,
            inputs=tuple(v.id for v in inputs),
            type=type,
            attributes=tuple(attributes.items()),
            stage=self.stage,
            name=name,
            regions=regions,
        )
        self.block.nodes.append(node)
        self.block.defined.add(node.id)
        self.made[node.id] = node
        return Value(node.id, type, constant)

    def input(self, op: str, key: Scalar, type: Type, name: str) -> Value:
        """An input of the current frame: made once, before everything else."""
        known = self.frame.inputs.get((op, key))
        if known is None:
            node = DraftNode(
                id=self.fresh(),
                op=op,
                inputs=(),
                type=type,
                attributes=(("name", key),),
                name=name,
            )
            self.made[node.id] = node
            known = self.frame.inputs[op, key] = node, Value(node.id, type)
        return known[1]

    def constant(self, value: Scalar, name: str | None = None) -> Value:
        """A literal."""
        if isinstance(value, bool):
            type = Type("scalar", "bool", static=True)
        elif isinstance(value, str):
            type = Type("text", static=True)
        else:
            type = Type("scalar", "int" if isinstance(value, int) else "float", static=True)
        return self.node("const", (), type, name=name, constant=value, attributes={"value": value})

    def apply(self, op_name: str, *inputs: Value, name: str | None = None) -> Value:
        """An elementwise op on values whose types were checked."""
        if any(v.type.is_unknown for v in inputs):
            return MISTAKE
        op = OPS[op_name]
        known = all(v.constant is not None for v in inputs)
        if op_name == "pow" and not known and all(v.type.static for v in inputs):
            # Python's integers have no end, and a power of two of them can take forever.
            inputs = (self.node("float", inputs[:1], Type("scalar")), *inputs[1:])
        inputs = self._widened(op, inputs)
        types = tuple(v.type for v in inputs)
        operands = types[1:] if op_name == "where" else types
        if op.gives == "join":
            dtypes = {t.dtype for t in operands}
            dtype = dtypes.pop() if len(dtypes) == 1 else "float"
        else:
            dtype = op.gives
        type = join(types, dtype, self.domain)
        constants = [v.constant for v in inputs if v.constant is not None]
        constant = None
        if op.scalar is not None and len(constants) == len(inputs):
            constant = apply(op.scalar, *constants)
        if type.is_scalar and op.static is not None and all(t.static for t in types):
            type = replace(type, static=True)
        return self.node(op_name, inputs, type, name=name, constant=constant)

    def _widened(self, op: Op, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        """The inputs of an op that leaves the integers, with a float among them.

        JAX takes a quotient or root of int32 in float32, under x64 too, keeps integers in
        `round`, and lets their powers overflow.
        """
        if op.name == "where" and inputs[0].type.is_field:
            # What is chosen for each element is a field, and those hold floats.
            whole = all(side.type.dtype == "int" for side in inputs[1:])
            return (inputs[0], *map(self.as_float, inputs[1:])) if whole else inputs
        leaves = (op.gives == "float" and op.name != "float") or op.name == "pow"
        if not leaves or any(v.type.is_field or v.type.dtype != "int" for v in inputs):
            return inputs
        if op.static is not None and all(v.type.static for v in inputs):
            return inputs
        return (self.as_float(inputs[0]), *inputs[1:])

    def as_float(self, value: Value) -> Value:
        """An integer scalar as a float; everything else as it is."""
        if not (value.type.is_scalar and value.type.dtype == "int"):
            return value
        if value.constant is not None:
            return self.constant(float(value.constant))
        return self.apply("float", value)

    # ---- values that change

    def new_cell(self, cell: Cell, value: Value) -> int:
        """Something that changes, with its value now; the key finds it in `cells`."""
        key = len(self.cell_info)
        self.cell_info[key] = replace(cell, domain=self.domain)
        self.cells[key] = value
        return key

    @contextmanager
    def open_block(self, kind: BlockKind, arguments: Sequence[Value] = ()) -> Iterator[Block]:
        """A nested block; the caller makes it a region with `close`."""
        block = Block(kind, len(self.cell_info))
        block.defined.update(v.id for v in arguments)
        self.frame.blocks.append(block)
        yield block
        self.frame.blocks.pop()

    def argument(self, type: Type, name: str | None = None) -> tuple[DraftNode, Value]:
        """An argument of a region that is about to be built."""
        type = dynamic(type)
        node = DraftNode(id=self.fresh(), op="argument", inputs=(), type=type, name=name)
        self.made[node.id] = node
        return node, Value(node.id, type)

    def branch(
        self,
        condition: Value,
        then: Callable[[], Value | None],
        otherwise: Callable[[], Value | None],
        name: str = "",
    ) -> Value | None:
        """An `if`: both sides become regions; what either changes becomes a result.

        Returns the value that both sides return, if they do.
        """
        before = dict(self.cells)
        sides: list[tuple[Block, Value | None, dict[int, Value]]] = []
        for side in (then, otherwise):
            self.cells = dict(before)
            with self.open_block("branch") as block:
                returned = side()
            sides.append((block, returned, self.cells))
        keys = self._changed(before, sides[0][2], sides[1][2])
        self.cells = before
        regions, types = [], [self._here(self.cell_info[key].type) for key in keys]
        names = [self.cell_info[key].name for key in keys]
        for block, returned, cells in sides:
            results = [cells.get(key, before.get(key, MISTAKE)) for key in keys]
            results += [returned] if returned is not None else []
            results = self._handed_out(block, results)
            nodes, ids = tuple(block.nodes), tuple(v.id for v in results)
            regions.append(DraftRegion(nodes=nodes, results=ids))
        returns = [r.type for _, r, _ in sides if r is not None]
        if any(t.is_unknown for t in returns) or condition.type.is_unknown:
            return MISTAKE if returns else None
        if returns:
            types.append(self._here(_widest(returns)))
            names.append(name)
        values = self._items(self._control("if", (condition,), regions), types, names)
        for key, value in zip(keys, values, strict=False):
            self.cells[key] = value
        return values[-1] if returns else None

    def _changed(self, before: dict[int, Value], *after: dict[int, Value]) -> list[int]:
        # A state that one side declares lives on: outside that side it is what was stored.
        for cells in after:
            for key in cells.keys() - before.keys():
                if (slot := self.cell_info[key].slot) >= 0:
                    before[key] = self.read(slot, self.cell_info[key])
        changed = [
            key
            for key, old in sorted(before.items())
            if any(cells.get(key, old).id != old.id for cells in after)
        ]
        # What both sides make is there after them.
        made = set.intersection(*(set(cells) for cells in after)) - before.keys()
        return changed + sorted(made)

    def read(self, slot: int, cell: Cell) -> Value:
        """The stored value of a state, as the step finds it."""
        return self.input("state", slot, cell.type, cell.name)

    def _control(self, op: str, inputs: Sequence[Value], regions: Sequence[DraftRegion]) -> Value:
        return self.node(op, inputs, TUPLE, regions=tuple(regions))

    def _items(self, source: Value, types: Sequence[Type], names: Sequence[str]) -> list[Value]:
        return [
            self.node(
                "item", (source,), dynamic(type), name=name or None, attributes={"index": place}
            )
            for place, (type, name) in enumerate(zip(types, names, strict=True))
        ]

    def loop(
        self,
        count: Value,
        keys: Sequence[int],
        body: Callable[[], None],
        condition: Callable[[], Value] | None,
    ) -> None:
        """A bounded loop that changes the cells `keys`; stops early when `condition` fails."""
        before = dict(self.cells)
        regions = []
        sides = [("body", body)] + ([("while", condition)] if condition else [])
        for which, side in sides:
            infos = [self.cell_info[key] for key in keys]
            arguments = [self.argument(self._here(info.type), info.name) for info in infos]
            index_node, index = self.argument(Type("scalar", "int"), "i")
            self.cells = before | {k: v for k, (_, v) in zip(keys, arguments, strict=True)}
            with self.open_block("loop", [index, *(v for _, v in arguments)]) as block:
                block.index = index if which == "body" else None
                tested = side()
            if which == "body":
                results = self._handed_out(block, [self.cells[key] for key in keys])
            else:
                results = [tested or MISTAKE]
            own = [index_node] if which == "body" else []
            nodes = (*own, *(n for n, _ in arguments), *block.nodes)
            ids = tuple(v.id for v in results)
            names = (*(n.id for n in own), *(n.id for n, _ in arguments))
            regions.append(DraftRegion(arguments=names, nodes=nodes, results=ids))
        self.cells = before
        initial = [self.restricted(before[key]) for key in keys]
        loop = self._control("loop", (count, *initial), regions)
        if loop.type.is_unknown:
            self.cells.update(dict.fromkeys(keys, MISTAKE))
            return
        types = [self._here(info.type) for info in infos]
        items = self._items(loop, types, [info.name for info in infos])
        self.cells.update(zip(keys, items, strict=True))

    def stagger(self, period: Value, count: Value, body: Callable[[], None]) -> None:
        """Work on each tensor at one of every `period` steps: what changes, and else stays."""
        before = dict(self.cells)
        self.cells = dict(before)
        with self.open_block("turn") as block:
            body()
        after, self.cells = self.cells, before
        keys = [k for k, old in sorted(before.items()) if after.get(k, old).id != old.id]
        kept = [self.restricted(before[key]) for key in keys]
        fresh = [after[key] for key in keys]
        if not keys or any(value.type.is_unknown for value in fresh):
            self.cells.update(dict.fromkeys(keys, MISTAKE))
            return
        own = tuple(self._without_numbers(block))
        region = DraftRegion(nodes=own, results=tuple(v.id for v in fresh))
        infos = [self.cell_info[key] for key in keys]
        staggered = self._control("stagger", (period, count, *kept), [region])
        types = [self._here(info.type) for info in infos]
        items = self._items(staggered, types, [info.name for info in infos])
        self.cells.update(zip(keys, items, strict=True))

    def _without_numbers(self, block: Block) -> Iterator[DraftNode]:
        """What is work on each tensor; arithmetic of numbers is done outside, for all of them."""
        own: set[int] = set()
        for node in block.nodes:
            is_number = node.type.is_scalar and OPS[node.op].op_class in ("elementwise", "leaf")
            if is_number and node.op != "item" and own.isdisjoint(node.inputs):
                self.block.nodes.append(node)
                self.block.defined.add(node.id)
            else:
                own.add(node.id)
                yield node

    def restricted(self, value: Value) -> Value:
        """A field as the current domain sees it, for what looks at all its tensors at once."""
        type = self._here(value.type)
        return value if type == value.type else self.node("restrict", (value,), type)

    def _here(self, type: Type) -> Type:
        """The type of a value that has no tensors but those of the current domain."""
        if not type.is_field or is_within(self.domains, type.domain, self.domain):
            return type
        return replace(type, domain=self.domain)

    def _handed_out(self, block: Block, values: Sequence[Value]) -> list[Value]:
        """What a block results in: each side of a choice, and each round, has the same tensors."""
        self.frame.blocks.append(block)
        restricted = [self.restricted(value) for value in values]
        self.frame.blocks.pop()
        return restricted

    def merge(self, domain: int, inside: Value, outside: Value, name: str | None = None) -> Value:
        """A value that is `inside` for the tensors of `domain` and `outside` for the others."""
        if inside.id == outside.id:
            return inside
        types = (inside.type, outside.type)
        type = _widest(types)
        if type.is_scalar:
            type = Type("field", type.dtype, "tensor")
        type = replace(type, domain=self.domain, static=False)
        return self.node("merge", (inside, outside), type, name=name, attributes={"domain": domain})

    def choose(
        self,
        inside: int,
        outside: int,
        then: Callable[[], Value | None],
        otherwise: Callable[[], Value | None],
    ) -> Value | None:
        """A choice by tensor: each side is built for its tensors, and what they change merges."""
        before = dict(self.cells)
        sides: list[tuple[Value | None, dict[int, Value]]] = []
        for domain, side in ((inside, then), (outside, otherwise)):
            self.cells = dict(before)
            with self.in_domain(domain):
                returned = side()
            sides.append((returned, self.cells))
        (first, ours), (second, theirs) = sides
        self.cells = before | {k: v for k, v in (ours | theirs).items() if k not in before}
        for key, old in before.items():
            mine, other = ours.get(key, old), theirs.get(key, old)
            if mine.id != old.id or other.id != old.id:
                self.cells[key] = self.merge(inside, mine, other)
        if first is None or second is None:
            return None
        return self.merge(inside, first, second)


def _widest(types: Sequence[Type]) -> Type:
    """The type that holds values of any of these."""
    dtypes = {t.dtype for t in types}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float"
    kinds = {t.kind for t in types}
    if kinds <= {"scalar", "field"}:
        return join(tuple(types), dtype, max(t.domain for t in types))
    return dynamic(types[0])
