"""What a person sees of a run: a bar on a terminal, plain lines anywhere else."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Self

log = logging.getLogger("reprise")


def setup_logging() -> None:
    """Lines of this project on stderr, those of others only where they end the run."""
    if log.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    # Orbax logs a traceback by thread of what it then raises; what is raised is said in one line.
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def show(scalars: Mapping[str, Any]) -> str:
    """'loss 0.712  accuracy 0.7931' of a record line."""
    hidden = ("step", "split") if scalars.get("nonfinite") else ("step", "split", "nonfinite")
    parts = [
        f"{k} {v:.4g}"
        for k, v in scalars.items()
        if k not in hidden and not k.endswith("_std") and isinstance(v, (int, float))
    ]
    return "  ".join(parts)


class Terminal:
    """Bars with their rate and time left on a terminal; `bar` is None where stderr is none.

    Args:
      more: a last column, such as "[dim]{task.fields[metrics]}".
    """

    def __init__(self, more: str = "") -> None:
        self.bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                *([TextColumn(more)] if more else []),
                console=Console(stderr=True),
                refresh_per_second=4,
            )

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.stop()


class Progress(Terminal):
    """A bar with rate, time left and the last metrics; log lines where stderr is no terminal."""

    def __init__(self, total: int, start: int, batch_size: int, name: str) -> None:
        super().__init__("[dim]{task.fields[metrics]}")
        self.total, self.start, self.batch_size = total, start, batch_size
        self._began = time.monotonic()
        self._last: dict[str, str] = {}
        if self.bar is not None:
            self._task = self.bar.add_task(
                name, total=total, completed=start, rate="compiling", metrics=""
            )

    def first_step(self) -> None:
        """Rates count from here: compiling is over."""
        self._began = time.monotonic()

    def advance(self, step: int) -> None:
        """`step` updates are done."""
        if self.bar is not None:
            self.bar.update(self._task, completed=step, rate=self._rate(step))

    def metrics(self, line: Mapping[str, Any]) -> None:
        """Shows a record line."""
        if self.bar is None:
            step, split = line["step"], line["split"]
            left = self._left(step)
            log.info("step %d/%d  %s  %s%s", step, self.total, split, show(line), left)
        else:
            self._last[line["split"]] = show({k: line[k] for k in list(line)[2:5]})
            text = "  ".join(f"{k}: {v}" for k, v in self._last.items())
            self.bar.update(self._task, metrics=text)

    def _speed(self, step: int) -> float:
        return (step - self.start) / max(time.monotonic() - self._began, 1e-9)

    def _rate(self, step: int) -> str:
        return f"{self._speed(step) * self.batch_size:,.0f} examples/s"

    def _left(self, step: int) -> str:
        if step <= self.start or step >= self.total:
            return ""
        seconds = (self.total - step) / max(self._speed(step), 1e-9)
        return f"  ({self._rate(step)}, {seconds:.0f} s left)"
