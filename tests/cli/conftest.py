"""What the tests of the command line share: running one in this process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from optc.cli.main import main

GOOD = """
optimizer plain(lr = 0.1 in (0, 10)) {
  tune step lr
  observe norm(g) as grad_norm
}
"""

BAD = """
optimizer wrong() {
  clip globl_norm(1.0)
  tune step rate
}
"""


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def optc(capsys, monkeypatch, tmp_path) -> Run:
    """Run `optc` with these arguments, in an empty folder, with no terminal of known width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def good(optc, tmp_path):
    path = tmp_path / "plain.opt"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(optc, tmp_path):
    path = tmp_path / "wrong.opt"
    path.write_text(BAD)
    return path
