"""Plain data with texts for the numbers that JSON lacks."""

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """The same value, with `inf`, `-inf` and `nan` as texts."""
    match value:
        case Mapping():
            return {key: finite(each) for key, each in value.items()}
        case list() | tuple():
            return [finite(each) for each in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
