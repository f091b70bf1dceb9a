"""The letters of papers: one table of what names are written as, and who has which symbol."""

from dataclasses import dataclass, field, replace
from typing import Literal

from .tree import Symbol

LETTERS: dict[str, tuple[str, str]] = {
    "alpha": ("α", r"\alpha"),
    "beta": ("β", r"\beta"),
    "gamma": ("γ", r"\gamma"),
    "delta": ("δ", r"\delta"),
    "Delta": ("Δ", r"\Delta"),
    "epsilon": ("ε", r"\epsilon"),
    "zeta": ("ζ", r"\zeta"),
    "eta": ("η", r"\eta"),
    "theta": ("θ", r"\theta"),
    "kappa": ("κ", r"\kappa"),
    "lambda": ("λ", r"\lambda"),
    "mu": ("μ", r"\mu"),
    "nu": ("ν", r"\nu"),
    "xi": ("ξ", r"\xi"),
    "pi": ("π", r"\pi"),
    "rho": ("ρ", r"\rho"),
    "sigma": ("σ", r"\sigma"),
    "tau": ("τ", r"\tau"),
    "phi": ("φ", r"\varphi"),
    "omega": ("ω", r"\omega"),
}
"""Greek letters: as characters, and in LaTeX."""

HYPERPARAMETERS = {
    "lr": "eta",
    "b": "beta",
    "eps": "epsilon",
    "decay": "lambda",
    "lambd": "lambda",
    "momentum": "mu",
}
"""What hyperparameters of the usual names are written as."""

STATES = {
    "mu": "m",
    "nu": "v",
    "trace": "b",
    "exp_avg": "m",
    "exp_avg_sq": "v",
    "init_params": "theta_init",
    "params0": "theta_init",
}
"""What states are called by optax, and in papers."""

VALUES = {
    "w": "theta",
    "w_next": "theta~",
    "point": "theta^",
    "eta": "eta_t",
    "step": "Delta",
    **STATES,
}
"""What other values are called in specs, and in papers."""

SIGNS: dict[str, tuple[str, str]] = {
    "L": ("L", "L"),
    "G": ("G", "G"),
    "F": ("F", "F"),
    "B": ("B", "B"),
    "∇L": ("∇L", r"\nabla L"),
    "∇²L": ("∇²L", r"\nabla^2 L"),
    "∇ℓ": ("∇ℓ", r"\nabla \ell"),
    "∇ℓₛ": ("∇ℓₛ", r"\nabla \ell_s"),
    "F₁": ("F₁", "F_1"),
    "F₂": ("F₂", "F_2"),
    "∇Lᵢ": ("∇Lᵢ", r"\nabla L_i"),
    "Jᵀ": ("Jᵀ", r"J^\top"),
    "N(0, I)": ("N(0, I)", r"\mathcal{N}(0, I)"),
    "N(0, 1)": ("N(0, 1)", r"\mathcal{N}(0, 1)"),
    "U[0, 1)": ("U[0, 1)", r"\mathcal{U}[0, 1)"),
    "±1": ("±1", r"\pm 1"),
    "𝟏": ("𝟏", r"\mathbf{1}"),
    "⊤": ("ᵀ", r"\top"),
    "I": ("I", "I"),
    "ℒ": ("ℒ", r"\mathcal{L}"),
    "∇ℒ": ("∇ℒ", r"\nabla \mathcal{L}"),
    "∇²ℒ": ("∇²ℒ", r"\nabla^2 \mathcal{L}"),
    "∇ℒᵢ": ("∇ℒᵢ", r"\nabla \mathcal{L}_i"),
    "∞": ("∞", r"\infty"),
    "π": ("π", r"\pi"),
    "min": ("min", r"\min"),
    "max": ("max", r"\max"),
    "exp": ("exp", r"\exp"),
    "log": ("log", r"\log"),
    "sin": ("sin", r"\sin"),
    "cos": ("cos", r"\cos"),
    "tan": ("tan", r"\tan"),
    "sinh": ("sinh", r"\sinh"),
    "cosh": ("cosh", r"\cosh"),
    "tanh": ("tanh", r"\tanh"),
    "arcsin": ("arcsin", r"\arcsin"),
    "arccos": ("arccos", r"\arccos"),
    "arctan": ("arctan", r"\arctan"),
}
"""Signs and functions that mathematics knows: as characters, and in LaTeX. Others are words."""

RELATIONS: dict[str, tuple[str, int]] = {
    "↦": (r"\mapsto", 0),
    "∨": (r"\vee", 1),
    "∧": (r"\wedge", 2),
    "<": ("<", 6),
    "≤": (r"\le", 6),
    ">": (">", 6),
    "≥": (r"\ge", 6),
    "=": ("=", 6),
    "≠": (r"\ne", 6),
    "matches": (r"\text{ matches }", 6),
    "+": ("+", 10),
    "-": ("-", 10),
    "⊙": (r"\odot", 11),
    "·": ("", 12),
    "mod": (r"\bmod", 12),
}
"""What stands between two operands: in LaTeX, and how tightly it binds."""

PREFIXES: dict[str, tuple[str, int]] = {"-": ("-", 13), "¬": (r"\neg ", 3), "⊙": (r"\odot ", 13)}
"""What stands before an operand: in LaTeX, and how tightly it binds."""

_STEMS = ("b", "eps", "mu", "nu")
"""Names of the tables that may be the first part of a longer one, as in `eps_root`."""

Role = Literal["hyperparameter", "state", "value"]

_SPARE = "abcdeijkpqrsxyzABCDEGHKMNPQRSUVWXYZ"
"""Letters for values without a name, in this order."""


def symbol(name: str, role: Role = "value") -> Symbol:
    """What a name of a spec is written as, whoever else is: `b1` is β₁ and `v_row` v with a row."""
    table = {"hyperparameter": HYPERPARAMETERS, "state": STATES, "value": VALUES}[role]
    if name in table:
        return _read(table[name])
    first, *rest = name.split("_")
    if role == "state" and rest and rest[-1] in STATES:
        return replace(_read(STATES[rest[-1]]), below=(name.rpartition("_")[0],))
    if role == "state" and rest[1:] and rest[-1].isdigit() and rest[-2] in STATES:
        return replace(_read(STATES[rest[-2]]), below=("_".join((first, *rest[:-2])), rest[-1]))
    letter = first.rstrip("0123456789")
    below = (first[len(letter) :], *rest) if letter != first else tuple(rest)
    found = _read(table.get(letter, letter) if letter in _STEMS else letter or first)
    known = found.base in LETTERS or len(found.base) == 1
    if not known or not all(below):
        word, _, number = name.rpartition("_")
        return Symbol(word, below=(number,)) if word and number.isdigit() else Symbol(name)
    if below[:1] == ("hat",) and not found.accent:
        return replace(found, accent="hat", below=below[1:])
    return replace(found, below=below)


def hatted(plain: Symbol) -> Symbol:
    """The symbol with a hat, which words wear behind them."""
    if len(plain.base) > 1 and plain.base not in LETTERS:
        return replace(plain, base=f"{plain.base}_hat")
    return replace(plain, accent="hat")


def _read(written: str) -> Symbol:
    """A symbol of the tables above: `theta~`, `theta_init`."""
    accent: Literal["", "hat", "tilde"] = ""
    if written[-1] in "^~":
        accent = "hat" if written[-1] == "^" else "tilde"
    base, _, below = written.rstrip("^~").partition("_")
    return Symbol(base, accent, (below,) if below else ())


@dataclass
class Names:
    """Symbols as they are given out: no two values have the same one."""

    _taken: set[Symbol] = field(default_factory=set)

    def take(self, wanted: Symbol, group: str = "") -> Symbol:
        """The symbol, or one near it: with the name of a group, or with a number below."""
        candidates = [wanted]
        if group:
            candidates.append(replace(wanted, below=(*wanted.below, group)))
        for candidate in candidates:
            if self._claim(candidate):
                return candidate
        count = 2
        while not self._claim(numbered := _numbered(candidates[-1], count)):
            count += 1
        return numbered

    def spare(self) -> Symbol:
        """A letter that nothing else has."""
        for letter in _SPARE:
            if self._claim(Symbol(letter)):
                return Symbol(letter)
        return self.take(Symbol("x"))

    def _claim(self, wanted: Symbol) -> bool:
        plain = replace(wanted, time="")
        if plain in self._taken:
            return False
        self._taken.add(plain)
        return True


def _numbered(wanted: Symbol, count: int) -> Symbol:
    """`u₂` of `u`."""
    return replace(wanted, below=(*wanted.below, str(count)))
