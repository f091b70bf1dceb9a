"""The statements of one printed function, before they have names."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..graph import Node
from ..plan import Kernel


@dataclass
class Inner:
    """A nested function: what it is called, what it takes, its statements, its results.

    `captured` are the variables that it uses of the functions around it. A side of a static
    choice is not a function: it is `inline`, and its variables are those of the function it is in.
    """

    name: str
    arguments: tuple[int, ...]
    statements: "list[Statement]"
    results: tuple[int, ...]
    captured: set[int]
    inline: bool = False


@dataclass
class Statement:
    """One assignment, or control flow with nested functions.

    `uses` are the variables that it reads (ids, and minus a domain for a tensor set), those of
    its nested functions included. `after` are values that were made of what staggered work
    keeps, and are made before it.
    """

    defines: tuple[int, ...]
    uses: set[int]
    stage: int = -1
    domain: int = 0
    node: Node | None = None
    kernel: Kernel | None = None
    inner: list[Inner] = field(default_factory=list)
    after: tuple[int, ...] = ()


def last_uses(statements: list[Statement], end: set[int]) -> dict[int, int]:
    """The place of each value's last use; values used at the `end` live past every place."""
    last = {id: place for place, s in enumerate(statements) for id in s.uses}
    return last | dict.fromkeys(end, len(statements))


def runs(statements: list[Statement]) -> Iterator[tuple[int, list[Statement]]]:
    """Consecutive statements of one stage."""
    run: list[Statement] = []
    for statement in statements:
        if run and statement.stage != run[-1].stage:
            yield run[-1].stage, run
            run = []
        run.append(statement)
    if run:
        yield run[-1].stage, run


class Names:
    """Variables of one function and of the functions nested in it.

    A name is bound again only where the value that it held is dead. Nested functions never
    bind a name that they use of the functions around them, which would hide it.
    """

    def __init__(self, hints: "dict[int, str]", reserved: set[str]) -> None:
        self._hints = hints
        self._reserved = set(reserved)
        self._names: dict[int, str] = {}
        self._same: dict[int, int] = {}

    def __call__(self, id: int) -> str | None:
        """The variable of a value, or None when it has none."""
        return self._names.get(self._find(id))

    def reserve(self, name: str) -> None:
        """Keep a name for a nested function."""
        self._reserved.add(name)

    def fix(self, id: int, name: str) -> None:
        """Give a value a name of our own choice."""
        self._names[id] = name

    def unite(self, one: int, other: int) -> None:
        """Let two values share one variable."""
        self._same[self._find(one)] = self._find(other)

    def _find(self, id: int) -> int:
        while id in self._same:
            id = self._same[id]
        return id

    def assign(
        self,
        statements: list[Statement],
        end: set[int],
        given: tuple[int, ...] = (),
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """Name what `given` and the statements define. `taken` are names of outer functions."""
        last: dict[int, int] = {}
        for id, place in last_uses(statements, end).items():
            root = self._find(id)
            last[root] = max(last.get(root, -1), place)
        holders: dict[str, int] = {}
        for id in given:
            self._bind(id, -1, holders, last, taken)
        for place, statement in enumerate(statements):
            for inner in statement.inner:
                ends = set(inner.results)
                names = frozenset(n for id in inner.captured if (n := self(id)) is not None)
                if inner.inline:
                    alive = {n for n, root in holders.items() if last.get(root, -1) >= place}
                    names |= taken | alive
                self.assign(inner.statements, ends, inner.arguments, names)
            for id in statement.defines:
                self._bind(id, place, holders, last, taken)

    def _bind(
        self,
        id: int,
        place: int,
        holders: dict[str, int],
        last: dict[int, int],
        taken: frozenset[str],
    ) -> None:
        root = self._find(id)
        if root in self._names:
            holders.setdefault(self._names[root], root)
            return
        wanted = self._hints[id]
        wanted = f"{wanted}_" if wanted in self._reserved else wanted
        name, count = wanted, 1
        while name in taken or not self._is_free(name, place, holders, last):
            count += 1
            name = f"{wanted}_{count}"
        self._names[root] = name
        holders[name] = root

    @staticmethod
    def _is_free(name: str, place: int, holders: dict[str, int], last: dict[int, int]) -> bool:
        holder = holders.get(name)
        return holder is None or (place >= 0 and last.get(holder, -1) <= place)
