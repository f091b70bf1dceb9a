"""Speed, held against figures: `python -m benchmarks.everything`, from the root of the repository.

Each module prints its tables and asserts nothing; docs/performance.md keeps what they printed.
"""
