"""What probes cost that are due in every hundredth step.

A long run is 99 steps in which the probe waits, and one in which it is due, both timed by
themselves: so the table tells what waiting costs (a condition, which should be nothing) from what
the probe does. Held against: at most 1.02 plain steps over a long run, which leaves two plain steps
for a probe. Those that ask more are shown beside, with what they ask.
"""

import optc

from .interleave import held, interleave, report
from .workload import Workload, text_model

ROUNDS = 9
EVERY = 100

SPEC = """
optimizer probed(lr = 1e-6) {{
  tune step lr
  {probe}
}}
"""

PROBES = {
    "curvature": "dot(g, hvp(g))",
    "Gauss-Newton share": "dot(g, ggn(g))",
    "relative step": "norm(w_next - w) / norm(w)",
    "sharpness(1)": "sharpness(iterations = 1)",
    "sharpness(8)": "sharpness(iterations = 8)",
}


def main() -> None:
    """Print the table."""
    _compare(text_model())


def _compare(work: Workload) -> None:
    print(f"\nprobes every {EVERY} on {work.name}")
    variants = {"plain": work.compiled(optc.compile(SPEC.format(probe="")))}
    for name, value in PROBES.items():
        program = optc.compile(SPEC.format(probe=f"observe {value} as probe every {EVERY}"))
        variants[f"{name}, waiting"] = work.compiled(program, count=1)
        variants[f"{name}, due"] = work.compiled(program, count=0)
    timings = interleave(variants, ROUNDS)
    report(timings, "plain")
    plain = timings["plain"].median
    for name in PROBES:
        waiting, due = (timings[f"{name}, {when}"].median for when in ("waiting", "due"))
        found = ((EVERY - 1) * waiting + due) / EVERY / plain
        held(f"{name} over a long run, in plain steps", found, 1.02)


if __name__ == "__main__":
    main()
