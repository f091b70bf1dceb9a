"""How soon the tools answer, each as a process of its own.

Held against: half a second for what reads specs and needs no JAX, 5 seconds for the plan of a tree
of 100,000 tensors, 10 seconds for `equiv` of two optimizers of the library. The first row is what
a bare Python takes on the same machine. On a busy one the time on the clock says little: where the
processor's time is below the goal and the clock's is not, the row says so.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from optc.cli.app import COMMANDS

ROUNDS = 5
HALF_A_SECOND = (
    ("check", "adamw"),
    ("explain", "adamw"),
    ("explain", "fsam", "--format", "latex"),
    ("diff", "adamw", "adamw_paper"),
    ("diff", "fsam", "sam"),
    ("lock", "adamw", "--hash"),
    ("plan", "mup_adamw", "--params", "gpt2-124m"),
    ("plan", "mup_adamw", "--params", "gpt2-124m", "--format", "json"),
)
"""What reads a spec or two, and answers while a person still looks."""

PAIRS = (
    ("adamw", "adam_coupled"),
    ("nadam", "nadam_torch"),
    ("signum", "lion"),
    ("adamw", "optax:adamw(1e-3)"),
    ("optax:adamw(1e-3)", "optax:nadamw(1e-3)"),
)
"""Optimizers for `equiv`."""

TENSORS = 100_000


def tree(tensors: int) -> dict[str, list[int]]:
    """Shapes of a model with so many tensors, eight in each layer."""
    layer = {
        "attention/query/kernel": [512, 512],
        "attention/query/bias": [512],
        "attention/out/kernel": [512, 512],
        "mlp/in/kernel": [512, 2048],
        "mlp/in/bias": [2048],
        "mlp/out/kernel": [2048, 512],
        "norm/scale": [512],
        "norm/bias": [512],
    }
    names = ((f"layers/{i}/{name}", shape) for i in range(tensors) for name, shape in layer.items())
    return dict(pair for pair, _ in zip(names, range(tensors), strict=False))


def main() -> None:
    """Print a table of each kind of tool."""
    with TemporaryDirectory() as folder:
        large = Path(folder) / "large.json"
        large.write_text(json.dumps(tree(TENSORS)))
        print(f"\nseconds of a process: the median of {ROUNDS}, the least of the processor's")
        _row("python -c pass", [sys.executable, "-c", "pass"], None, folder)
        for arguments in HALF_A_SECOND:
            _command(arguments, 0.5, folder)
        _command(("plan", "mup_adamw", "--params", str(large)), 5.0, folder, f"{TENSORS:,} tensors")
        for pair in PAIRS:
            _command(("equiv", *pair), 10.0, folder)


def _command(arguments: tuple[str, ...], goal: float, folder: str, shown: str = "") -> None:
    if arguments[0] in COMMANDS:
        code = "from optc.cli.main import main; raise SystemExit(main())"
        words = [arguments[0], shown] if shown else arguments
        _row(f"optc {' '.join(words)}", [sys.executable, "-c", code, *arguments], goal, folder)


def _row(name: str, command: list[str], goal: float | None, folder: str) -> None:
    # As a person's shell has it: compiled files and the tables of the parser are kept.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    samples, worked = [], []
    for _ in range(ROUNDS + 1):
        start, before = time.perf_counter(), _processor()
        ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True)
        samples.append(time.perf_counter() - start)
        worked.append(_processor() - before)
        if ended.returncode not in (0, 1) or (ended.returncode == 1 and ended.stderr):
            raise SystemExit(f"{name} failed: {ended.stderr.decode()}")
    # The first run compiles what was not compiled before.
    found, least = median(samples[1:]), min(worked[1:])
    print(f"  {name:58}{found:8.2f}{least:8.2f}{_verdict(found, least, goal)}", flush=True)


def _verdict(found: float, least: float, goal: float | None) -> str:
    if goal is None:
        return ""
    missed = "" if found <= goal else "  busy" if least <= goal else "  missed"
    return f"  at most {goal:g}{missed}"


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
