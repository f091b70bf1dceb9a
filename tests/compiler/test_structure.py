"""What is wrong with a declaration whatever its arguments are, and what is not."""

import pytest
from agreement import located

from optc.compiler.check import check


def codes(body):
    """What is said of a constraint with this body."""
    found = check(located(f"rule constrain one() {{ {body} }}"))
    return [d.code for d in found.sorted()]


@pytest.mark.parametrize("initial", ["w", "sign(w)", "2 * norm(w, per = tensor)", "0 * (w + 1)"])
def test_a_state_may_keep_what_the_weights_were(initial):
    assert codes(f"state start = {initial}  return w_next + start") == []


@pytest.mark.parametrize("initial", ["zeros(w)", "ones(w)", "0", "2 * ones(w)"])
def test_a_state_that_stays_a_constant_has_a_warning(initial):
    assert codes(f"state start = {initial}  return w_next + start") == ["unused-state"]
