"""`--profile`: a trace of some calls of the update after warm-up, kept in the run's folder.

xprof reads it.
"""

import logging
from typing import Any

import jax
from etils import epath

from training import files

# Of this process: the first ones compile, fill caches and wait for the first data.
WARM_UP_CALLS = 5
TRACED_CALLS = 5
log = logging.getLogger("reprise")


class Profile:
    """Counts a process's calls of the update, and traces those after the warm-up where `wanted`."""

    def __init__(self, folder: epath.Path, wanted: bool) -> None:
        self.folder, self.wanted = folder, wanted
        self._calls, self._first, self._last = 0, 0, 0
        self._mirror: files.Mirror | None = None

    def call(self, step: int, done: Any) -> None:
        """After a call that made `step` updates complete; `done` are arrays that it computes."""
        if not self.wanted:
            return
        self._calls += 1
        if self._calls == WARM_UP_CALLS:
            # What was dispatched before belongs to no traced step.
            jax.block_until_ready(done)
            self._mirror = files.Mirror(self.folder)
            self._first = step + 1
            jax.profiler.start_trace(str(self._mirror.local / "profile"))
        self._last = step
        if self._calls == WARM_UP_CALLS + TRACED_CALLS:
            jax.block_until_ready(done)
            self.stop()

    def stop(self) -> None:
        """Ends the trace where one is under way, and says how to look at it."""
        if self._mirror is None:
            return
        jax.profiler.stop_trace()
        self._mirror.close()
        self._mirror = None
        if self._last < self._first:
            log.warning("profile: no step came after the %d of the warm-up", WARM_UP_CALLS)
            return
        place = self.folder / "profile"
        log.info("profile: steps %d to %d are in %s", self._first, self._last, place)
        log.info("profile: to look at it: pip install xprof, then xprof --logdir=%s", place)

    def close(self) -> None:
        """Ends the trace, or says why there is none."""
        if 0 < self._calls < WARM_UP_CALLS:
            log.warning(
                "profile: no trace: %d calls of the update in this process, and a trace begins "
                "after %d", self._calls, WARM_UP_CALLS,
            )  # fmt: skip
        self.stop()
