"""How soon `optc check` and `optc fmt` answer, and how long a long spec takes.

Held against: `optc check` of 50 lines, in a process of its own, at most 0.4 of `import jax`; a
line of a long spec at most the time of one of a short spec.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from optc.compiler.check import check
from optc.compiler.driver import compile_spec
from optc.compiler.locate import Located
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.parse import parse
from optc.grammar.source import Source

from .interleave import Variant, held, interleave, repeated, report

ROUNDS = 11
LENGTHS = (1_000, 3_000, 10_000)

RULE = """\
rule precondition averaged_{0}(beta = 0.9 in [0, 1), floor = 1e-8 in (0, inf)) {{
  \"\"\"A momentum over its own norm, as number {0} has it.\"\"\"
  state trace = zeros(g)
  trace <- beta * trace + (1 - beta) * g
  size = norm(trace) / sqrt(1 - beta^2)
  scale = 1 / max(size, floor)
  return scale * trace
}}

"""
OPTIMIZER = """\
optimizer long(lr = 1e-3 in (0, 1), beta = 0.9 in [0, 1)) {{
{stages}
  tune step lr
  observe norm(g) as grad_norm
}}
"""


def spec(lines: int) -> str:
    """A spec of about so many lines, in which each tenth rule is a stage."""
    rules = round((lines - 5) / (RULE.count("\n") + 0.1))
    stages = "\n".join(f"  precondition averaged_{i}(beta)" for i in range(0, rules, 10))
    return "".join(RULE.format(i) for i in range(rules)) + OPTIMIZER.format(stages=stages)


def main() -> None:
    """Print both tables."""
    short = spec(50)
    print(f"\na process of its own; the spec has {short.count(chr(10))} lines")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "short.opt"
        file.write_text(short)
        command = "from optc.cli.main import main; raise SystemExit(main())"
        _process(command, "fmt", str(file))()
        timings = interleave(
            {
                "import jax": _process("import jax"),
                "optc check": _process(command, "check", str(file)),
                "optc fmt --check": _process(command, "fmt", "--check", str(file)),
                "nothing": _process("pass"),
            },
            ROUNDS,
        )
    report(timings, "import jax")
    held("optc check", timings["optc check"].median / timings["import jax"].median, 0.40)

    located = [Located(Source("long.opt", spec(lines))) for lines in LENGTHS]
    counts = [each.source.text.count("\n") for each in located]
    for what, run in (
        ("parse", lambda each: parse(each.source, Diagnostics())),
        ("parse, check and lower", check),
        ("compile to a module", compile_spec),
    ):
        print(f"\n{what}")
        names = [f"{count} lines" for count in counts]
        variants = {
            name: repeated(lambda each=each, run=run: run(each))
            for name, each in zip(names, located, strict=True)
        }
        timings = interleave(variants, 7)
        report(timings, names[0])
        longest = timings[names[-1]].median
        print(f"  -> {counts[-1] / longest:.0f} lines a second")
        ratio = longest / timings[names[0]].median * counts[0] / counts[-1]
        held("time for a line, in a long spec against a short one", ratio, 1.0)


def _process(code: str, *arguments: str) -> Variant:
    command = [sys.executable, "-c", code, *arguments]
    # As a person's shell has it: compiled files and the tables of the parser are kept.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> tuple[float]:
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return (time.perf_counter() - start,)

    run()
    return run


if __name__ == "__main__":
    main()
