"""The extra `train`: what is said when a package of it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from .output import CommandError

_PACKAGES = {"matplotlib": "matplotlib", "orbax": "orbax-checkpoint", "sklearn": "scikit-learn"}
"""The optional packages, by what is imported."""


@contextmanager
def needs_extra(work: str) -> Iterator[None]:
    """CommandError, with what to install for `work`, when a package of the extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = _PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise CommandError(f'{work} needs {package}: pip install "optc[train]"') from error
