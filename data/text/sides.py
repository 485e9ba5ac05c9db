"""Texts with their beginnings and ends, written into rows without a loop over them.

Letters: `b` texts, `n` all of a split.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.text.store import Ids


@dataclass(frozen=True)
class Side:
    """Texts with a beginning and an end.

    Attributes:
      ids: of the texts.
      first, last: special tokens around each.
      limit: tokens of the longest row, these included.
      pad: the id behind the end of a row.
    """

    ids: Ids
    first: tuple[int, ...]
    last: tuple[int, ...]
    limit: int
    pad: int

    @property
    def around(self) -> int:
        """Special tokens of a row."""
        return len(self.first) + len(self.last)

    @property
    def full(self) -> np.ndarray:
        """int64 [n]: tokens of each text's row, were nothing cut."""
        return self.ids.lengths + self.around

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: tokens of each text's row."""
        return np.minimum(self.full, self.limit)

    @property
    def excess(self) -> np.ndarray:
        """int64 [n]: tokens that are cut."""
        return self.full - self.lengths

    def write(
        self, flat: np.ndarray, starts: np.ndarray, texts: np.ndarray, lengths: np.ndarray
    ) -> None:
        """Writes each of `texts` [b] into `flat` at its start, where it takes its length."""
        bodies, begun = lengths - self.around, starts + len(self.first)
        text, place = ragged(bodies)
        flat[begun[text] + place] = self.ids.flat[self.ids.offsets[texts][text] + place]
        for shift, token in enumerate(self.first):
            flat[starts + shift] = token
        for shift, token in enumerate(self.last):
            flat[begun + bodies + shift] = token

    def rows(self, texts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(int32 [b, size], int32 [b] lengths): a row a text."""
        flat, lengths = np.full(len(texts) * size, self.pad, np.int32), self.lengths[texts]
        self.write(flat, np.arange(len(texts)) * size, texts, lengths)
        return flat.reshape(-1, size), lengths.astype(np.int32)


def ragged(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) int64 of each place of rows that are so long."""
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - np.repeat(ends - lengths, lengths)


def side(ids: Ids, special: Mapping[str, int], names: tuple[str, str], limit: int) -> Side:
    """A Side whose beginning and end are the special tokens `names`, where there are such."""
    first, last = (tuple(special[name] for name in [name] if name in special) for name in names)
    return Side(ids, first, last, limit, special.get("pad", 0))
