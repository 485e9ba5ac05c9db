"""A run's folder: its lock, its config, and the files of records that a run appends to.

metrics.jsonl and members.jsonl hold nothing of the clock, so that two runs of one config can be
compared byte by byte; rates and seconds go to timings.jsonl. Only process 0 writes.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from training import config as configs
from training import determinism, files
from training.contracts import ConfigError, DataError, DiskError
from training.figures import save

# A resumed run may differ from its folder's config in these: where it runs, what it writes and what
# is said of its baseline.
FREE_ON_RESUME = (
    "mesh.",
    "train.log_every",
    "train.save_every",
    "train.keep_checkpoints",
    "train.watchdog_minutes",
    "train.compilation_cache",
    "baseline.source",
    "baseline.protocol",
    "baseline.verified",
    "baseline.reduced",
    "baseline.not_run_here",
    "baseline.short",
    "baseline.beside",
)
# How old, at most, what a bucket has of the records may be while nothing is saved.
FLUSH_SECONDS = 60.0
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy",
    "tensorflow-cpu", "tensorflow-datasets", "libtpu",
)  # fmt: skip


def write_json(path: epath.Path, value: Any) -> None:
    """Writes a file whole or not at all."""
    files.write_whole(path, json.dumps(value, indent=1, default=_jsonable) + "\n")


def read_json(path: epath.Path) -> Any:
    """Raises ConfigError for a file that is not JSON."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def _jsonable(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return str(value)


class Lock:
    """Held by the process that runs in a folder; the kernel drops it however the process ends.

    A bucket has no locks: there a launcher sees to it that a config runs once, by the job's name.
    """

    def __init__(self, workdir: epath.Path) -> None:
        self._file = None
        if files.in_bucket(workdir) or jax.process_index() != 0:
            return
        path = Path(workdir) / ".lock"
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise ConfigError(
                f"workdir {workdir} is in use by a live run ({owner}): wait for it, stop it, "
                "or give another --workdir"
            ) from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Lets another run in."""
        if self._file is not None:
            self._file.close()
            self._file = None


def open_folder(workdir: str, config: Mapping[str, Any]) -> epath.Path:
    """Makes the folder, or checks that what it holds is a run of the same config.

    A run that ended before it wrote anything (its config was wrong) leaves the folder free.

    Raises ConfigError with the keys that differ, DiskError where nothing can be written.
    """
    folder = epath.Path(workdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except Exception as error:
        if files.in_bucket(folder):
            raise files.unreachable(folder, error) from error
        if not isinstance(error, OSError):
            raise
        raise DiskError(f"cannot make the workdir {workdir}: {error.strerror or error}") from error
    path = folder / "config.json"
    if begun(folder):
        if not path.exists():
            raise ConfigError(
                f"workdir {workdir} holds a run without its config.json: bring that back, or give "
                "another --workdir"
            )
        check_same(read_json(path), config, workdir)
    return folder


def begun(folder: epath.Path) -> bool:
    """Whether a folder holds something that another run's files would destroy."""
    checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
    saved = checkpoints.is_dir() and any(p.name.isdigit() for p in checkpoints.iterdir())
    done = (folder / "result.json").exists()
    return saved or done or (metrics.exists() and metrics.stat().length > 0)


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], workdir: str) -> None:
    """Raises ConfigError unless `new` may go on where `old` stopped."""
    changed = {
        k: v
        for k, v in configs.differences(old, new).items()
        if not k.startswith(FREE_ON_RESUME) and not _longer(k, v, new)
    }
    if changed:
        text = "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in changed.items())
        raise ConfigError(
            f"workdir {workdir} holds a run of another config ({text}): "
            "give another --workdir, or --fresh for a new one"
        )


def _longer(key: str, values: tuple[Any, Any], config: Mapping[str, Any]) -> bool:
    """Whether train.steps grows under a schedule that states its own length."""
    if key != "train.steps" or None in values or values[1] < values[0]:
        return False
    optimizer = config["optimizer"]
    sections = [optimizer] if "name" in optimizer else list(optimizer.values())
    return all(s["schedule"] == "constant" or s["decay_steps"] is not None for s in sections)


def describe(folder: epath.Path, config: configs.Settings) -> None:
    """Writes config.json and environment.json; a result of fewer steps is one no more."""
    if jax.process_index() == 0:
        (folder / "result.json").unlink(missing_ok=True)
        write_json(folder / "config.json", config.values)
        write_json(folder / "environment.json", environment(config.command))


def environment(command: str) -> dict[str, Any]:
    """What environment.json says: versions, devices, flags, commit, command."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "deterministic": determinism.required(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
        "process_count": jax.process_count(),
        "cpu_count": os.cpu_count(),
        "hostname": socket.gethostname(),
        "git_commit": git_commit(),
        "command": command,
    }


def git_commit() -> str:
    """The checkout's commit, with "+changes" where the tree differs from it.

    Outside of git it is what a launcher said (REPRISE_GIT_COMMIT), or "".
    """
    root, told = Path(__file__).parent.parent, os.environ.get("REPRISE_GIT_COMMIT", "")
    try:
        options: dict[str, Any] = {"cwd": root, "capture_output": True, "text": True, "timeout": 10}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **options)
        if head.returncode:
            return told
        status = subprocess.run(["git", "status", "--porcelain", "-uno"], **options)
        return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")
    except (OSError, subprocess.TimeoutExpired):
        return told


class Records:
    """The files that a run appends to, cut on resume to what its checkpoint knew.

    A bucket gets them at each checkpoint, before it, and once a minute.
    """

    def __init__(
        self, folder: epath.Path, metrics_bytes: int, members_bytes: int, step: int
    ) -> None:
        self.writes, self._run = jax.process_index() == 0, folder
        if not self.writes:
            return
        self._mirror, self._flushed = files.Mirror(folder), time.monotonic()
        self._mirror.fetch("metrics.jsonl", "members.jsonl", "timings.jsonl")
        self.folder = self._mirror.local
        cut(self.folder / "metrics.jsonl", metrics_bytes)
        cut(self.folder / "members.jsonl", members_bytes)
        self._metrics_bytes, self._members_bytes = metrics_bytes, members_bytes
        from tensorboardX import SummaryWriter  # 0.3 s that --print_config need not wait for

        self._events = SummaryWriter(str(self.folder), purge_step=step or None)

    def metrics(self, step: int, split: str, scalars: Mapping[str, Any]) -> dict[str, Any]:
        """Appends one line; arrays [m] become mean and std here, and values in members.jsonl."""
        line: dict[str, Any] = {"step": step, "split": split}
        members: dict[str, Any] = {}
        for name, value in scalars.items():
            value = np.asarray(value, np.float64)
            if value.ndim == 0 or value.size == 1:
                line[name] = number(value.reshape(()))
            else:
                line[name], line[f"{name}_std"] = number(value.mean()), number(value.std(ddof=1))
                members[name] = [number(v) for v in value]
        if self.writes:
            self._metrics_bytes += append(self.folder / "metrics.jsonl", line)
            if members:
                self._members_bytes += append(
                    self.folder / "members.jsonl", {"step": step, "split": split, **members}
                )
            for name in scalars:
                if line[name] is not None:
                    self._events.add_scalar(f"{split}/{name}", line[name], step)
        return line

    def figures(self, step: int, split: str, figures: Mapping[str, Any]) -> None:
        """Keeps Figures by step."""
        if self.writes:
            for name, figure in figures.items():
                save(figure, self._run / "figures" / f"{step:08d}" / f"{split}_{name}.npz")

    def timing(self, values: Mapping[str, Any]) -> None:
        """Appends one line to timings.jsonl."""
        if self.writes:
            append(self.folder / "timings.jsonl", dict(values))
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Everything that was appended is in the run's folder; raises DiskError."""
        if self.writes:
            self._events.flush()
            self._mirror.push()
            self._flushed = time.monotonic()

    def lengths(self) -> tuple[int, int]:
        """(metrics_bytes, members_bytes) of what was appended so far, and is in the folder."""
        self.flush()
        return (self._metrics_bytes, self._members_bytes) if self.writes else (0, 0)

    def close(self) -> None:
        """Flushes, and lets go of the files."""
        if self.writes:
            self._events.close()
            self._mirror.close()


def number(value: Any) -> float | None:
    """A float that JSON has: None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def append(path: epath.Path, line: Mapping[str, Any]) -> int:
    """Appends a line of JSON and returns its length in bytes."""
    data = (json.dumps(line, default=_jsonable) + "\n").encode()
    with path.open("ab") as file:
        file.write(data)
    return len(data)


def cut(path: epath.Path, length: int) -> None:
    """Cuts a file to `length` bytes; what a checkpoint did not know will be written again.

    Raises:
      DataError: the file is shorter: lines that the checkpoint knew are missing.
    """
    size = Path(path).stat().st_size if path.exists() else 0
    if size < length:
        raise DataError(
            f"{path} has {size} bytes, and the checkpoint knew {length}: lines are missing; bring "
            "the file back from a copy, or begin anew with --fresh"
        )
    if size > length:
        with Path(path).open("r+b") as file:
            file.truncate(length)
