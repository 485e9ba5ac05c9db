"""Runs train.py for the rows of a reproduction, one program after the other.

Each repeat has the folder that train.py itself would give it, so that a second reproduction takes
up what an interrupted one left, and prints what is done. Its log lies beside it.
"""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tools import find, launching, leash, resolve
from tools.outcomes import MEMBERS, Row
from training.contracts import InterruptedRunError, PreemptedError
from training.progress import Terminal

POLL_SECONDS = 0.5
TAIL_LINES = 15
# What train.py ends with when it was stopped with everything saved.
STOPPED = {error.code: error for error in (PreemptedError, InterruptedRunError)}
STEP = re.compile(rb"step (\d+)/(\d+)  .*?(?:\(([\d,]+ \w+/s)[^()]*\))?$", re.MULTILINE)
TAIL_BYTES = 4096


@dataclass(frozen=True)
class Run:
    """One program of a row.

    Attributes:
      command: Python and its arguments.
      workdir: its folder.
    """

    command: tuple[str, ...]
    workdir: Path

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.workdir.with_name(f"{self.workdir.name}.log")


class RunError(Exception):
    """A run that ended with an error; the message ends with its log's tail."""


class OutOfBudgetError(Exception):
    """The time is over; what the run did is saved."""


def runs(row: Row, seeds: int | None, root: Path | None = None) -> list[Run]:
    """The programs of a row: one a seed, or one with all members of an ensemble.

    Args:
      seeds: how many repeats; None for the config's members, or what the verdict asks for.
      root: where their folders are; None for train.py's own.
    """
    if row.values["train"]["ensemble"] > 1:
        members = [] if seeds is None else [f"{MEMBERS}={seeds}"]
        return [_run(row, members, root)]
    count = seeds or row.planned
    return [_run(row, [f"train.seed={seed}"], root) for seed in range(count)]


def _run(row: Row, overrides: list[str], root: Path | None) -> Run:
    # train.py gives a config its folder by these values: what was run by hand counts.
    values = resolve.resolve(resolve.load_file(row.config), overrides)
    workdir = Path(launching.workdir(values, None, False))
    if root is not None:
        workdir = root / workdir.relative_to("runs")
    flags = [f"--config.{override}" for override in overrides]
    program = [sys.executable, str(find.ROOT / "train.py")]
    return Run((*program, f"--config={row.config}", *flags, f"--workdir={workdir}"), workdir)


class Bar(Terminal):
    """Rows done, and of the present run its steps, rate and time left; lines without a terminal."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        if self.bar is not None:
            self._rows = self.bar.add_task("rows", total=rows, rate="")
            self._steps = self.bar.add_task("", total=1, rate="", visible=False)

    def begin(self, title: str) -> None:
        """A run begins."""
        if self.bar is None:
            print(title, file=sys.stderr, flush=True)
        else:
            self.bar.reset(self._steps, total=1, description=title, rate="starting", visible=True)

    def step(self, log: Path) -> None:
        """Reads how far the run is from the end of its log."""
        found = None if self.bar is None else progress(log)
        if self.bar is not None and found is not None:
            step, steps, rate = found
            self.bar.update(self._steps, completed=step, total=steps, rate=rate)

    def row_done(self) -> None:
        """A row is done, or given up."""
        if self.bar is not None:
            self.bar.advance(self._rows)


def progress(log: Path) -> tuple[int, int, str] | None:
    """(step, of how many, "1,234 examples/s") of the last line that says so; None without one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        found = STEP.findall(file.read())
    if not found:
        return None
    step, steps, rate = found[-1]
    return int(step), int(steps), rate.decode(errors="replace")


def remaining(row: Row, planned: Sequence[Run]) -> float:
    """Seconds that the runs of a row may still take: as its record took, less what is done."""
    members = row.values["train"]["ensemble"]
    counts = [_members(run, members) if members > 1 else 1 for run in planned]
    left = sum(n * (1.0 - _share(run)) for n, run in zip(counts, planned, strict=True))
    return row.seconds_each * left


def _members(run: Run, default: int) -> int:
    mark = f"--config.{MEMBERS}="
    return next((int(a.removeprefix(mark)) for a in run.command if a.startswith(mark)), default)


def _share(run: Run) -> float:
    """How much of a run is done, as far as its files say."""
    if (run.workdir / "result.json").exists():
        return 1.0
    found = progress(run.log) if run.log.exists() and run.workdir.exists() else None
    return min(found[0] / found[1], 1.0) if found else 0.0


def execute(run: Run, bar: Bar, deadline: float | None = None) -> None:
    """Runs a program to its end; where another is in its folder, after that one's.

    Args:
      deadline: the time.monotonic() at which it is asked to save and end; None for never.

    Raises:
      RunError: it failed.
      PreemptedError, InterruptedRunError: it was stopped, by itself or with this program.
      OutOfBudgetError: the deadline came.
    """
    _wait(run, deadline)
    run.log.parent.mkdir(parents=True, exist_ok=True)
    late = False
    with run.log.open("wb") as log:
        log.write(f"$ {shlex.join(run.command)}\n".encode())
        log.flush()
        # In a session of its own: a terminal's Ctrl-C reaches it once, from here.
        process = subprocess.Popen(
            leash.command(run.command[1:]),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _passing_on(process):
            while process.poll() is None:
                bar.step(run.log)
                if deadline is not None and time.monotonic() > deadline and not late:
                    late = True
                    process.send_signal(signal.SIGTERM)
                time.sleep(POLL_SECONDS)
    if process.returncode == 0:
        return
    if late:
        raise OutOfBudgetError
    if process.returncode in STOPPED:
        raise STOPPED[process.returncode]("stopped, and saved: the same command goes on")
    raise RunError(f"exit code {process.returncode}; the end of {run.log}:\n{tail(run.log)}")


def _wait(run: Run, deadline: float | None) -> None:
    """Until no other program is in the run's folder; OutOfBudgetError where that is too long."""
    told = False
    while leash.busy(run.workdir):
        if not told:
            print(f"{run.workdir}: another run is in it: waiting", file=sys.stderr, flush=True)
            told = True
        if deadline is not None and time.monotonic() > deadline:
            raise OutOfBudgetError
        time.sleep(POLL_SECONDS)


@contextmanager
def _passing_on(process: "subprocess.Popen[Any]") -> Generator[None]:
    """SIGTERM and Ctrl-C reach the run, which saves; this program then ends as the run does."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
