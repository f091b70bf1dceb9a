"""Line searches against a plain gradient step, by the number of their trials.

No trial is accepted: the first is a step out of all proportion, and each is about as long as
the one before. So a search takes as many as it may, and leaves the weights as they are. Held
against: at most 1 + 0.35 k plain steps for k trials. A trial is one pass forward, 0.33 of a step.
"""

import optc

from .interleave import held, interleave, report
from .workload import Workload, mlp, text_model

ROUNDS = 9
TRIALS = (1, 4, 16)

SPEC = """
optimizer search(trials: int = 4 in [1, inf)) {
  tune step armijo(start = 1e6, grow = inf, shrink = 0.99, max_step = 1e6, limit = trials - 1)
}
"""


def main() -> None:
    """Print both tables."""
    _compare(text_model())
    _compare(mlp())


def _compare(work: Workload) -> None:
    print(f"\nsearches on {work.name}")
    program = optc.compile(SPEC)
    timings = interleave(
        {"plain": work.compiled("sgd", lr=0.0)}
        | {_name(k): work.compiled(program, trials=k) for k in TRIALS},
        ROUNDS,
    )
    report(timings, "plain")
    plain = timings["plain"].median
    for k in TRIALS:
        held(f"{_name(k)}, in plain steps", timings[_name(k)].median / plain, 1 + 0.35 * k)


def _name(trials: int) -> str:
    return f"{trials} trial{'s' * (trials > 1)}"


if __name__ == "__main__":
    main()
