"""Patterns: what is accepted is searched soon, whatever the path is."""

import re
import time

import pytest

from optc.compiler.check import check
from optc.compiler.locate import Located
from optc.grammar.source import Source

PATHS = ("layers/0/attention/query/kernel", "a" * 64, "ab" * 32 + "!")


def findings(pattern):
    text = pattern.replace("\\", "\\\\")
    spec = f'optimizer x() {{ decay weights() where path matches "{text}" tune step 0.1 }}'
    return check(Located(Source("x.opt", spec))).sorted()


@pytest.mark.parametrize(
    "pattern",
    [
        "embed|head|norm|bias|scale",
        r"layers/\d+/(query|key|value)/kernel$",
        ".*(attention|mlp).*/(kernel|bias)",
        "[^/]+/[^/]+/kernel",
        "(a|b)?(a|b)?a?.*!",
        ".*.*.*a?!",
        "a?" * 10 + "!",
        "(a|a)" * 10 + "!",
    ],
)
def test_an_accepted_pattern_is_searched_within_a_second(pattern):
    assert not findings(pattern)
    start = time.process_time()
    for path in PATHS:
        re.search(pattern, path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|aa)*b",
        r"(a)\1",
        "(?=a)b",
        ".*a.*b.*c.*d",
        "a?" * 30 + "a" * 30,
        ".?" * 22 + "!",
        "(a|a)" * 30 + "b",
        "(a|b)?" * 20 + "!",
        "a" * 501,
        "(",
        ")",
    ],
)
def test_a_pattern_that_could_take_long_is_refused(pattern):
    assert [finding.code for finding in findings(pattern)] == ["bad-pattern"]
