"""Options of the whole suite."""

import os

import pytest

QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""Most of a test's time is XLA's compiler, and most of that is LLVM's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write the golden files instead of comparing"
    )
    parser.addoption(
        "--all", action="store_true", help="run each case of the tests of which CI runs a part"
    )


def pytest_configure(config: pytest.Config) -> None:
    """CI compiles quickly to slow code; `--all` runs the code that users run."""
    if not config.getoption("--all"):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICKLY}".strip()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `rest`, unless all is asked for."""
    if not config.getoption("--all"):
        left_out = [item for item in items if item.get_closest_marker("rest")]
        items[:] = [item for item in items if not item.get_closest_marker("rest")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written in this run, for review as a diff."""
    return bool(request.config.getoption("--update-goldens"))
