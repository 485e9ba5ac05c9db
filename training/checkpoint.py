"""Checkpoints: TrainState, Selection and RunState through Orbax, asynchronous and atomic.

`checkpoints/<step>/` holds the items `state`, `selection` and `run`; `checkpoints/<step>.sha256`
beside it holds the sum of every file, written when the save is complete and verified before a
restore. The newest good one is restored; a damaged one is named in a warning and passed over.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from training.contracts import ConfigError, DataError, Mean

FORMAT = 1
log = logging.getLogger("reprise")


@dataclass
class RunState:
    """What the loop itself remembers, beside the arrays; plain values.

    Attributes:
      step: updates done.
      data_offset: batches that the data stream is ahead of the step (after a rollback).
      metrics_bytes, members_bytes: lengths of the two metric files; on resume they are cut to
        these.
      open_means: {name: (totals, counts)} of the updates since the last log line.
      seconds: time spent in earlier processes.
      format: version of this layout.
    """

    step: int = 0
    data_offset: int = 0
    metrics_bytes: int = 0
    members_bytes: int = 0
    open_means: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    format: int = FORMAT

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunState":
        """Raises ConfigError for a format of a later version."""
        if values.get("format", 0) != FORMAT:
            raise ConfigError(
                f"the checkpoint has format {values.get('format')}, this version reads {FORMAT}: "
                "resume with the version that wrote it (environment.json)"
            )
        return cls(**values)


def pack_means(means: Mapping[str, Mean]) -> dict[str, Any]:
    """Means as lists of Python floats, which JSON keeps exactly."""
    return {
        k: (np.asarray(m.total, np.float64).tolist(), np.asarray(m.count, np.float64).tolist())
        for k, m in means.items()
    }


def unpack_means(packed: Mapping[str, Any]) -> dict[str, Mean]:
    """The inverse of `pack_means`."""
    return {k: Mean(np.asarray(total), np.asarray(count)) for k, (total, count) in packed.items()}


class Checkpoints:
    """The checkpoints of one run's folder.

    `read_only` is for who looks at a folder in which a run may be alive: its half-written saves
    stay.
    """

    def __init__(self, workdir: Any, keep: int = 2, read_only: bool = False) -> None:
        self.folder = epath.Path(workdir).absolute() / "checkpoints"
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep,
            create=not read_only,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=not read_only,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._unsigned: int | None = None

    def save(self, state: Any, selection: Any, run: RunState) -> None:
        """Starts a save of `run.step`; returns when the arrays are copied off the devices."""
        self.finish()
        if run.step in self._manager.all_steps():
            return
        self._manager.save(
            run.step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                selection=ocp.args.StandardSave(selection),
                run=ocp.args.JsonSave(asdict(run)),
            ),
        )
        self._unsigned = run.step

    def finish(self) -> None:
        """Waits for the save under way, raises its error, and writes its manifest."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
        if self._unsigned is None or jax.process_index() != 0:
            return
        sums = checksums(self.folder / str(self._unsigned))
        path = self._manifest(self._unsigned)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(sums, indent=1))
        partial.replace(path)
        self._unsigned = None
        kept = {str(s) for s in self._manager.all_steps()}
        for old in self.folder.glob("*.sha256"):
            if old.stem not in kept:
                old.unlink()

    def check(self) -> None:
        """Raises the error of a save that failed in the background."""
        self._manager.check_for_errors()

    def close(self) -> None:
        """Waits for the save under way, lets go of the folder; `finish` raises its error."""
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest good checkpoint's step; a damaged one is warned of and passed over."""
        for step in reversed(self.steps()):
            fault = self.fault(step)
            if fault is None:
                return step
            log.warning("checkpoint %s is damaged (%s): an earlier one is used", step, fault)
        return None

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, or None."""
        manifest = self._manifest(step)
        if not manifest.exists():
            # Orbax makes a folder visible only when it is complete: the process died before
            # signing.
            return None
        try:
            expected = json.loads(manifest.read_text())
        except ValueError:
            return f"{manifest.name} is not JSON"
        found = checksums(self.folder / str(step))
        for name, value in expected.items():
            if found.get(name) != value:
                return f"{name} is {'missing' if name not in found else 'not what was written'}"
        return None

    def restore_run(self, step: int) -> RunState:
        """The RunState of a checkpoint."""
        restored = self._restore(step, run=ocp.args.JsonRestore())
        return RunState.from_json(restored["run"])

    def restore(self, step: int, state: Any, selection: Any) -> tuple[Any, Any]:
        """(state, selection); the arguments are trees of ShapeDtypeStruct with their shardings."""
        restored = self._restore(
            step,
            state=ocp.args.StandardRestore(state),
            selection=ocp.args.StandardRestore(selection),
        )
        return restored["state"], restored["selection"]

    def _restore(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, FileNotFoundError, TypeError) as error:
            first = str(error).splitlines()[0][:200]
            raise DataError(
                f"checkpoint {self.folder / str(step)} cannot be restored: {first}"
            ) from error

    def _manifest(self, step: int) -> epath.Path:
        return self.folder / f"{step}.sha256"


def abstract(shapes: Any, shardings: Any) -> Any:
    """Shapes with the shardings that a restore should give them."""
    return jax.tree.map(
        lambda s, h: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=h), shapes, shardings
    )


def checksums(folder: epath.Path) -> dict[str, str]:
    """{relative path: sha256} of every file below `folder`."""
    sums = {}
    for path in _files(folder):
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        sums[str(path.relative_to(folder))] = digest.hexdigest()
    return sums


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    # Not rglob: on a bucket it is refused.
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
