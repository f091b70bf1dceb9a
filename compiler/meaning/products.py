"""Products of matrices as formulas: sums of words, whose letters are matrices of no more structure.

A product is associative, is linear on both sides, and is transposed letter by letter from behind;
so `(a + b) @ c` and `a @ c + b @ c` are one sum of words, and so are `(a @ b).T` and `b.T @ a.T`. A
word is an atom, and a sum of them a value like any other, of which is kept here what it is a sum
of. The empty word is the identity. Scalars stand before words; what is known of factors is that
they do not see one (`polar`), or see it as a power (`inverse_root`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .algebra import Algebra
from .values import Value

_MOST_WORDS = 64
_LONGEST = 64

_NO_SCALE = ("orthonormal", "polar", "eigenbasis", "argsort")
"""Functions of a matrix that are those of any positive multiple of it."""

_SYMMETRIC = ("inverse_root", "matrix_power")


@dataclass(frozen=True, slots=True)
class Letter:
    """A matrix in a word, or its transpose."""

    value: Value
    form: str
    transposed: bool = False

    @property
    def key(self) -> str:
        """What tells it from other letters."""
        return f"{self.value.key} {self.form} {self.transposed}"


Word = tuple[Letter, ...]
_Sum = dict[tuple[str, ...], tuple[Value, Word]]


class Products:
    """The sums of words that were seen, by the values that they are and their forms."""

    def __init__(self, algebra: Algebra) -> None:
        self._algebra = algebra
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._symmetric: set[str] = set()

    def apply(
        self,
        op: str,
        values: Sequence[Value],
        forms: Sequence[str],
        attributes: Mapping[str, object],
    ) -> Value:
        """A matrix op on values of some forms, of which the last is that of the result."""
        *_, form = forms
        x, *more = values
        match op:
            case "eye":
                return self.identity(form)
            case "arange":
                return self._algebra.atom(op, form, of=more, scalar=False)
            case "onto_matrix" | "onto_vector":
                return x
            case "matmul" | "matvec":
                return self.product(x, more[0], (forms[0], forms[1]), form)
            case "transpose":
                return self.transposed(x, forms[0], form)
            case "solve" if "otherwise" not in attributes:
                return self.linear(op, more[0], (forms[1], form), sorted(attributes.items()), [x])
            case "trace" | "diagonal" | "diagonal_matrix" | "triu" | "tril" | "take":
                return self.linear(op, x, (forms[0], form), sorted(attributes.items()), more)
            case _:
                return self.factor(op, values, form, attributes)

    # ---- what is a sum of words

    def identity(self, form: str) -> Value:
        """`eye(n)`."""
        found = self._algebra.atom("eye", form, scalar=False)
        self._sums[found.key, form] = {(): (self._algebra.one, ())}
        return found

    def added(self, x: Value, y: Value, form: str, sign: int = 1) -> Value:
        """The sum or the difference of two matrices."""
        found = self._algebra.sub(x, y) if sign < 0 else self._algebra.add(x, y)
        if not found.wild and found.number is None and (found.key, form) not in self._sums:
            factor = self._algebra.number(sign)
            other = self._scaled(self._sum(y, form), factor)
            if (total := self._joined([*self._sum(x, form).values(), *other.values()])) is not None:
                self._sums[found.key, form] = total
        return found

    def product(self, x: Value, y: Value, forms: tuple[str, str], form: str) -> Value:
        """`x @ y`."""
        if x.number == 0 or y.number == 0:
            return self._algebra.zero
        left, right = (self._sum(v, f) for v, f in zip((x, y), forms, strict=True))
        pairs = [
            (self._algebra.mul(a, b), (*first, *second))
            for a, first in left.values()
            for b, second in right.values()
        ]
        total = self._joined(pairs)
        if x.wild or y.wild or total is None:
            return self._algebra.atom("product", forms, of=[x, y], scalar=False)
        return self._value(total, form)

    def transposed(self, x: Value, form_before: str, form: str) -> Value:
        """`x.T`."""
        if x.number == 0:
            return x
        terms = [(c, self._reversed(word)) for c, word in self._sum(x, form_before).values()]
        total = self._joined(terms)
        if x.wild or total is None:
            return self._algebra.atom("transposed", of=[x], scalar=False)
        return self._value(total, form)

    def _sum(self, x: Value, form: str) -> _Sum:
        """What a value is a sum of; of itself alone, if no more is known."""
        if (x.key, form) in self._sums:
            return self._sums[x.key, form]
        outside, inside = self._algebra.apart(x)
        if (inside.key, form) in self._sums:
            return self._scaled(self._sums[inside.key, form], outside)
        letter = Letter(inside, form)
        return {(letter.key,): (outside, (letter,))}

    def _scaled(self, sum: _Sum, by: Value) -> _Sum:
        return {key: (self._algebra.mul(by, c), word) for key, (c, word) in sum.items()}

    def _joined(self, terms: Sequence[tuple[Value, Word]]) -> _Sum | None:
        """Terms with equal words as one; None where they are too many."""
        total: _Sum = {}
        for coefficient, word in terms:
            key = tuple(letter.key for letter in word)
            before = total.get(key)
            after = self._algebra.add(before[0], coefficient) if before else coefficient
            total[key] = after, word
        total = {key: term for key, term in total.items() if term[0].number != 0}
        fits = len(total) <= _MOST_WORDS and all(len(key) <= _LONGEST for key in total)
        return total if fits else None

    def _reversed(self, word: Word) -> Word:
        return tuple(
            letter
            if letter.value.key in self._symmetric
            else Letter(letter.value, letter.form, not letter.transposed)
            for letter in reversed(word)
        )

    def _value(self, sum: _Sum, form: str) -> Value:
        """The value of a sum, which is known as that sum from now on."""
        total = self._algebra.zero
        for coefficient, word in sum.values():
            total = self._algebra.add(total, self._algebra.mul(coefficient, self._of(word, form)))
        self._sums[total.key, form] = sum
        return total

    def _of(self, word: Word, form: str) -> Value:
        match word:
            case ():
                return self.identity(form)
            case (Letter(transposed=False) as letter,):
                return letter.value
        keys = [letter.key for letter in word]
        of = [letter.value for letter in word]
        return self._algebra.atom("word", keys, of=of, scalar=False)

    # ---- functions of matrices

    def linear(
        self, op: str, x: Value, forms: tuple[str, str], about: object, of: Sequence[Value] = ()
    ) -> Value:
        """A function that is linear in a matrix: of each word by itself."""
        if x.wild:
            return self._algebra.atom(op, forms, about, of=[x, *of], scalar=False)
        total = self._algebra.zero
        for coefficient, word in self._sum(x, forms[0]).values():
            word = self._canonical(op, word)
            keys = [letter.key for letter in word]
            letters = [*of, *(letter.value for letter in word)]
            # Letters say of which sides they are, and the trace of a word is that of others too.
            sides = () if word else forms
            found = self._algebra.atom(op, sides, about, keys, of=letters, scalar=False)
            total = self._algebra.add(total, self._algebra.mul(coefficient, found))
        return total

    def _canonical(self, op: str, word: Word) -> Word:
        """The word of those that have the same trace or diagonal."""
        if op not in ("trace", "diagonal"):
            return word
        same = [word, self._reversed(word)]
        if op == "trace":
            same = [(*each[n:], *each[:n]) for each in same for n in range(len(each) or 1)]
        return min(same, key=lambda each: [letter.key for letter in each])

    def factor(
        self, op: str, inputs: Sequence[Value], form: str, attributes: Mapping[str, object]
    ) -> Value:
        """A factor, root or power of a matrix."""
        about = sorted(attributes.items())
        if "otherwise" in attributes:
            return self._algebra.atom(op, form, about, of=inputs, scalar=False)
        x, *more = inputs
        outside, inside = self._algebra.apart(x, positive=True)
        found = self._algebra.atom(op, form, about, of=[inside, *more], scalar=False)
        if op in _SYMMETRIC:
            self._symmetric.add(found.key)
        if op in _NO_SCALE:
            return found
        return self._algebra.mul(self._scales[op](self._algebra, outside, *more), found)

    _scales: Mapping[str, Callable[..., Value]] = {
        "inverse_root": lambda a, c, k: a.pow(c, a.neg(a.inverse(k))),
        "matrix_power": lambda a, c, p: a.pow(c, p),
        "cholesky": lambda a, c: a.root(c),
        "eigenvalues": lambda a, c: c,
    }
    """What becomes of a positive factor."""
