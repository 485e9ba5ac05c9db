"""Batches of rows of arrays in memory, for the pipelines of graphs: which rows, in which order.

Letters: `b` rows of a batch over all processes, `n` rows of a split.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from training.contracts import ConfigError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Which rows of a split's `size` a batch holds.

    Attributes:
      size: n.
      batch_size: b, over all processes.
      seed: of the order in training.
      train: endless; else one pass, each row once.
      shuffled: in training, in an order drawn for each epoch; else always 0 to n - 1, and padding.
      process: (index, count): this one's part of a batch is number `index` of `count`.
    """

    size: int
    batch_size: int
    seed: int
    train: bool
    shuffled: bool
    process: tuple[int, int]

    def __post_init__(self) -> None:
        index, count = self.process
        assert 0 <= index < count, self.process
        if self.batch_size % count:
            raise ConfigError(
                f"data.batch_size is {self.batch_size}, not a multiple of the {count} processes"
            )

    @property
    def num_batches(self) -> int:
        """Batches of one pass."""
        return -(-self.size // self.batch_size)

    def part(self) -> slice:
        """This process's rows of a batch."""
        index, count = self.process
        local = self.batch_size // count
        return slice(index * local, (index + 1) * local)

    def numbers(self, start: int) -> Iterator[int]:
        """start, start + 1, ...: endless in training, else to the end of the pass."""
        if start < 0:
            raise ValueError(f"start is {start}, not a batch number")
        number = start
        while self.train or number < self.num_batches:
            yield number
            number += 1

    def of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows int64 [b], mask bool [b]) of batch `number`, all processes'; padding is row 0."""
        positions = number * self.batch_size + np.arange(self.batch_size)
        if not self.train:
            mask = positions < self.size
            return np.where(mask, positions, 0), mask
        if not self.shuffled:
            positions = positions % (self.num_batches * self.batch_size)
            mask = positions < self.size
            return np.where(mask, positions, 0), mask
        epochs, places = np.divmod(positions, self.size)
        rows = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            rows[chosen] = _permutation(self.seed, int(epoch), self.size)[places[chosen]]
        return rows, np.ones(self.batch_size, bool)


@functools.lru_cache(maxsize=64)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """The rows of one epoch; the last few are kept, because batches ask for the same again."""
    return np.random.default_rng((seed, epoch, 0x0DE5)).permutation(size)


def rounded(size: int, multiple: int) -> int:
    """The least multiple that holds `size` and is not 0."""
    return max(1, -(-size // multiple)) * multiple


def this_process(index: int | None, count: int | None) -> tuple[int, int]:
    """(index, count), JAX's where not stated."""
    count = jax.process_count() if count is None else count
    return (jax.process_index() if index is None else index), count


def spec_of(batch: Arrays, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The global shapes of a batch, from any process's part of one."""
    return {
        name: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), array.dtype)
        for name, array in batch.items()
    }
