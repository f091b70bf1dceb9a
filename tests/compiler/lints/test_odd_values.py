"""Whatever a spec gives, lints answer: no number makes them fail."""

import random

import pytest
from linted import OPTIMIZERS, codes

from optc.compiler import library

NUMBERS = ("0", "1", "-1", "inf", "-inf", "1e300", "-1e300", "1e-320", "0.5", "1e18", "1e-40")
SCHEDULES = library.names("schedule")
PREPARED = ("", "clip value(0.1) ", "precondition sign() ", "precondition adam() ")


def numbers(params):
    return [p.name.id for p in params if p.type is None or p.type.id == "float"]


def odd(seed):
    """An optimizer of the library, or a schedule, with numbers that nobody would give."""
    draw = random.Random(seed)
    if seed % 2:
        name = draw.choice(SCHEDULES)
        given = numbers(library.file("schedule", name).items[-1].params)
        arguments = ", ".join(f"{p} = {draw.choice((*NUMBERS, 'lr', 'total'))}" for p in given)
        lines = f"{draw.choice(PREPARED)}tune step {draw.choice(('', 'lr * '))}{name}({arguments})"
        total, lr = draw.choice(("1000", "1", "inf", "1e18")), draw.choice(NUMBERS)
        return f"optimizer odd(lr = {lr}, total = {total}) {{ {lines} observe total as x }}"
    name = draw.choice(OPTIMIZERS)
    given = numbers(library.file("optimizer", name).items[-1].params)
    some = draw.sample(given, min(len(given), 2))
    values = ", ".join(f"{p} = {draw.choice(NUMBERS)} in (-inf, inf)" for p in some)
    return f"optimizer odd from {name} with ({values}) {{ }}"


@pytest.mark.parametrize("seed", range(40))
def test_odd_numbers_are_answered(seed):
    codes(odd(seed))


def test_an_infinite_warm_up_is_answered():
    """Of those above that once failed."""
    curve = "warmup_cosine(peak = 2, warmup = inf, total = 1e18)"
    assert codes(f"optimizer odd(lr = 0.1) {{ tune step lr * {curve} }}") == []
    assert "ascent" not in codes("optimizer odd from fromage with (lr = 1e300 in (-inf, inf)) { }")
