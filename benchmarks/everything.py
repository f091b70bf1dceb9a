"""All benchmarks, each in a process of its own: `python -m benchmarks.everything`.

Writes to standard output only. Takes about half an hour on two cores; longer where other
processes disturb it.
"""

import platform
import subprocess
import sys
from importlib import metadata

NAMES = (
    *("cold_start", "warm", "tools", "adamw", "chains", "twins", "sweep"),
    *("sam", "curvature", "gauss_newton", "searches", "probes", "matrices"),
)


def main() -> None:
    """Run them in turn."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "optax"))
    print(f"Python {platform.python_version()}, {versions}")
    for name in NAMES:
        print(f"\n==== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
