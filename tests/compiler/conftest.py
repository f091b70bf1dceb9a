"""What the tests of the compiler share is in `agreement`; its asserts explain themselves too."""

import pytest

pytest.register_assert_rewrite("agreement", "specs_at_random")
