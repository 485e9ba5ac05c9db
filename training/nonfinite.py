"""A loss or gradient that was not finite: what a run does about it, and what is kept to look into.

The update itself refuses such a step (training/gradients.py), so parameters stay as they were. The
loop reads of it one call late; then `report` gets the batches of that call from the pipeline again
and looks for what is bad, in this order: arrays of the batch, parameters and collections, and the
gradients of the same update run once more, without its result.
"""

import dataclasses
import io
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from training import mesh
from training.compiled import Compiled, once
from training.contracts import Batch, DivergedError, Mean, Pipeline, TrainState
from training.feed import stack
from training.folder import write_json
from training.gradients import Optimizer
from training.trees import path_name

MODES = ("stop", "skip", "rollback")
log = logging.getLogger("reprise")


class RollBackError(Exception):
    """Tells the loop to go back to the last good checkpoint; `step` is the last one refused."""

    def __init__(self, step: int) -> None:
        super().__init__(f"not finite by step {step}")
        self.step = step


def refused(means: Mapping[str, Mean]) -> bool:
    """Whether a call's metrics tell of an update that was refused."""
    mean = means.get("nonfinite")
    return mean is not None and bool(np.any(mean.total))


class Guard:
    """Does what train.nonfinite says; reports every time but in "skip", where once is enough."""

    def __init__(self, folder: epath.Path, compiled: Compiled) -> None:
        self.folder, self.compiled, self.train = folder, compiled, compiled.train
        self._reported = ""
        self._refused = 0

    def refused(
        self, state: TrainState, step: int, offset: int, rollbacks: int, means: Mapping[str, Mean]
    ) -> None:
        """The call that ended at `step` held an update that was refused.

        Raises:
          RollBackError: go back to the last good checkpoint.
          DivergedError: it is the end.
        """
        train = self.train
        self._refused += int(np.max(np.asarray(means["nonfinite"].total)))
        if train.nonfinite != "skip" or not self._reported:
            first = step - train.steps_per_call + offset
            batch = first * self.compiled.algorithm.batches_per_update
            folder = self.folder / "nonfinite" / (f"rollback_{rollbacks}" if rollbacks else "")
            self._reported = report(folder, self.compiled, state, step, batch, means)
        if train.nonfinite == "skip":
            return
        if train.nonfinite == "rollback" and rollbacks < train.max_rollbacks:
            raise RollBackError(step)
        tried = f" after {rollbacks} rollbacks" if rollbacks else ""
        raise DivergedError(
            f"the loss or a gradient was not finite at step {step}{tried}: the update was refused "
            f"(see {self._reported}); lower the learning rate, clip (optimizer.clip_norm), or set "
            "train.nonfinite='skip' or 'rollback'"
        )

    def tell(self, steps: int) -> None:
        """Warns at the end of a run whose updates were refused."""
        if self._refused:
            log.warning(
                "%d updates were refused as not finite, of a run of %d (see %s)",
                self._refused, steps, self._reported,
            )  # fmt: skip


def report(
    folder: epath.Path,
    compiled: Compiled,
    state: TrainState,
    step: int,
    first_batch: int,
    means: Mapping[str, Mean],
) -> str:
    """Writes step_<step>.json and .npz and returns the path of the former.

    Args:
      folder: where; one for each rollback, as they come back to the same steps.
      compiled: of the run.
      state: the run's now, one call later at most: where the update was refused its parameters are
        those of the refused step, but for that call.
      step: updates done at the end of the call that was refused.
      first_batch: number of its first batch in the training stream.
      means: the call's metrics.
    """
    calls, phases = compiled.train.steps_per_call, compiled.algorithm.batches_per_update
    updates = list(_batches(compiled.pipeline, first_batch, calls, phases))
    chosen, bad = 0, bad_arrays(compiled, state, updates[0])
    for number in range(1, calls):
        if bad:
            break
        found = bad_arrays(compiled, state, updates[number])
        chosen, bad = (number, found) if found else (chosen, bad)
    path = folder / f"step_{step - calls + 1 + chosen:08d}.json"
    total = np.atleast_1d(means["nonfinite"].total)
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, **updates[chosen])
        path.with_suffix(".npz").write_bytes(buffer.getvalue())
        write_json(
            path,
            {
                "step": step - calls + 1 + chosen,
                "steps_of_the_call": [step - calls + 1, step],
                "first": bad[0] if bad else None,
                "arrays": bad,
                "examined_with_the_parameters_of_step": int(np.max(np.asarray(state.step))),
                "members": [i for i, n in enumerate(total) if n] if len(total) > 1 else None,
                "batch": path.with_suffix(".npz").name,
                "batch_number": first_batch + chosen * phases,
            },
        )
    where = f"first bad array {bad[0]}" if bad else "no array is bad any more"
    log.warning("step %d was not finite: %s; its batch is kept in %s", step, where, path.parent)
    return str(path)


def _batches(pipeline: Pipeline, start: int, count: int, phases: int) -> Any:
    """This process's part of each of a call's updates, as one dict of NumPy arrays each."""
    iterator = pipeline.batches(start)
    for _ in range(count):
        yield stack(list(itertools.islice(iterator, phases)), 1, phases)
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def bad_arrays(compiled: Compiled, state: TrainState, batch: Batch) -> list[str]:
    """Paths of what is not finite: "batch/image", "params/head/kernel", "gradients/head/kernel"."""
    host = {f"batch/{k}": v for k, v in batch.items()}
    bad = [k for k, v in host.items() if _inexact(v) and not np.isfinite(v).all()]
    held = {"params": state.params, "mutable": state.mutable}
    names, leaves = _named(held)
    flags = np.asarray(once(_flags, leaves)) if leaves else []
    bad += [name for name, flag in zip(names, flags, strict=True) if flag]
    return bad + _bad_gradients(compiled, state, batch)


def _bad_gradients(compiled: Compiled, state: TrainState, batch: Batch) -> list[str]:
    """Those of one update of `state`, in the order of the parameters."""
    found: dict[str, None] = {}

    def note(names: list[str], flags: np.ndarray) -> None:
        found.update((name, None) for name, flag in zip(names, flags, strict=True) if flag)

    watching = watched(compiled.algorithm, note)
    leading = int(compiled.algorithm.batches_per_update > 1) + compiled.leading
    placed = mesh.put(batch, mesh.batch_sharding(compiled.mesh, leading))

    def update(state: TrainState, batch: Batch, constant: Batch) -> Any:
        return watching.update(state, {**batch, **constant})[1]

    try:
        with jax.set_mesh(compiled.mesh):
            jax.block_until_ready(once(update, state, placed, compiled.constant))
        jax.effects_barrier()
    except jax.errors.JaxRuntimeError as error:
        log.warning("the gradients could not be looked at: %s", str(error).splitlines()[0])
    return list(found)


def watched(part: Any, note: Callable[[list[str], np.ndarray], None], path: str = "") -> Any:
    """`part` with every Optimizer in it, however deep, showing `note` what gradients it is given.

    `note` gets their paths and, for each, whether it is not finite.
    """
    if isinstance(part, Optimizer):
        return dataclasses.replace(part, tx=_watched_tx(part.tx, note, path))
    if isinstance(part, Mapping):
        new = {k: watched(v, note, f"{path}{k}/") for k, v in part.items()}
        return new if any(new[k] is not part[k] for k in part) else part
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
        changed = {k: new for k, v in fields.items() if (new := watched(v, note, path)) is not v}
        return dataclasses.replace(part, **changed) if changed else part
    return part


def _watched_tx(tx: optax.GradientTransformation, note: Any, path: str) -> Any:
    inner = optax.with_extra_args_support(tx)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        names, leaves = _named(updates)
        names = [f"gradients/{path}{name}" for name in names]
        jax.debug.callback(lambda flags: note(names, flags), _flags(leaves))
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _named(tree: Any) -> tuple[list[str], list[Any]]:
    """(paths, leaves) of the floating-point arrays of a tree."""
    pairs = [
        (path_name(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if _inexact(leaf)
    ]
    return [name for name, _ in pairs], [leaf for _, leaf in pairs]


def _inexact(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _flags(leaves: list[Any]) -> jax.Array:
    return jnp.stack([~jnp.isfinite(leaf).all() for leaf in leaves])
