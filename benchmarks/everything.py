"""The benchmarks, each in a process of its own: `python -m benchmarks.everything`.

Writes to standard output only. Takes more than an hour on two cores; longer where other processes
disturb it. Left out are `accelerator`, which needs one, and `text_study`, which takes an hour.
"""

import platform
import subprocess
import sys
from importlib import metadata

NAMES = (
    *("cold_start", "warm", "tools", "adamw", "chains", "twins", "packing", "folding", "sweep"),
    *("sam", "curvature", "gauss_newton", "searches", "probes", "matrices", "gram"),
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
