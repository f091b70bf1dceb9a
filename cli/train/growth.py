"""How the batches of a run grow where its optimizer requests it."""

from dataclasses import dataclass

from .tasks.task import Task

TIMES = 16
"""How many times the first batch the largest is, where nothing else is said."""


@dataclass(frozen=True)
class Growth:
    """Batches from `first` examples up to `most`.

    A size is `first`, doubled some times, or `most`: each size compiles the step anew, so there are
    few of them.
    """

    first: int
    most: int

    @classmethod
    def of(cls, task: Task, most: int | None) -> "Growth | None":
        """That of a task, None where it has no batches.

        Raises ValueError for a largest size that the first is above, or that the task has not.
        """
        first, examples = task.batch_size, task.examples
        if first is None:
            return None
        if most is None:
            most = TIMES * first if examples is None else min(TIMES * first, examples)
        if most < first:
            raise ValueError(f"the largest batch has {most} examples, and the first {first}")
        if examples is not None and most > examples:
            raise ValueError(f"the largest batch has {most} examples; there are {examples}")
        return cls(first, most)

    def after(self, size: int, requested: float) -> int:
        """The size after one of which another is requested; it never falls, NaN requests nothing.

        >>> Growth(64, 400).after(64, 100.5), Growth(64, 400).after(128, 100.5)
        (128, 128)
        >>> Growth(64, 400).after(64, float("inf")), Growth(64, 400).after(64, float("nan"))
        (400, 64)
        """
        while size < requested and size < self.most:
            size = min(2 * size, self.most)
        return size
