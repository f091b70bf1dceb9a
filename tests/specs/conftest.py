"""The table of docs/parity.md, written by the run of optax's tests that the page names."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
START, END = "<!-- the table of optax's tests -->", "<!-- its end -->"
VERDICTS = {
    "passed": "passed",
    "in part": "in part",
    "exception": "exceptions",
    "skipped by optax": "skipped by optax",
}
"""What may become of a test, and the heads of their columns."""


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if not (config.getoption("--all") and config.getoption("--update-goldens")):
        return
    found = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "optax"
    ]
    if found:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n\n{table(found)}\n\n{END}{after}", encoding="utf-8")


def table(found) -> str:
    """Markdown: each test of optax that a claim of ours has a part in, and what it did not pass."""
    tests, functions = defaultdict(Counter), defaultdict(Counter)
    reasons = defaultdict(Counter)
    for name, verdict, reason, ours in found:
        test = name.partition(" ")[0].rstrip("0123456789")
        tests[test][verdict] += 1
        if reason and verdict != "skipped by optax":
            reasons[test][reason] += 1
        for function, item in ours:
            functions[f"`optax.{function}`", f"`{item}`"][verdict] += 1
    verdicts = " | ".join(VERDICTS.values())
    rule = "|---" * (2 + len(VERDICTS)) + "|"
    lines = [f"| in the place of | ours | {verdicts} |", rule]
    for (function, item), counts in sorted(functions.items()):
        lines.append(f"| {function} | {item} | {_counts(counts)} |")
    lines += ["", f"| test of optax | {verdicts} | reasons |", rule]
    for test, counts in sorted(tests.items()):
        why = "; ".join(
            f"{reason} ({number})" if number > 1 else reason
            for reason, number in sorted(reasons[test].items())
        )
        short = test.replace("optax._src.", "").replace("optax.", "")
        lines.append(f"| `{short}` | {_counts(counts)} | {why.replace('|', '/')} |")
    return "\n".join(lines)


def _counts(counts: Counter) -> str:
    return " | ".join(str(counts[verdict] or "") for verdict in VERDICTS)
