"""A reader of text boxes: it knows nothing of graphs, and runs what a person reads.

A field is one array, so a box is only run on weights that are one tensor: a flat one, or a matrix.
Two matrices side by side are a product then, as they are in a box that has products of matrices.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from optc.compiler import matrices

_SMALL = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵗ", "0123456789+-t")
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵗ"
_NUMBER = r"([0-9]+(?:\.[0-9]+)?×)?10([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|[0-9]+(?:\.[0-9]+)?"
_WORDS = ("and", "if", "otherwise", "mod")


def _norm(x):
    return np.sqrt(np.sum(np.square(x)))


FUNCTIONS: dict[str, Callable] = {
    **{name: getattr(np, name) for name in ("sign", "exp", "log", "log1p", "expm1", "sin", "cos")},
    **{name: getattr(np, name) for name in ("tan", "sinh", "cosh", "tanh", "arctan2", "arctan")},
    **{name: getattr(np, name) for name in ("floor", "ceil", "round", "sum", "mean", "all", "any")},
    "max": lambda *xs: np.maximum(*xs) if len(xs) == 2 else np.max(xs[0]),
    "min": lambda *xs: np.minimum(*xs) if len(xs) == 2 else np.min(xs[0]),
    "clamp": np.clip,
    "finite": np.isfinite,
}
FUNCTIONS |= {
    **{name: getattr(matrices, name) for name in ("polar", "eigenbasis", "triu", "tril", "trace")},
    **{
        f"take_{name}": lambda x, i, a=axis: matrices.take(x, i, axis=a)
        for name, axis in (("rows", -2), ("columns", -1))
    },
    "interpolate": lambda x, *points: np.interp(x, *zip(*points, strict=True)),
    "orth": matrices.orthonormal,
    "chol": matrices.cholesky,
    "tr": lambda a: np.trace(a),
    "diag": lambda a: matrices.diagonal(a) if np.ndim(a) == 2 else matrices.diagonal_matrix(a),
    "argsort": lambda v, descending=False: matrices.argsort(v, descending=descending),
    "arange": lambda n: np.arange(int(n)),
    "length": lambda x, axis: float(np.shape(x)[axis]),
    "norm_matrix": _norm,
}
# The weights are one tensor.
FUNCTIONS |= {f"{name}_tensor": FUNCTIONS[name] for name in ("sum", "mean", "max", "min")}

_IS_DECIDED = re.compile(r'\(?(not )?\(?((group|ndim|rows|cols|size|path)\b|\w+ [=≠] ")')
"""Of a choice that is made before the step: by tensor, or by a text."""

TITLES = ("given", "state", "groups", "refused", "to begin", "step t = 1, 2, ...", "to evaluate")

COMPARISONS = {
    "<": np.less,
    "≤": np.less_equal,
    ">": np.greater,
    "≥": np.greater_equal,
    "=": np.equal,
    "≠": np.not_equal,
}


@dataclass
class Identity:
    """A number times the identity, of whatever size there is."""

    scale: float = 1.0

    __array_ufunc__ = None  # so that NumPy leaves a sum to it

    def of(self, size: int):
        return self.scale * np.eye(size)

    def __truediv__(self, other):
        return Identity(self.scale / other)

    def __add__(self, other):
        return self.of(len(other)) + other if np.ndim(other) else Identity(self.scale + other)

    __radd__ = __add__


class Each(float):
    """The exponent of a power of each element."""


def times(x, y):
    """A product: of matrices where both are."""
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Identity):
            scaled = isinstance(other, Identity) or np.ndim(other) == 0
            factor = other.scale if isinstance(other, Identity) else other
            return Identity(one.scale * factor) if scaled else one.scale * other
    if np.ndim(x) == 2 and np.ndim(y) and np.shape(x)[-1] > 1 and np.shape(y) != (1, 1):
        return x @ y
    return x * y


def raised_to(x, exponent):
    """A power: of a matrix, but where the exponent says that it is one of each element."""
    if isinstance(x, Identity):
        return Identity(x.scale**exponent)
    if isinstance(exponent, Each) or np.ndim(x) < 2:
        return np.power(x, exponent)
    return matrices.matrix_power(x, exponent)


@dataclass
class Expression:
    """One formula on its way: a recursive descent over its text."""

    text: str
    values: dict[str, object]
    functions: dict[str, Callable]
    place: int = 0

    def read(self):
        """The value of the whole text."""
        value = self._either()
        self._skip()
        assert self.place == len(self.text), f"left over: {self.text[self.place :]!r}"
        return value

    def _either(self):
        value = self._both()
        while self._take("∨"):
            value = np.logical_or(value, self._both())
        return value

    def _both(self):
        value = self._comparison()
        while self._take("∧"):
            value = np.logical_and(value, self._comparison())
        return value

    def _comparison(self):
        if self._take("¬"):
            return np.logical_not(self._atom())
        value = self._sum()
        for sign, compare in COMPARISONS.items():
            if self._take(sign):
                other = self._sum()
                if isinstance(value, str):
                    return (value == other) == (sign == "=")
                return compare(value, other)
        return value

    def _sum(self):
        value = self._quotient()
        while True:
            if self._take("+"):
                value = value + self._quotient()
            elif self._take("−"):
                value = value - self._quotient()
            else:
                return value

    def _quotient(self):
        value = self._product()
        while True:
            if self._take("/"):
                value = value / self._power()
            elif self._take("⊙"):
                value = np.multiply(value, self._product())
            else:
                return value

    def _product(self):
        if self._take("−"):
            return -self._product()
        value = self._power()
        while True:
            if self._take("·") or self._is_factor():
                value = times(value, self._power())
            elif self._take("mod "):
                value = np.mod(value, self._power())
            else:
                return value

    def _is_factor(self) -> bool:
        """Whether a space and something that begins a value follow: a product."""
        rest = self.text[self.place :]
        found = re.match(r" +(?=[\w(√‖⟨|∇])", rest)
        if not found or re.match(rf" +({'|'.join(_WORDS)})\b", rest):
            return False
        self.place += found.end()
        return True

    def _power(self):
        value = self._atom()
        raised = ""
        while self.place < len(self.text) and self.text[self.place] in _RAISED:
            raised += self.text[self.place]
            self.place += 1
        if raised:
            shown = raised.translate(_SMALL)
            if shown == "-1" and np.ndim(value) == 2:
                return np.linalg.inv(value)
            return value ** (self.values["t"] if shown == "t" else float(shown))
        if self.text.startswith("ᵀ", self.place):
            self.place += 1
            value = value.T if np.ndim(value) == 2 else value
        if self.text.startswith("^", self.place):
            self.place += 1
            return raised_to(value, self._atom())
        return value

    def _atom(self):
        self._skip()
        rest = self.text[self.place :]
        for name in sorted(self.functions, key=len, reverse=True):
            if rest.startswith(f"{name}("):
                self.place += len(name) + 1
                return self.functions[name](*self._until(")"))
        for opening, closing, meaning in (
            ("(", ")", lambda *xs: xs[0] if len(xs) == 1 else xs),
            ("‖", "‖", _norm),
            ("⟨", "⟩", lambda x, y: np.sum(x * y)),
            ("|", "|", np.abs),
        ):
            if rest.startswith(opening):
                self.place += 1
                value = meaning(*self._until(closing))
                return self._per(value)
        if quoted := re.match('"([^"]*)"', rest):
            self.place += quoted.end()
            return quoted[1]
        if rest.startswith("⊙"):
            self.place += 1
            return Each(self._atom())
        if rest.startswith("√"):
            self.place += 1
            return np.sqrt(self._atom())
        if rest.startswith(("−", "-")) and re.match(r"[−-][\d∞]", rest):
            self.place += 1
            return -self._atom()
        found = re.match(_NUMBER, rest)
        if found:
            self.place += found.end()
            digits, power = found.groups()
            if power:
                return float(f"{digits[:-1] if digits else 1}e{power.translate(_SMALL)}")
            return float(found.group())
        for name in sorted(self.values, key=len, reverse=True):
            if rest.startswith(name):
                self.place += len(name)
                return self.values[name]
        raise AssertionError(f"nothing is called like the start of {rest!r}")

    def _per(self, value):
        """A norm of the one tensor, which is the one matrix too."""
        for part in ("_tensor", "_matrix"):
            self.place += len(part) * self.text.startswith(part, self.place)
        return value

    def _until(self, closing: str) -> list:
        values = [self._either()]
        while self._take(", "):
            values.append(self._either())
        assert self._take(closing), f"{closing} expected: {self.text[self.place :]!r}"
        return values

    def _take(self, sign: str) -> bool:
        place = self.place
        self._skip()
        if self.text.startswith(sign, self.place):
            self.place += len(sign)
            return True
        self.place = place
        return False

    def _skip(self) -> None:
        while self.text.startswith(" ", self.place):
            self.place += 1


@dataclass
class Reader:
    """Runs a text box: `values` holds what every symbol stands for at the moment."""

    text: str
    functions: dict[str, Callable]
    values: dict[str, object] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    observed: dict[str, float] = field(default_factory=dict)
    count: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    """What is asked of tensors: `group NAME` is in `groups`."""

    def __post_init__(self) -> None:
        given = self._section("given")
        state = self._section("state")
        self._start = self._section("to begin")
        self._step = self._section("step t = 1, 2, ...")
        self._evaluation = self._section("to evaluate")
        self.values |= {"π": np.pi, "∞": np.inf, "true": True, "false": False, "I": Identity()}
        self.values |= {"axis -2": -2, "axis -1": -1, "descending": True}
        self.functions = FUNCTIONS | self.functions
        for row in given:
            symbol, rest = (part.strip() for part in row.split(" = ", 1))
            self.values[symbol] = self._value(re.split(" {2,}", rest)[0])
        rows = [row for row in state if _depth(row) == 4]  # what goes on has more before it
        self._states = [row.split(" = ", 1) for row in rows]

    def _section(self, title: str) -> list[str]:
        """The rows below a title, as far as the next one."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line == title:
                break
        rows: list[str] = []
        for line in lines:
            if line in TITLES:
                break
            rows.append(line)
        return [row for row in rows if row.startswith("    ") and not re.match(r" *\d+ \| ", row)]

    def start(self, weights) -> None:
        """The values of a fresh state."""
        self.values["θ₀"] = self.values["θₜ₋₁"] = weights
        self.values["𝟏"] = np.ones_like(weights)
        self._run(list(_joined(self._start)))
        for left, rest in self._states:
            symbol, (value, slot) = left.strip(), re.split(" {2,}", rest)[:2]
            self.slots[slot] = symbol
            found = self._value(value)
            self.values[symbol] = found
            self.values[_later(symbol, "ₜ₋₁")] = found

    def step(self) -> None:
        """Each line of a step in its order, and the new values become the old ones."""
        self.count += 1
        self.values["t"] = self.count
        self._run(list(_joined(self._step)))

    def turn(self) -> None:
        """What this step wrote is what the next one finds."""
        for symbol in ["θ₀", *self.slots.values()]:
            self.values[_later(symbol, "ₜ₋₁")] = self.values.get(
                _later(symbol, "ₜ"), self.values[symbol]
            )

    def slot(self, name: str):
        """The value of a slot after a step."""
        symbol = self.slots[name]
        return self.values.get(_later(symbol, "ₜ"), self.values[symbol])

    def evaluate(self):
        """The weights to evaluate with."""
        if not self._evaluation:
            return self.values["θₜ"]
        self._run(list(_joined(self._evaluation)))
        return self.values["θ_eval"]

    def _value(self, text: str):
        return Expression(text.strip(), self.values, self.functions).read()

    def _run(self, rows: list[str]) -> None:
        place = 0
        done = True
        while place < len(rows):
            row = rows[place]
            block = place + 1
            while block < len(rows) and _depth(rows[block]) > _depth(row):
                block += 1
            inner, text = rows[place + 1 : block], row.strip()
            place = block
            if text.startswith("if "):
                done = bool(self._value(text[3:].removesuffix(":")))
                self._run(inner if done else [])
            elif text.startswith("else if "):
                if not done:
                    done = bool(self._value(text[8:].removesuffix(":")))
                    self._run(inner if done else [])
            elif text.startswith("for "):
                self._run(inner if self._holds(text[4:].removesuffix(":")) else [])
            elif text.startswith("every "):
                period = int(self._value(text.removeprefix("every ").partition(" steps")[0]))
                done = (self.count - 1) % period == 0
                self._run(inner if done else [])
            elif text == "else:":
                self._run([] if done else inner)
            elif text.startswith("repeat "):
                self._repeat(text.removeprefix("repeat ").removesuffix(":"), inner)
            elif text.startswith("with "):
                for pair in text.removeprefix("with ").split(", "):
                    symbol, value = pair.split(" = ")
                    self.values[symbol] = self._value(value)
            elif text.startswith("report "):
                name, _, formula = text.removeprefix("report ").partition(" = ")
                self.observed[name] = self._value(formula or name)
            elif text.startswith("nothing of its own"):
                pass
            else:
                self._assign(text)

    def _repeat(self, head: str, inner: list[str]) -> None:
        count, _, condition = head.partition(" times")
        condition = condition.removeprefix(" while ")
        for _ in range(int(self._value(count))):
            if condition and not self._value(condition):
                break
            self._run(inner)

    def _assign(self, text: str) -> None:
        left, value = (part.strip() for part in text.split("←", 1))
        if value.startswith("⎧"):
            self.values[left] = self._cases(re.split("[⎧⎨⎩]", value)[1:])
            return
        targets = [target.strip() for target in left.split(", ")]
        found = [self._value(part) for part in _arguments(value)]
        self.values |= zip(targets, found, strict=True)

    def _cases(self, rows: list[str]):
        """A choice; a side that is not decided for may speak of what was never worked out."""
        first, *rest = (row.strip() for row in rows)
        if not rest:
            return self._value(first.removesuffix("otherwise").strip())
        value, _, condition = first.rpartition(" if ")
        if _IS_DECIDED.match(condition):
            return self._value(value.strip()) if self._holds(condition) else self._cases(rest)
        found, other = self._value(value.strip()), self._cases(rest)
        if condition == "finite":
            return found if isinstance(found, Identity) or np.all(np.isfinite(found)) else other
        return np.where(self._value(condition), found, other)

    def _holds(self, words: str) -> bool:
        """Whether words about tensors hold for this one."""
        for sign, python in (("≥", ">="), ("≤", "<="), ("≠", "!="), (" = ", " == ")):
            words = words.replace(sign, python)
        words = re.sub(r"group (\w+)", r"('\1' in groups)", words)
        words = re.sub(r'path matches ("[^"]*")', r"search(\1, path)", words)
        return bool(eval(words, {"__builtins__": {}, "search": re.search, **self.facts}))


def _joined(rows: list[str]) -> Iterator[str]:
    """The rows with their further lines: cases, and what was too long for one line."""
    held = ""
    for row in rows:
        starts = re.search(r"[←∼]", row) or re.match(
            r" *(if|else|repeat|every|with|report|for|nothing)\b", row
        )
        if held and not starts:
            held += " " + row.strip()
            continue
        if held:
            yield held
        held = row
    if held:
        yield held


def _depth(row: str) -> int:
    return len(row) - len(row.lstrip())


def _later(symbol: str, time: str) -> str:
    """The symbol of a fresh state as it is at another time."""
    return symbol[:-1] + time if symbol.endswith("₀") else symbol


def _arguments(text: str) -> list[str]:
    """The parts between the commas that stand in no brackets; those of subscripts have no space."""
    parts = [""]
    for part in text.split(", "):
        open = sum(parts[-1].count(c) for c in "(⟨") > sum(parts[-1].count(c) for c in ")⟩")
        if open:
            parts[-1] += f", {part}"
        else:
            parts.append(part)
    return parts[1:]
