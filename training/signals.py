"""SIGTERM and SIGINT: noted at once, obeyed between two calls, when everything can be saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Notes the first signal; a second SIGINT stops at once, as of the last checkpoint."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def interrupted(self) -> bool:
        """Whether it was the user (SIGINT) and not the machine (SIGTERM)."""
        return self.received == signal.SIGINT

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def __enter__(self) -> "Signals":
        # Python allows handlers in the main thread only; a fit in another one is its caller's to
        # stop.
        if threading.current_thread() is threading.main_thread():
            self._previous = {n: signal.signal(n, self._note) for n in HANDLED}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
