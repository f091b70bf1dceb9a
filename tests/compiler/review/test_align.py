import random
from functools import cache

import pytest

from optc.compiler.review.align import align


def longest(old, new):
    """The length of the longest common subsequence, by its definition."""

    @cache
    def of(i, j):
        if i == len(old) or j == len(new):
            return 0
        if old[i] == new[j]:
            return 1 + of(i + 1, j + 1)
        return max(of(i + 1, j), of(i, j + 1))

    return of(0, 0)


LISTS = [random.Random(seed).choices("abcd", k=seed % 9) for seed in range(40)]


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_a_longest_common_subsequence(seed):
    old, new = LISTS[seed], LISTS[39 - seed]
    pairs = align(old, new, lambda a, b: int(a == b))
    both = [(i, j) for i, j in pairs if i is not None and j is not None]
    assert all(old[i] == new[j] for i, j in both)
    assert len(both) == longest("".join(old), "".join(new))


@pytest.mark.parametrize("seed", range(20))
def test_each_element_stands_once_and_in_order(seed):
    old, new = LISTS[seed], LISTS[39 - seed]
    pairs = align(old, new, lambda a, b: 1 + 2 * (a == b))
    assert [i for i, _ in pairs if i is not None] == list(range(len(old)))
    assert [j for _, j in pairs if j is not None] == list(range(len(new)))


def test_long_lists_are_matched_from_both_ends():
    old = [*range(3000), -1, *range(3000, 6000)]
    new = [*range(3000), *range(6000, 8000), *range(3000, 6000)]
    pairs = align(old, new, lambda a, b: int(a == b))
    assert sum(i is not None and j is not None for i, j in pairs) == 6000
