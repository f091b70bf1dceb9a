"""What the tests of the compiler share is in `agreement`; its asserts explain themselves too."""

import pytest

pytest.register_assert_rewrite("agreement", "specs_at_random")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `specimen_name` runs for every spec of `specimens`."""
    from specimens import SPECIMENS

    if "specimen_name" in metafunc.fixturenames:
        metafunc.parametrize("specimen_name", SPECIMENS)


@pytest.fixture
def graph():
    """A program with a branch, after the passes; it is what tests of graphs break or look at."""
    from agreement import graph_of

    from optc.compiler.passes import PIPELINE

    made = graph_of("""
        rule precondition own() {
          state m = zeros(g)
          m <- 0.5 * m + g * g
          var a = 0
          if t > 2 { a <- norm(m) } else { a <- sum(m) }
          return a * m
        }
        optimizer one() { precondition own()  tune step 0.1 }
    """)
    for run in PIPELINE:
        made = run(made)
    return made
