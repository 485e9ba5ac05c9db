"""Which examples a batch of texts holds, and the batch."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from data.pipelines.common.rows import Rows, spec_of
from data.text import plans
from data.text.assembly import Arrays, Assembler, Documents


@dataclass(frozen=True, eq=False)
class Batching:
    """Batches by number.

    Attributes:
      maker: of rows.
      examples: int64 [n], those that are used, as `maker` counts them.
      bounds: lengths of rows, rising.
      size: examples of a batch over all processes; packed, rows.
      seed: of the order in training.
      train: endless and shuffled; else one pass, in order.
      packed: rows hold several documents.
      mixed: of several bounds, each batch has any texts, in rows that fit its longest.
      process: (index, count).
    """

    maker: Assembler
    examples: np.ndarray
    bounds: tuple[int, ...]
    size: int
    seed: int
    train: bool
    packed: bool
    mixed: bool
    process: tuple[int, int]

    @functools.cached_property
    def rows(self) -> Rows:
        """Which batches there are, and this process's part of each."""
        count = len(self.examples)
        if self.packed:
            count = self._packer.num_rows
        elif len(self.bounds) > 1:
            count = len(self._buckets(0)) * self.size
        return Rows(count, self.size, self.seed, self.train, shuffled=True, process=self.process)

    def batch(self, number: int) -> Arrays:
        """This process's part of a batch, "mask" and (of evaluation) "index" included."""
        if self.packed:
            return self._packs(number)
        if len(self.bounds) > 1:
            per_epoch = len(self._buckets(0))
            epoch, place = divmod(number, per_epoch)
            plan = self._buckets(epoch)
            places, bound = plan.rows[place], self.bounds[plan.bucket[place]]
        else:
            found, mask = self.rows.of(number)
            places, bound = np.where(mask, found, -1), self.bounds[0]
        mine = places[self.rows.part()]
        mask = mine >= 0
        # What fills up is a text all the same: a row without any would be divided by nothing.
        chosen = self.examples[np.where(mask, mine, places[0])]
        batch = self.maker.batch(chosen, bound) | {"mask": mask}
        return batch if self.train else batch | {"index": chosen}

    def spec(self, bound: int) -> dict[str, jax.ShapeDtypeStruct]:
        """The global shapes of batches in rows of `bound`."""
        none = np.zeros(0, np.int64)
        empty = self.maker.batch(none, bound) | {"mask": np.zeros(0, bool)}
        return spec_of(empty if self.train else empty | {"index": none}, self.size)

    def _packs(self, number: int) -> Arrays:
        assert isinstance(self.maker, Documents)
        rows, _ = self.rows.of(number)
        epochs = (number * self.size + np.arange(self.size)) // len(self._pack(0))
        groups = [
            self.examples[self._pack(int(epoch)).row(row)]
            for epoch, row in zip(epochs, rows, strict=True)
        ]
        mine = groups[self.rows.part()]
        mask = np.ones(len(mine), bool)
        return self.maker.packed(mine, self.bounds[-1]) | {"mask": mask}

    @functools.cached_property
    def _packer(self) -> plans.Packer:
        return plans.Packer(self.maker.lengths[self.examples], self.bounds[-1])

    # Of the last few epochs: a batch may hold the end of one and the beginning of the next.
    @functools.cached_property
    def _pack(self) -> Callable[[int], plans.Packs]:
        return functools.lru_cache(maxsize=2)(lambda epoch: self._packer.packs(self.seed, epoch))

    @functools.cached_property
    def _buckets(self) -> Callable[[int], plans.Batches]:
        lengths = self.maker.lengths[self.examples]

        def plan(epoch: int) -> plans.Batches:
            of = (lengths, self.bounds, self.size, self.seed, epoch)
            return plans.mixed(*of) if self.mixed else plans.buckets(*of, self.train)

        return functools.lru_cache(maxsize=2)(plan)
