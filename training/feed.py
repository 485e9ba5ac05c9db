"""Batches from a pipeline to the devices, one call ahead of the update that takes them."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from training.compiled import Compiled
from training.contracts import ConfigError, DataError, Pipeline


class Feed:
    """Groups the batches of one call, stacks them and places them.

    The first group is read in a thread from the moment of construction, so that starting TensorFlow
    and tracing the update overlap; later ones are read while the devices are busy with the step
    before.
    """

    def __init__(self, pipeline: Pipeline, compiled: Compiled, start: int) -> None:
        train = compiled.train
        self._steps, self._phases = train.steps_per_call, compiled.algorithm.batches_per_update
        self._compiled = compiled
        self._iterator = pipeline.batches(start * self._phases)
        self.wait = 0.0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._first: Future[Any] | None = self._executor.submit(self._group)
        self._next: dict[str, jax.Array] | None = None

    def _group(self) -> dict[str, np.ndarray]:
        count = self._steps * self._phases
        batches = [batch for _, batch in zip(range(count), self._iterator, strict=False)]
        if len(batches) < count:
            raise DataError("the training pipeline ended: a training stream must be endless")
        return stack(batches, self._steps, self._phases)

    def peek(self) -> dict[str, jax.Array]:
        """The next call's batch, on its way to the devices."""
        if self._next is None:
            began = time.perf_counter()
            if self._first is not None:
                group, self._first = self._first.result(), None
                self._executor.shutdown(wait=False)
            else:
                group = self._group()
            self._next = self._compiled.put_stacked(group)
            self.wait += time.perf_counter() - began
        return self._next

    def take(self) -> dict[str, jax.Array]:
        """The next call's batch, which the caller now owns."""
        batch, self._next = self.peek(), None
        return batch

    def close(self) -> None:
        """Ends the pipeline."""
        self._executor.shutdown(wait=True)
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def stack(batches: Sequence[Mapping[str, Any]], steps: int, phases: int) -> dict[str, np.ndarray]:
    """[steps, phases, b, ...] of a call's batches, without the axes that are 1."""
    if len(batches) == 1:
        return dict(batches[0])
    axes = tuple(n for n in (steps, phases) if n > 1)
    try:
        stacked = {k: np.stack([b[k] for b in batches]) for k in batches[0]}
    except ValueError as error:
        raise ConfigError(
            "the batches of one call differ in shape: set train.steps_per_call=1"
        ) from error
    return {k: array.reshape(*axes, *array.shape[1:]) for k, array in stacked.items()}
