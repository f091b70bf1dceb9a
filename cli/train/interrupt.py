"""Ctrl-C between steps: the first asks a run to end well, the second ends it at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """A context in which the first SIGINT only sets `asked`.

    A step donates its inputs, so a run that is cut off inside one has no weights left to save.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: object = None

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread, and lets no other set a handler.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type]  # what signal gave

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
