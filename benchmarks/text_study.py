"""AdamW, SAM and Functional-SAM on the `text` task: what they reach in equally many steps.

Three seeds for each, at the radius that was best in shorter runs with a seed of its own; the rate
is that of AdamW, tuned the same way, for all three. Steps count, not time: a step of SAM or
Functional-SAM costs about two of AdamW.

Takes about an hour on two quiet cores. Each finished run is a line of the file that is given, so
that a study which was cut goes on where it was:

    python -m benchmarks.text_study text_study.jsonl
"""

import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

import optc
from optc.cli.train.tasks.text import text

SPECS = Path(__file__).with_suffix(".opt")
METHODS = ("plain", "sharp", "functional")
SEEDS = (0, 1, 2)
TUNING_SEED = 9
RATES = (1e-3, 2e-3, 4e-3)
RADII = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
STEPS, TUNING_STEPS = 2000, 500
BATCH = 8
PROBED = 32
"""Examples in the batch whose sharpness is measured at the end."""


@dataclass(frozen=True)
class Setting:
    """One run: a method, its rate and radius (0 where it has none), a seed, and how many steps."""

    method: str
    lr: float
    rho: float
    seed: int
    steps: int


@dataclass(frozen=True)
class Result:
    """What a run ended with: the mean training loss of its last tenth, and the held-out figures.

    `sharpness` is the Hessian's largest eigenvalue on one fixed batch, by power iteration.
    """

    training: float
    held_out: float
    accuracy: float
    sharpness: float


Results = dict[Setting, Result]


def main() -> None:
    """Make the runs that are missing in the file, and print the tables."""
    path = Path(sys.argv[1])
    known = dict(_read(path))
    study = _Study(path, known)
    rate = study.best(Setting("plain", lr, 0.0, TUNING_SEED, TUNING_STEPS) for lr in RATES).lr
    print(f"\nbest rate of plain: {rate:g}")
    finals = []
    for method in METHODS:
        rho = 0.0
        if method != "plain":
            settings = (Setting(method, rate, r, TUNING_SEED, TUNING_STEPS) for r in RADII)
            rho = study.best(settings).rho
            print(f"best radius of {method}: {rho:g}")
        finals.append([Setting(method, rate, rho, seed, STEPS) for seed in SEEDS])
    for seed in range(len(SEEDS)):
        for settings in finals:
            study.result(settings[seed])
    _table([(s, study.result(s)) for settings in finals for s in settings])


class _Study:
    def __init__(self, path: Path, known: Results) -> None:
        self.path = path
        self.known = known

    def result(self, setting: Setting) -> Result:
        """The result of a run, made now if it is not known; printed either way."""
        if setting not in self.known:
            found = self.known[setting] = _train(setting)
            with self.path.open("a") as file:
                file.write(json.dumps([asdict(setting), asdict(found)]) + "\n")
            print(setting, found, flush=True)
        return self.known[setting]

    def best(self, settings: Iterable[Setting]) -> Setting:
        """The setting with the least held-out loss."""
        tried = list(settings)
        found = [(s, self.result(s).held_out) for s in tried]
        print("\n".join(f"  {s.method} lr {s.lr:g} rho {s.rho:g}: {loss:.4f}" for s, loss in found))
        return min(found, key=lambda pair: (pair[1] != pair[1], pair[1]))[0]


def _read(path: Path) -> Iterator[tuple[Setting, Result]]:
    for line in path.read_text().splitlines() if path.exists() else ():
        setting, result = json.loads(line)
        yield Setting(**setting), Result(**result)


def _train(setting: Setting) -> Result:
    task = text(BATCH)
    values = {"lr": setting.lr, "total": setting.steps}
    values |= {} if setting.method == "plain" else {"rho": setting.rho}
    optimizer = optc.load(f"{SPECS}:{setting.method}")(**values)
    params = task.init(jax.random.key(setting.seed))
    state = optimizer.init(params)
    losses = []
    for step in range(setting.steps):
        batch = task.batch(setting.seed, step)
        params, state, report = optimizer.step(params, state, batch, task.objective)
        losses.append(report.loss)
    last = [float(loss) for loss in losses[-setting.steps // 10 :]]
    measured = {name: float(x) for name, x in task.evaluate(params).items()}
    sharpness = _sharpness(params)
    return Result(statistics.fmean(last), measured["loss"], measured["accuracy"], sharpness)


def _sharpness(params: object) -> float:
    """The largest eigenvalue of the Hessian at the weights, by a step that moves nothing."""
    probe = optc.compile(
        "optimizer probe() { tune step 0 observe sharpness(iterations = 30) as sharpness }"
    )()
    task = text(PROBED)
    batch = task.batch(TUNING_SEED, 0)
    _, _, report = probe.step(params, probe.init(params), batch, task.objective)
    return float(report.observed["sharpness"])


def _table(runs: list[tuple[Setting, Result]]) -> None:
    print("\n| method | radius | seed | training loss | held-out loss | accuracy | sharpness |")
    print("|---|---|---|---|---|---|---|")
    for s, r in runs:
        figures = f"{r.training:.4f} | {r.held_out:.4f} | {r.accuracy:.4f} | {r.sharpness:.1f}"
        print(f"| {s.method} | {s.rho:g} | {s.seed} | {figures} |")
    for method in METHODS:
        losses = [r.held_out for s, r in runs if s.method == method]
        spread = statistics.stdev(losses)
        print(f"{method}: held-out loss {statistics.fmean(losses):.4f} +- {spread:.4f}")


if __name__ == "__main__":
    main()
