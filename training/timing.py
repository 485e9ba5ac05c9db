"""Where a run's time goes: rates, waiting, saving, compiling. Kept out of metrics.jsonl."""

import resource
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import jax
import psutil

from training.folder import Records


class Clock:
    """Counts the seconds of one process's part of a run; `saved` of them in saves."""

    def __init__(self) -> None:
        self.earlier = self.saved = 0.0
        self._began = time.monotonic()
        self._events: list[dict[str, Any]] = []
        self.starting = True
        self._step, self._wait, self._batch_size = 0, 0.0, 0
        self.restart(0, 0.0)

    def restart(self, step: int, wait: float) -> None:
        """Rates count from here; `wait` seconds were waited for data so far."""
        self._step, self._wait = step, wait
        self._mark, self._mark_step, self._mark_wait = time.monotonic(), step, wait
        self._paused = self._saving = 0.0

    def seconds(self) -> float:
        """Since the run began, earlier processes included."""
        return self.earlier + time.monotonic() - self._began

    @contextmanager
    def measure(self, event: str) -> Generator[None]:
        """Records how long a one-time event takes."""
        began = time.monotonic()
        yield
        self._events.append({"event": event, "seconds": time.monotonic() - began})

    def taken(self, event: str) -> float | None:
        """Seconds of a one-time event that no record has yet; None where it was not measured."""
        return next((e["seconds"] for e in self._events if e["event"] == event), None)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Time that is not training's."""
        began = time.monotonic()
        yield
        self._paused += time.monotonic() - began

    @contextmanager
    def saving(self) -> Generator[None]:
        """Time of the loop's thread in a save."""
        began = time.monotonic()
        yield
        self._saving += time.monotonic() - began
        self.saved += time.monotonic() - began

    def step(self, step: int, wait: float, batch_size: int) -> None:
        """After a call was dispatched and the one before it read."""
        self._step, self._wait, self._batch_size = step, wait, batch_size
        if self.starting:
            self.starting = False
            self._events.append({"event": "first_step", "seconds": process_seconds()})
            self.restart(step, wait)

    def write(self, records: Records) -> None:
        """The events so far, and one line of rates since the last one."""
        for event in self._events:
            records.timing(event)
        self._events = []
        total = time.monotonic() - self._mark
        seconds = total - self._paused
        steps = self._step - self._mark_step
        if steps > 0 and seconds > 0:
            records.timing(
                {
                    "step": self._step,
                    "steps_per_s": steps / seconds,
                    "examples_per_s": steps * self._batch_size / seconds,
                    "seconds": self.seconds(),
                    "wait_share": (self._wait - self._mark_wait) / seconds,
                    "save_share": self._saving / total,
                }
            )
        self.restart(self._step, self._wait)

    def write_memory(self, records: Records) -> None:
        """The peak memory of the process and, where the backend tells, of each device."""
        records.timing({"event": "memory", **peak_memory()})


def peak_memory() -> dict[str, int]:
    """{"host_bytes": ..., "device_bytes": ...}; the latter only where the backend counts it."""
    peak = {"host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        peak["device_bytes"] = stats["peak_bytes_in_use"]
    return peak


def process_seconds() -> float:
    """Since this process was started."""
    return time.time() - psutil.Process().create_time()
