"""The folder of a run: what lies where, when it may be written, what it was made from."""

from dataclasses import dataclass
from pathlib import Path

from ..output import CommandError, write


@dataclass(frozen=True)
class Folder:
    """The files of a run of one optimizer."""

    root: Path
    optimizer: str

    @property
    def record(self) -> Path:
        """What the run was asked for."""
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        """The measurements."""
        return self.root / "metrics.jsonl"

    @property
    def curve(self) -> Path:
        """The picture."""
        return self.root / "curve.png"

    @property
    def checkpoints(self) -> Path:
        """Weights and state."""
        return self.root / "checkpoints"

    def refuse_occupied(self) -> None:
        """CommandError when something is there: a run is never written over."""
        if self.root.is_dir():
            if any(self.root.iterdir()):
                raise CommandError(
                    f"{self.root} is not empty: continue it with --resume, or choose another --out"
                )
        elif self.root.exists():
            raise CommandError(f"{self.root} is a file; a run is a folder")

    def create(self, spec: str, module: str) -> None:
        """Make the folder, with the spec's text and the module that it compiled to."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot make the folder {self.root}: {error.strerror}") from error
        write(self.root / "spec.opt", spec)
        write(self._module, module)

    def refuse_other_module(self, module: str) -> None:
        """CommandError when the run was started with a module that says something else."""
        if not self._module.exists() or self._module.read_text(encoding="utf-8") != module:
            raise CommandError(
                f"cannot resume: the run was started with {self._module}, "
                "and the spec now compiles to something else"
            )

    @property
    def _module(self) -> Path:
        return self.root / f"{self.optimizer}.py"
