"""Ends a run that makes no step: whoever started it can start it again, and a hang costs no night.

A thread counts seconds since the last step. It begins with the first one, so that compiling takes
what it takes, and does not count while an evaluation is under way.
"""

import faulthandler
import os
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

import jax
from etils import epath

from training.contracts import HungError

TICKS = 20  # how finely the limit is counted


class Watchdog:
    """A context that exits the process with code 75 after `minutes` without `beat`; 0: never."""

    def __init__(self, minutes: float, folder: epath.Path) -> None:
        self.minutes, self.folder = minutes, folder
        self._step: int | None = None
        self._idle, self._resting = 0.0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int) -> None:
        """A step is done."""
        self._step, self._idle = step, 0.0

    @contextmanager
    def rest(self) -> Generator[None]:
        """Work that is not a step and may take long."""
        self._resting = True
        try:
            yield
        finally:
            self._resting, self._idle = False, 0.0

    def __enter__(self) -> "Watchdog":
        if self.minutes > 0:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()

    def _watch(self) -> None:
        tick = min(1.0, 60 * self.minutes / TICKS)
        while not self._over.wait(tick):
            # What this thread lived through, not what a clock says: a process that was suspended
            # for an hour did not hang.
            self._idle += tick
            if self._step is not None and not self._resting and self._idle >= 60 * self.minutes:
                self._bark(self._step)

    def _bark(self, step: int) -> None:
        process = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
        path = self.folder / f"hang_step_{step:08d}{process}.txt"
        try:
            # faulthandler writes to a file descriptor, which a bucket has not.
            with tempfile.TemporaryFile("w+") as file:
                faulthandler.dump_traceback(file, all_threads=True)
                file.seek(0)
                path.write_text(file.read())
            kept = f"every thread's stack is in {path}"
        except OSError as error:
            kept = f"and the threads' stacks could not be written ({error})"
        print(
            f"error: no step for {self.minutes:g} minutes after step {step}; {kept}: "
            "run again to go on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(HungError.code)
