"""The command line of `optc train`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .. import settings
from ..extra import needs_extra
from ..spec import AllowExtern


class TaskName(Enum):
    """The built-in tasks."""

    DIGITS = "digits"
    DIGITS_NORMED = "digits_normed"
    TEXT = "text"
    ROSENBROCK = "rosenbrock"
    QUADRATIC = "quadratic"


def train(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="What to train with.")],
    task: Annotated[TaskName | None, typer.Option(help="What to train.  [default: digits]")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many steps.  [default: the task's]")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="S", help="For the weights and the batches.  [default: 0]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Examples in a batch.  [default: the task's]"),
    ] = None,
    max_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How far batches grow that the optimizer requests.  [default: 16 times the first]",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to.  [default: runs/NAME-TASK]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in DIR from its newest checkpoint.")
    ] = False,
    log_every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Steps between lines of metrics.jsonl.")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Steps between checkpoints.")
    ] = None,
    record_norms: Annotated[
        bool,
        typer.Option("--record-norms", help="Log the gradient's L1 and L2 norms, for refining."),
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Train on when the loss is not finite.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep what is compiled, and take it from the cache.")
    ] = False,
    allow_extern: AllowExtern = None,
) -> None:
    """Train a built-in task, with a progress bar.

    DIR gets metrics.jsonl (one JSON object for each logged step), curve.png, checkpoints, the spec
    and its module. A run that is interrupted and resumed ends with the same weights, to the bit. A
    loss that is not finite ends the run with exit code 1. A static hyperparameter `total` is the
    number of steps unless it is set. Where the spec requests a batch size, batches double until
    they are as large, and never shrink.

    Tasks: digits (1,797 real images, a small perceptron), digits_normed (the same with batch norm
    and dropout), text (a small transformer over the sources of Python's standard library),
    rosenbrock, quadratic. None needs a download.

    Example:
      optc train adamw --task digits
      optc train fsam.opt --task text --steps 300 --set lr=1e-3 --out runs/fsam
      optc train fsam.opt --out runs/fsam --steps 600 --resume
    """
    pairs = settings.parse(set_ or [])
    with needs_extra("training"):
        from .loop import End
        from .run import Request, run  # JAX and the extras: `optc --help` does without them

        end = run(
            Request(
                spec=spec,
                task=task.value if task else None,
                steps=steps,
                seed=seed,
                batch_size=batch_size,
                settings=pairs,
                out=out,
                resume=resume,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                keep_going=keep_going,
                record_norms=record_norms,
                max_batch_size=max_batch_size,
                allow_extern=tuple(allow_extern or ()),
                cache=cache,
            )
        )
    match end:
        case End.FINISHED:
            return
        case End.INTERRUPTED:
            raise typer.Exit(130)
        case End.DIVERGED:
            raise typer.Exit(1)
