"""Fake batches in NumPy: shapes and types of the real ones, without data or TensorFlow."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from data.examples import Arrays, Source

if TYPE_CHECKING:
    from data.pipelines.examples import Plan

# A benchmark measures the step and not this generator: few examples and few batches are made.
_POOL_BYTES = 256 * 2**20
_POOL_BATCHES = 8
_DISTINCT_EXAMPLES = 256
_DISTINCT_BYTES = 8 * 2**20


def stack(source: Source, seed: int, indices: np.ndarray) -> Arrays:
    """The fake examples `indices` [k] as arrays [k, ...]."""
    examples = [source.fake(seed, int(index)) for index in indices]
    return {name: np.stack([e[name] for e in examples]) for name in examples[0]}


class Batches:
    """Batches of fake examples; in training, number s is number s mod a small pool's size."""

    def __init__(self, plan: "Plan", source: Source):
        self._plan, self._source = plan, source
        self._pool: dict[int, Arrays] = {}
        self._pool_size = _POOL_BATCHES

    def iterate(self, start: int, num_batches: int | None) -> Iterator[Arrays]:
        """This process's part of batch number start, start + 1, ..."""
        number = start
        while num_batches is None or number < num_batches:
            yield dict(self._batch(number))
            number += 1

    def _batch(self, number: int) -> Arrays:
        if not self._plan.train:
            return self._made(number)
        if not self._pool:
            first = self._made(0)
            size = sum(array.nbytes for array in first.values())
            self._pool_size = max(1, min(_POOL_BATCHES, _POOL_BYTES // max(size, 1)))
            self._pool[0] = first
        slot = number % self._pool_size
        if slot not in self._pool:
            self._pool[slot] = self._made(slot)
        return self._pool[slot]

    def _made(self, number: int) -> Arrays:
        plan = self._plan
        rows = number * plan.batch_size + plan.first + np.arange(plan.local)
        used, places = np.unique(rows % self._distinct, return_inverse=True)
        batch = stack(self._source, plan.seed, used)
        for step in plan.steps:
            batch = step.transform.stand_in(batch, self._source.info)
        batch = {name: array[places] for name, array in batch.items()}
        if not plan.train:
            mask = rows < len(plan.split)
            index = np.where(mask, rows + plan.split.start, -1)
            batch |= {"mask": mask, "index": index.astype(np.int64)}
        return batch

    @functools.cached_property
    def _distinct(self) -> int:
        """How many examples are made; photographs are few, because each takes its time."""
        example = self._source.fake(self._plan.seed, 0)
        size = sum(np.asarray(value).nbytes for value in example.values())
        return min(len(self._plan.split), _DISTINCT_EXAMPLES, max(8, _DISTINCT_BYTES // size))
