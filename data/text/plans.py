"""Which texts share a batch: pure functions of their lengths and of (seed, epoch).

Every epoch holds each text once and has as many batches (of packing: rows) as any other, so that
batch s is of epoch s // batches and costs that epoch's plan alone, wherever a run begins.

Letters: `n` texts, `b` texts of a batch, `k` batches, `r` rows.
"""

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BUCKETS, _ROWS = 0xB0C7, 0x9ACC


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch.

    Attributes:
      rows: int64 [k, b], texts; -1 is padding.
      bucket: int64 [k], which of the lengths each batch has.
    """

    rows: np.ndarray
    bucket: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def buckets(
    lengths: np.ndarray,
    bounds: Sequence[int],
    batch_size: int,
    seed: int,
    epoch: int,
    shuffled: bool,
) -> Batches:
    """Batches of texts that fit the same one of the rising `bounds`.

    What is left over of a bucket, less than a batch, goes on with the next longer one; so that only
    one batch of an epoch is partly padding, a longest one. Without `shuffled`, all in order.
    """
    rng = np.random.default_rng((seed, epoch, _BUCKETS))
    order = rng.permutation(len(lengths)) if shuffled else np.arange(len(lengths))
    fits = np.searchsorted(np.asarray(bounds), lengths[order])
    assert len(lengths) and fits.max() < len(bounds), (lengths.max(initial=0), bounds)
    batches: list[np.ndarray] = []
    bucket: list[int] = []
    rest = np.zeros(0, np.int64)
    last = int(fits.max())
    for number in range(last + 1):
        texts = np.concatenate([rest, order[fits == number]])
        full = len(texts) // batch_size if number < last else -(-len(texts) // batch_size)
        whole, rest = texts[: full * batch_size], texts[full * batch_size :]
        padded = np.full(full * batch_size, -1, np.int64)
        padded[: len(whole)] = whole
        batches.append(padded.reshape(full, batch_size))
        bucket += [number] * full
    rows, kinds = np.concatenate(batches), np.array(bucket, np.int64)
    mixed = rng.permutation(len(rows)) if shuffled else np.arange(len(rows))
    return Batches(rows[mixed], kinds[mixed])


def mixed(
    lengths: np.ndarray, bounds: Sequence[int], batch_size: int, seed: int, epoch: int
) -> Batches:
    """Batches of any texts, in rows of the first of the rising `bounds` that fits the longest.

    The last batch of an epoch may be partly padding.
    """
    order = np.random.default_rng((seed, epoch, _BUCKETS)).permutation(len(lengths))
    rows = np.full((-(-len(order) // batch_size), batch_size), -1, np.int64)
    rows.flat[: len(order)] = order
    longest = np.where(rows < 0, 0, lengths[rows]).max(axis=1)
    return Batches(rows, np.searchsorted(np.asarray(bounds), longest))


@dataclass(frozen=True)
class Packs:
    """Rows that hold several texts each.

    Attributes:
      texts: int64 [n], those of a row after another's.
      starts: int64 [r + 1], where each row's begin.
    """

    texts: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, number: int) -> np.ndarray:
        """The texts of a row."""
        return self.texts[self.starts[number] : self.starts[number + 1]]


@dataclass(frozen=True)
class Packer:
    """Packs texts into rows of `size` tokens.

    Greedy, the longest first, each into the fullest row that has room for it. How many rows there
    are, and how long the texts of each, depends on the lengths alone; which of the texts of one
    length lies where is drawn for each epoch.
    """

    lengths: np.ndarray
    size: int

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        """int64 [n]: the row of each text, the longest text first."""
        assert self.lengths.max(initial=0) <= self.size, self.size
        space: dict[int, list[int]] = {}
        free: list[int] = []
        found = np.empty(len(self.lengths), np.int64)
        count = 0
        for place, length in enumerate(np.sort(self.lengths)[::-1].tolist()):
            at = bisect.bisect_left(free, length)
            if at == len(free):
                left, row = self.size, count
                count += 1
            else:
                left = free[at]
                row = space[left].pop()
                if not space[left]:
                    del space[left], free[at]
            found[place] = row
            left -= length
            if left not in space:
                space[left] = []
                bisect.insort(free, left)
            space[left].append(row)
        return found

    @functools.cached_property
    def num_rows(self) -> int:
        """Of every epoch."""
        return int(self._rows.max(initial=-1)) + 1

    def packs(self, seed: int, epoch: int) -> Packs:
        """The rows of an epoch; in which order they come is for the caller to draw."""
        drawn = np.random.default_rng((seed, epoch, _ROWS)).permutation(len(self.lengths))
        longest_first = drawn[np.argsort(-self.lengths[drawn], kind="stable")]
        by_row = np.argsort(self._rows, kind="stable")
        counts = np.bincount(self._rows, minlength=self.num_rows)
        return Packs(longest_first[by_row], np.cumsum([0, *counts]))
