"""A trial's runs: train.py in processes of its own, watched through the files that they write.

Only two things are read of a run: `selected` of its result.json, and while it runs the lines of
metrics.jsonl of the split that selects. tools/unseen.py leaves the test set out of its config.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from etils import epath

from tools import find, leash, unseen
from training import folder as folders
from training.contracts import (
    ConfigError,
    DataError,
    DiskError,
    HungError,
    InterruptedRunError,
)

PROGRAM = "train.py"
# Exit codes of a run that goes on when it is started again, and how often it is.
AGAIN, MOST_STARTS = (HungError.code, InterruptedRunError.code), 4
TAIL_LINES = 5


def surroundings(jobs: int, place: int, devices: Path = Path("/dev")) -> dict[str, str]:
    """The environment of the run in place 0 to jobs - 1 of those that share this machine.

    Each has its share of the cores, and of the GPUs or of one GPU's memory; what the user set
    stays. Raises ConfigError where several would share a TPU, which serves one process.
    """
    own = dict(os.environ)
    if jobs == 1:
        return own
    on_cpu = own.get("JAX_PLATFORMS") == "cpu"
    if not on_cpu and any(devices.glob("accel[0-9]*")):
        raise ConfigError(f"--jobs={jobs}: a TPU serves one process at a time, so --jobs=1")
    cores = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    shared = {"PJRT_NPROC": cores, "OMP_NUM_THREADS": cores}
    given = own.get("CUDA_VISIBLE_DEVICES")
    # The devices are nvidia0, nvidia1, ...; nvidiactl is none.
    found = [p.name.removeprefix("nvidia") for p in sorted(devices.glob("nvidia[0-9]*"))]
    gpus = [g for g in given.split(",") if g] if given is not None else found
    if gpus and not on_cpu:
        own["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
        shared["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / math.ceil(jobs / len(gpus)):.3f}"
    return {**shared, **own}


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
      values: the selected metric by seed; None where the trial failed.
      seconds: of all its runs.
      failure: why it failed, for a person.
    """

    values: list[float] | None
    seconds: float
    failure: str = ""


@dataclass
class Runs:
    """The runs of one trial, one seed after another.

    Attributes:
      folder: of the trial: trial.json, and seed0/ with seed0.log, seed1/ ...
      values: the trial's config, resolved.
      metric, mode: what selects, and "max" | "min".
      seeds: how many runs.
      environment: of their processes.
      rung: how many rungs of successive halving the first of them is known to have reached.
    """

    folder: Path
    values: Mapping[str, Any]
    metric: str
    mode: str
    seeds: int
    environment: Mapping[str, str]
    rung: int = 0
    _found: list[float] = field(default_factory=list)
    _seconds: float = 0.0
    _starts: int = 0
    _began: float = 0.0
    _read: int = 0
    _best: float | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        folders.write_json(epath.Path(self.folder) / "trial.json", unseen.config(self.values))

    @property
    def workdir(self) -> Path:
        """Of the run that is going on."""
        return self.folder / f"seed{len(self._found)}"

    @property
    def log(self) -> Path:
        """Of the same."""
        return self.folder / f"seed{len(self._found)}.log"

    @property
    def seconds(self) -> float:
        """Of the runs that ended, and of the one that is going on."""
        going = 0.0 if self._process is None else time.monotonic() - self._began
        return self._seconds + going

    def poll(self) -> Outcome | None:
        """Starts what is due; how the trial ended, once it has.

        Raises:
          DataError, DiskError: data is missing, or the disk is full: no trial would fare better.
        """
        if self._process is None:
            self._start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._process = None
        if code in AGAIN and self._starts < MOST_STARTS:
            return None
        if code in (DataError.code, DiskError.code):
            kind = DataError if code == DataError.code else DiskError
            raise kind(f"{self.log}: {tail(self.log, 1).removeprefix('error: ')}")
        if code:
            return Outcome(None, self._seconds, self._failure(code))
        result = folders.read_json(epath.Path(self.workdir) / "result.json")
        value = selected(result)
        self._seconds += float(result["seconds"])
        if value is None:
            return Outcome(None, self._seconds, f"{self.metric} was never a number")
        self._found.append(value)
        self._starts = 0
        return Outcome(self._found, self._seconds) if len(self._found) == self.seeds else None

    def _start(self) -> None:
        # A run that outlived a killed sweep is saving: it is left to end.
        if leash.busy(self.workdir):
            return
        self._starts += 1
        self._began = time.monotonic()
        seed = self.values["train"]["seed"] + len(self._found)
        command = [
            PROGRAM,
            f"--config={(self.folder / 'trial.json').absolute()}",
            f"--workdir={self.workdir.absolute()}",
            f"--config.train.seed={seed}",
        ]
        with self.log.open("ab") as log:
            # In a group of its own: Ctrl-C reaches it through this process alone.
            self._process = subprocess.Popen(
                leash.command(command), cwd=find.ROOT, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _failure(self, code: int) -> str:
        ended = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
        # An error that is reported is one line; a bug is a traceback.
        return f"{ended}: {tail(self.log, TAIL_LINES if code == 1 or code < 0 else 1)}"

    def progress(self) -> Iterator[tuple[int, float]]:
        """(step, best value so far) of each evaluation of the first seed's run, as they come."""
        path = self.workdir / "metrics.jsonl"
        if self._found or not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        # A line that is still being written is read when it is whole.
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        split, _, name = self.metric.partition("/")
        for line in map(json.loads, whole.splitlines()):
            value = line.get(name)
            if line["split"] != split or value is None:
                continue
            better = max if self.mode == "max" else min
            self._best = value if self._best is None else better(self._best, value)
            yield line["step"], self._best

    def stop(self, number: signal.Signals) -> None:
        """Sends a signal to the process, where there is one."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float = 0.0) -> None:
        """Until the process is gone; after so long it is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def selected(result: Mapping[str, Any]) -> float | None:
    """The selected metric of a result.json; the mean of an ensemble's; None where it is no number.

    Nothing else of a result is read: its other numbers are of the test set.
    """
    value = (result["selected"] or {}).get("value")
    values = value if isinstance(value, list) else [value]
    known = [float(v) for v in values if v is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def tail(path: Path, lines: int) -> str:
    """The last lines of a file, empty ones left out."""
    text = path.read_text(errors="replace") if path.exists() else ""
    found = [line for line in text.splitlines() if line.strip()]
    return "\n".join(found[-lines:]) or "(it said nothing)"


@contextlib.contextmanager
def signals() -> Generator[set[int]]:
    """The numbers of SIGINT and SIGTERM as they come: nothing is cut off in the middle of a write.

    A second one, while runs save, finds what handled it before.
    """
    came: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        came.add(number)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
