"""One pass over a split, as every evaluator makes it: the batches, their keys, the merged means."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from training.compiled import evaluation_key
from training.contracts import Batch, Mean, Means, Pipeline, TrainState
from training.mesh import batch_parts, gather, reader


def each_batch(
    compiled: Any, state: TrainState, pipeline: Pipeline
) -> Iterator[tuple[dict[str, np.ndarray], Batch, jax.Array]]:
    """Yields (this process's NumPy batch, the placed batch, its key) for each batch."""
    for index, batch in enumerate(pipeline.batches(0)):
        yield batch, compiled.put(batch), evaluation_key(state, "evaluate", index)


def few(stored: Mapping[str, np.ndarray], examples: int, mesh: Any) -> dict[str, np.ndarray]:
    """This process's part of a batch of the first `examples` rows, padded to divide over the mesh.

    What is made of a row for a picture, such as all pairs of its tokens, might not fit a device if
    it were made of a whole batch.
    """
    shown = min(examples, len(stored["mask"]))
    parts = batch_parts(mesh)
    rows = np.arange(math.ceil(examples / parts) * parts)
    index, count = reader(mesh)
    mine = np.array_split(rows, count)[index]
    batch = {name: value[np.where(mine < shown, mine, 0)] for name, value in stored.items()}
    return {**batch, "mask": mine < shown}


class MeanSum:
    """Merges Means on the host, in float64 and in the order given: the same sum on every run."""

    def __init__(self):
        self._sums: dict[str, Mean] = {}

    def add(self, means: Means) -> None:
        """Adds one batch's means; blocks until they are computed."""
        for name, mean in jax.device_get(means).items():
            mean = Mean(np.asarray(mean.total, np.float64), np.asarray(mean.count, np.float64))
            self._sums[name] = self._sums[name].merge(mean) if name in self._sums else mean

    def compute(self) -> dict[str, Any]:
        """Each metric's mean: a float, or an array [m] of an ensemble."""
        return {name: plain(mean.compute()) for name, mean in self._sums.items()}

    def counts(self) -> dict[str, np.ndarray]:
        """How many values each mean is of: float64 [], or [m] of an ensemble."""
        return {name: np.asarray(mean.count) for name, mean in self._sums.items()}


def plain(value: Any) -> Any:
    """A Python float of a scalar array, else the array itself."""
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array


def by_member(
    arrays: Mapping[str, np.ndarray], members: int
) -> tuple[Mapping[str, np.ndarray], ...]:
    """Splits arrays [m, n, ...] into a mapping a member; the arrays of one member are [n, ...]."""
    if members == 1:
        return (arrays,)
    return tuple({name: a[member] for name, a in arrays.items()} for member in range(members))


def unpadded(
    predicted: Mapping[str, Any], batch: Mapping[str, Any], members: int
) -> tuple[dict[str, np.ndarray], ...]:
    """For each member, whole arrays [n, ...] of one batch in data-set order, without padding.

    Args:
      predicted: arrays [b, ...], or [m, b, ...] of an ensemble.
      batch: arrays of the placed batch, with "mask": [b, ...], which all members share, or
        [m, b, ...] where their examples are their own and n may differ.
      members: m.
    """
    mask = batch["mask"]
    own = len(mask.shape) == 2
    rest = {k: v for k, v in batch.items() if k != "mask"}
    if not own:
        found = gather(dict(predicted), mask, axis=int(members > 1))
        shared = gather(rest, mask)
        return tuple({**shared, **each} for each in by_member(found, members))
    arrays = {**rest, **predicted, "mask": mask}
    if jax.process_count() > 1:
        # Each process's part of the batch is on axis 1, behind the members.
        arrays = {k: jnp.moveaxis(v, 1, 0) for k, v in arrays.items()}
        arrays = multihost_utils.process_allgather(arrays, tiled=True)
        arrays = {k: np.moveaxis(np.asarray(v), 0, 1) for k, v in arrays.items()}
    arrays = {k: np.asarray(v) for k, v in arrays.items()}
    kept = arrays.pop("mask").astype(bool)
    return tuple({k: v[i][kept[i]] for k, v in arrays.items()} for i in range(members))


def collect(values: list[dict[str, float]]) -> dict[str, Any]:
    """One float a name where there is one member, else an array [m]."""
    if len(values) == 1:
        return dict(values[0])
    return {name: np.array([member[name] for member in values]) for name in values[0]}
