"""`run.json`: what a run was asked for, so that it can be resumed as the same run."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from ..output import CommandError, write
from ..settings import Settings, Value


class Record(BaseModel):
    """A run: `settings` are the hyperparameters that differ from the spec's defaults."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    optimizer: str
    task: str
    seed: int
    batch_size: int | None
    steps: int
    settings: dict[str, Value]
    versions: dict[str, str]
    record_norms: bool = False
    max_batch_size: int | None = None

    @classmethod
    def read(cls, path: Path, work: str = "resume") -> Self:
        """The record of an earlier run; CommandError when there is none that can be read."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise CommandError(f"nothing to {work}: there is no {path}") from None
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot {work}: {path} is not the record of a run") from error

    def write(self, path: Path) -> None:
        """Write the record."""
        write(path, self.model_dump_json(indent=2) + "\n")


def versions() -> dict[str, str]:
    """The versions that decide the numbers of a run."""
    packages = {name: version(name) for name in ("optc", "jax", "jaxlib", "optax", "numpy")}
    return {"python": platform.python_version(), **packages}


def refuse_changes(record: Record, asked: Mapping[str, object], settings: Settings) -> None:
    """CommandError when a resumed run is asked for something else than it was started with.

    What was not said (None) stays as it was.
    """
    for name, value in asked.items():
        before = getattr(record, name)
        if value is not None and value != before:
            raise CommandError(
                f"cannot resume with {name} {value}: the run was started with {before}"
            )
    for name, value in settings.items():
        if record.settings.get(name) != value:
            before = record.settings.get(name, "the default")
            raise CommandError(
                f"cannot resume with {name} = {value}: the run was started with {before}"
            )
