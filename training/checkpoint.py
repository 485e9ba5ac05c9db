"""Checkpoints: TrainState, Selection and RunState through Orbax, asynchronous and atomic.

`checkpoints/<step>/` holds the items `state`, `selection` and `run`; `checkpoints/<step>.sha256`
beside it holds the sum of every file, written in a thread when the save is complete and verified
before a restore. The newest good one is restored; a damaged one is named in a warning and passed
over.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from training import files, manifest
from training.contracts import ConfigError, DataError, Mean

FORMAT = 1
log = logging.getLogger("reprise")


@dataclass
class RunState:
    """What the loop itself remembers, beside the arrays; plain values.

    Attributes:
      step: updates done.
      data_offset: batches that the data stream is ahead of the step (after a rollback).
      rollbacks: how often the run went back to a checkpoint.
      metrics_bytes, members_bytes: lengths of the two metric files; on resume they are cut to
        these.
      open_means: {name: (totals, counts)} of the updates since the last log line.
      seconds: time spent in earlier processes.
      format: version of this layout.
    """

    step: int = 0
    data_offset: int = 0
    rollbacks: int = 0
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
        self.folder = files.absolute(workdir) / "checkpoints"
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep,
            create=not read_only,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=not read_only,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
        )
        self.read_only = read_only
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sign")
        self._signed: Future[None] | None = None

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
        self._signed = self._executor.submit(self._sign, run.step)

    def _sign(self, step: int) -> None:
        """Waits until a save is complete, and writes its manifest; in a thread of its own."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
        if jax.process_index() == 0:
            manifest.sign(self.folder, step, self._manager.all_steps())

    def finish(self) -> None:
        """Waits until the save under way is complete and signed; raises its error."""
        if self._signed is not None:
            under_way, self._signed = self._signed, None
            under_way.result()

    def check(self) -> None:
        """Raises the error of a save that failed in the background."""
        if self._signed is not None and self._signed.done():
            self.finish()

    def close(self) -> None:
        """Waits for the save under way, lets go of the folder; `finish` raises its error."""
        self._executor.shutdown(wait=True)
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest good checkpoint's step, the same on every process; None where none was saved.

        One that is damaged is warned of and passed over. So is one that was never signed (its
        process died in the save), unless there is no other. Where a run is to go on, what was
        passed over is taken out of its way.

        Raises:
          DataError: there are checkpoints, and all are damaged.
        """
        if jax.process_count() == 1:
            return self._newest()
        found = self._newest() if jax.process_index() == 0 else None
        agreed = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if found is None else found)))
        self._manager.reload()
        return None if agreed < 0 else agreed

    def _newest(self) -> int | None:
        steps = self.steps()[::-1]
        signed = [step for step in steps if manifest.signed(self.folder, step)]
        unsigned = [step for step in steps if step not in signed]
        good = next((step for step in signed if not self._damaged(step)), None)
        if good is None and unsigned:
            good = unsigned[0]
            log.warning("checkpoint %s has no manifest: it is used as it is", good)
        if good is None and signed:
            raise DataError(
                f"all checkpoints in {self.folder} are damaged (steps {signed[::-1]}): "
                "bring one back from a copy, or begin anew with --fresh"
            )
        passed = [step for step in steps if good is not None and step > good]
        for step in passed:
            if step in unsigned:
                log.warning(
                    "checkpoint %s has no manifest, as of a process that died in the save: %s is "
                    "used", step, good,
                )  # fmt: skip
        if passed and not self.read_only:
            for step in passed:
                manifest.set_aside(self.folder, step)
            self._manager.reload()
        return good

    def _damaged(self, step: int) -> bool:
        fault = self.fault(step)
        if fault is not None:
            log.warning("checkpoint %s is damaged (%s): an earlier one is used", step, fault)
        return fault is not None

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, or None."""
        return manifest.fault(self.folder, step)

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

    def shapes(self, step: int) -> dict[str, Any]:
        """What a checkpoint's state holds, as nested dicts of what has a shape and a dtype."""
        try:
            with closing(ocp.PyTreeCheckpointHandler()) as handler:
                return handler.metadata(self.folder / str(step) / "state").tree
        except (ValueError, KeyError, FileNotFoundError, TypeError, AttributeError) as error:
            raise self._unreadable(step, error) from error

    def restore_some(self, step: int, state: Any) -> Any:
        """Some arrays of a state: nested dicts of ShapeDtypeStruct with their shardings."""
        arguments = ocp.checkpoint_utils.construct_restore_args(state)
        part = ocp.args.PyTreeRestore(state, restore_args=arguments, partial_restore=True)
        return self._restore(step, state=part)["state"]

    def _restore(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, FileNotFoundError, TypeError) as error:
            raise self._unreadable(step, error) from error

    def _unreadable(self, step: int, error: Exception) -> DataError:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return DataError(f"checkpoint {self.folder / str(step)} cannot be restored: {first}")


def abstract(shapes: Any, shardings: Any) -> Any:
    """Shapes with the shardings that a restore should give them."""
    return jax.tree.map(
        lambda s, h: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=h), shapes, shardings
    )
