"""What the tests of the compiler share is in `agreement`; its asserts explain themselves too."""

import pytest

pytest.register_assert_rewrite("agreement", "specs_at_random")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `specimen_name` runs for every spec of `specimens`."""
    from specimens import SPECIMENS

    if "specimen_name" in metafunc.fixturenames:
        metafunc.parametrize("specimen_name", SPECIMENS)
