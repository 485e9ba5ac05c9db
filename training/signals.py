"""SIGTERM and SIGINT: noted at once, obeyed between two calls, when everything can be saved.

Of several processes one may get the signal alone, and all must save the same step: it tells the
others which, far enough ahead that none has passed it.
"""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import jax

from training import hosts

HANDLED = (signal.SIGTERM, signal.SIGINT)
# How far ahead processes stop together: calls, and seconds, which is the longer.
CALLS_AHEAD, SECONDS_AHEAD = 8, 2.0


class Signals:
    """Notes the first signal; a second SIGINT stops at once, as of the last checkpoint."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop_at: int | None = None
        self._announced = False
        self._calls, self._began = 0, 0.0
        self._previous: dict[int, Any] = {}
        self._end_waiting: Callable[[], None] = lambda: None

    @property
    def interrupted(self) -> bool:
        """Whether it was the user (SIGINT) and not the machine (SIGTERM)."""
        return self.received == signal.SIGINT

    def due(self, step: int, steps_per_call: int) -> bool:
        """Whether to save and leave after this step; asked after every call."""
        if jax.process_count() == 1:
            return self.received is not None
        self._began = self._began or time.monotonic()
        self._calls += 1
        if self.received is not None and not self._announced:
            self._announced = True
            seconds = max(time.monotonic() - self._began, 1e-3) / self._calls
            calls = max(CALLS_AHEAD, math.ceil(SECONDS_AHEAD / seconds))
            hosts.announce_stop(self.received, step + calls * steps_per_call)
        return self._stop_at is not None and step >= self._stop_at

    def _told(self, number: int, step: int) -> None:
        self.received, self._announced, self._stop_at = number, True, step

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def __enter__(self) -> "Signals":
        # Python allows handlers in the main thread only; a fit in another one is its caller's to
        # stop.
        if threading.current_thread() is threading.main_thread():
            self._previous = {n: signal.signal(n, self._note) for n in HANDLED}
        if jax.process_count() > 1:
            self._end_waiting = hosts.when_stopped(self._told)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_waiting()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
