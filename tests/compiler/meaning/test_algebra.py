"""The algebra of formulas: what has one key has one value, wherever it has any."""

import random
from collections import defaultdict
from itertools import combinations, product

import numpy as np
import pytest

from optc.compiler.meaning.algebra import Algebra
from optc.compiler.meaning.operations import Operations
from optc.compiler.meaning.prime import prime_above
from optc.compiler.meaning.values import AT_MOST_ONE, BELOW_ONE, NONNEGATIVE, POSITIVE
from optc.compiler.ops import OPS

BINARY = ("add", "sub", "mul", "div", "min", "max", "add", "mul", "div")
UNARY = ("neg", "abs", "sqrt", "square", "sign", "exp", "log1p", "sqrt", "square")
COMPARED = ("lt", "le", "eq", "ne", "gt", "ge")
NAMES = ("x", "y", "p", "q")
"""Atoms: `p` is positive, and `q` is not negative and below one."""

POINTS = np.array(
    [
        (x, y, p, q)
        for x, y in product((-1.7, -0.4, 0.0, 0.4, 2.3), repeat=2)
        for p, q in ((0.3, 0.0), (0.3, 0.7), (1.9, 0.2))
    ]
).T


def expression(source: random.Random, depth: int):
    """A random expression: nested tuples of an op and what it acts on."""
    kind = source.random()
    if depth == 0 or kind < 0.1:
        return source.choice((*NAMES, 0, 1, 2, 0.5))
    inner = [expression(source, depth - 1) for _ in range(4)]
    if kind < 0.55:
        return (source.choice(BINARY), *inner[:2])
    if kind < 0.8:
        return (source.choice(UNARY), inner[0])
    if kind < 0.9:
        return ("pow", inner[0], source.choice((2, 3, -1, 0.5, 1.5, -0.5, 0.25)))
    return ("where", (source.choice(COMPARED), *inner[:2]), *inner[2:])


def formula(tree, operations: Operations, atoms):
    if isinstance(tree, tuple):
        op, *inner = tree
        return operations.apply(op, *(formula(x, operations, atoms) for x in inner))
    return atoms[tree] if isinstance(tree, str) else operations.literal(tree)


def number(tree):
    """The values at all points; NaN where anything that is needed for it has none."""
    if not isinstance(tree, tuple):
        return (
            POINTS[NAMES.index(tree)]
            if isinstance(tree, str)
            else np.full(POINTS.shape[1], float(tree))
        )
    op, *inner = tree
    values = [number(x) for x in inner]
    if op == "where":
        return np.where(np.isnan(values[0]), np.nan, np.where(values[0] == 1, *values[1:]))
    found = getattr(np, OPS[op].numpy)(*values).astype(float)
    return np.where(np.isfinite([found, *values]).all(axis=0), found, np.nan)


def made(algebra: Algebra):
    known = {"p": POSITIVE, "q": NONNEGATIVE | BELOW_ONE}
    return {name: algebra.atom(name, facts=known.get(name, 0)) for name in NAMES}


@pytest.mark.parametrize("depth", [2, pytest.param(3, marks=pytest.mark.rest), 4])
def test_what_has_one_key_has_one_value(depth):
    """Two formulas of one key agree at each point where both have a value: at zeros, and for all
    signs. The points are not those at which the algebra looks."""
    source, algebra = random.Random(depth), Algebra()
    operations, atoms = Operations(algebra), made(algebra)
    classes = defaultdict(dict)
    for _ in range(1200):
        tree = expression(source, depth)
        classes[formula(tree, operations, atoms).key].setdefault(repr(tree), tree)
    pairs = 0
    with np.errstate(all="ignore"):
        for trees in classes.values():
            values = [(tree, number(tree)) for tree in trees.values()]
            for (one, left), (other, right) in combinations(values[:12], 2):
                both = np.isfinite(left) & np.isfinite(right)
                close = np.isclose(left, right, rtol=1e-7, atol=1e-7)
                assert close[both].all(), (one, other)
                pairs += 1
    assert pairs > 100


def parts(tree):
    """An expression and all that it is made of, but for conditions."""
    if isinstance(tree, tuple):
        yield from (x for inner in tree[1:] for x in parts(inner))
    if not (isinstance(tree, tuple) and tree[0] in COMPARED):
        yield tree


@pytest.mark.parametrize("seed", [106, 110])
def test_what_is_known_of_a_value_holds(seed):
    """Also where it was found out for another expression of one formula that has a smaller domain:
    `1 / (p + 1 / q)` is positive, but `q / (p * q + 1)` is zero for a `q` of zero."""
    source, algebra = random.Random(seed), Algebra()
    operations, atoms = Operations(algebra), made(algebra)
    with np.errstate(all="ignore"):
        for _ in range(600):
            for tree in parts(expression(source, 3)):
                known, found = algebra.facts(formula(tree, operations, atoms)), number(tree)
                found = found[~np.isnan(found)]
                assert not known & NONNEGATIVE or (found >= -1e-9).all(), tree
                assert known & POSITIVE != POSITIVE or (found > 0).all(), tree
                assert not known & AT_MOST_ONE or (found <= 1 + 1e-9).all(), tree


def test_another_point_makes_the_same_distinctions():
    source = random.Random(9)
    trees = [expression(source, 3) for _ in range(300)]
    other = Algebra("a salt", prime_above(1 << 254 | 12345))
    classes = []
    for algebra in (Algebra(), other):
        operations, atoms, names = Operations(algebra), made(algebra), {}
        keys = [formula(tree, operations, atoms).key for tree in trees]
        classes.append([names.setdefault(key, place) for place, key in enumerate(keys)])
    assert classes[0] == classes[1]


def test_primes():
    below = [n for n in range(3, 400) if all(n % d for d in range(2, n))]
    assert [n for n in range(3, 400, 2) if prime_above(n) == n] == below
    assert prime_above(2**255 - 29) == 2**255 - 19
