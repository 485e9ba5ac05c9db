"""From ids to the rows of a batch: special tokens around texts, cut where too long, padded.

An assembler of each form (data/text/kinds.py) knows how long the row of each example is, and makes
the arrays of a batch. What the tokenizer has no token for is left out: the beginning is "cls" (of
documents and translations "bos"), the end "sep" (or "eos"); it stays where a text is cut. Of two
texts that are too long together the longer one is cut first, as in BERT.

Letters: `b` examples of a batch, `l` tokens of a row, `m` of a source's row, `n` examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.text.coded import Coded
from data.text.sides import Side, ragged, side
from data.text.store import Ids

Arrays = dict[str, np.ndarray]
# What stands behind the end of a row, of all but token ids.
FILL = {"targets": -1, "labels": -1, "segments": 0, "positions": 0, "token_types": 0}


class Assembler(Protocol):
    """Makes rows of examples."""

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: tokens of each example's row."""
        ...

    @property
    def excess(self) -> np.ndarray:
        """int64 [n]: tokens of each example that its row has no room for."""
        ...

    @property
    def empty(self) -> np.ndarray:
        """bool [n]: examples without text."""
        ...

    def batch(self, examples: np.ndarray, size: int) -> Arrays:
        """The arrays of `examples` [b] in rows of `size`."""
        ...


@dataclass(frozen=True)
class Single:
    """One text: "tokens" [b, l], "lengths" [b]; and "label" [b], or of tags "labels" [b, l]."""

    side: Side
    labels: np.ndarray | None
    tags: Ids | None

    @property
    def lengths(self) -> np.ndarray:
        """See Assembler."""
        return self.side.lengths

    @property
    def excess(self) -> np.ndarray:
        """See Assembler."""
        return self.side.excess

    @property
    def empty(self) -> np.ndarray:
        """See Assembler."""
        return self.side.ids.lengths == 0

    def batch(self, examples: np.ndarray, size: int) -> Arrays:
        """See Assembler."""
        tokens, lengths = self.side.rows(examples, size)
        found = {"tokens": tokens, "lengths": lengths}
        if self.labels is not None:
            found["label"] = self.labels[examples]
        if self.tags is not None:
            none = FILL["labels"]
            around = (none,) * len(self.side.first), (none,) * len(self.side.last)
            tags = Side(self.tags, *around, self.side.limit, none)
            found["labels"] = tags.rows(examples, size)[0]
        return found


@dataclass(frozen=True)
class Pair:
    """Two texts in a row, "token_types" [b, l] 1 from the second on; else as Single."""

    first: Side
    second: Side
    labels: np.ndarray | None

    @property
    def lengths(self) -> np.ndarray:
        """See Assembler."""
        return np.minimum(self.first.full + self.second.full, self.first.limit)

    @property
    def excess(self) -> np.ndarray:
        """See Assembler."""
        return self.first.full + self.second.full - self.lengths

    @property
    def empty(self) -> np.ndarray:
        """See Assembler: both texts."""
        return (self.first.ids.lengths == 0) & (self.second.ids.lengths == 0)

    def batch(self, examples: np.ndarray, size: int) -> Arrays:
        """See Assembler."""
        one, other = (own.ids.lengths[examples] for own in (self.first, self.second))
        room = one + other - self.excess[examples]
        # As if one token after another were taken from what is longer.
        one = np.minimum(one, np.maximum(room - other, -(-room // 2)))
        begun, lengths = one + self.first.around, room - one + self.second.around
        flat = np.full(len(examples) * size, self.first.pad, np.int32)
        starts = np.arange(len(examples)) * size
        self.first.write(flat, starts, examples, begun)
        self.second.write(flat, starts + begun, examples, lengths)
        places = np.arange(size)
        second = (places >= begun[:, None]) & (places < (begun + lengths)[:, None])
        found = {
            "tokens": flat.reshape(-1, size),
            "token_types": second.astype(np.int32),
            "lengths": (begun + lengths).astype(np.int32),
        }
        return found if self.labels is None else found | {"label": self.labels[examples]}


@dataclass(frozen=True)
class Documents:
    """Texts as a language: "tokens", "targets", "segments" and "positions", all [b, l].

    A row is one text, or several (`packed`); segments count them from 1, 0 is padding, and
    positions count the tokens of each from 0. The last token of a text is a target only.
    """

    side: Side

    @property
    def lengths(self) -> np.ndarray:
        """See Assembler."""
        return self.side.lengths - 1

    @property
    def excess(self) -> np.ndarray:
        """See Assembler."""
        return self.side.excess

    @property
    def empty(self) -> np.ndarray:
        """See Assembler; a text of one token, which has no target, is one."""
        return (self.side.ids.lengths == 0) | (self.lengths < 1)

    def batch(self, examples: np.ndarray, size: int) -> Arrays:
        """See Assembler."""
        return self.packed([np.array([i]) for i in examples], size)

    def packed(self, groups: Sequence[np.ndarray], size: int) -> Arrays:
        """Rows of `size`, each with the texts of a group one after another."""
        counts = np.array([len(group) for group in groups], np.int64)
        texts = np.concatenate([np.zeros(0, np.int64), *groups])
        row, segment = ragged(counts)
        lengths = self.lengths[texts]
        # The texts end to end, each with its last token.
        begun = np.cumsum(lengths + 1) - (lengths + 1)
        flat = np.zeros(int((lengths + 1).sum()), np.int32)
        self.side.write(flat, begun, texts, lengths + 1)
        text, position = ragged(lengths)
        # Where a text begins in its row: behind those of its group that come before it.
        before = np.cumsum(lengths) - lengths
        first = before - before[np.cumsum(counts) - counts][row] if len(texts) else before
        place = (row * size + first)[text] + position
        source = begun[text] + position
        values = {
            "tokens": flat[source],
            "targets": flat[source + 1],
            "segments": segment[text] + 1,
            "positions": position,
        }
        found = {}
        for name, value in values.items():
            rows = np.full(len(groups) * size, FILL.get(name, self.side.pad), np.int32)
            rows[place] = value
            found[name] = rows.reshape(-1, size)
        return found


@dataclass(frozen=True)
class Translation:
    """Two texts: "source" [b, m], "source_lengths" [b], "target" [b, l], "target_lengths" [b].

    Both have their beginning and end. In rows of `size`, m = size, and l = size too unless targets
    have a shorter limit; a longer one is refused (data/pipelines/texts.py).
    """

    source: Side
    target: Side

    @property
    def lengths(self) -> np.ndarray:
        """See Assembler: of the longer one."""
        return np.maximum(self.source.lengths, self.target.lengths)

    @property
    def excess(self) -> np.ndarray:
        """See Assembler: of what is cut more."""
        return np.maximum(self.source.excess, self.target.excess)

    @property
    def empty(self) -> np.ndarray:
        """See Assembler: either text."""
        return (self.source.ids.lengths == 0) | (self.target.ids.lengths == 0)

    def batch(self, examples: np.ndarray, size: int) -> Arrays:
        """See Assembler."""
        found: Arrays = {}
        for name, own in (("source", self.source), ("target", self.target)):
            rows, lengths = own.rows(examples, min(size, own.limit))
            found |= {name: rows, f"{name}_lengths": lengths}
        return found


def assembler(
    form: str,
    coded: Coded,
    special: Mapping[str, Mapping[str, int]],
    max_length: int,
    max_target_length: int,
) -> Assembler:
    """The assembler of a form; `special` ids are by field, lengths are those of rows."""
    ids = coded.ids
    if form == "documents":
        return Documents(side(ids["text"], special["text"], ("bos", "eos"), max_length + 1))
    if form == "translation":
        ends = ("bos", "eos")
        return Translation(
            side(ids["source"], special["source"], ends, max_length),
            side(ids["target"], special["target"], ends, max_target_length),
        )
    one = side(ids["text"], special["text"], ("cls", "sep"), max_length)
    if form == "pair":
        other = side(ids["pair"], special["pair"], ("", "sep"), max_length)
        return Pair(one, other, coded.labels)
    return Single(one, coded.labels, ids.get("tags"))
