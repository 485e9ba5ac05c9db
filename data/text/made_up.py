"""In place of a tokenizer, where there is no data: ids made up from made-up texts."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.text.kinds import Source, Texts
from data.text.tokenizers import Config

# Fake examples that are made; a longer fake split repeats them.
_DISTINCT = 64


@dataclass(frozen=True)
class MadeUp:
    """What a Codec does (data/text/codecs.py), with an id below vocab_size for any word."""

    config: Config

    @property
    def special(self) -> Mapping[str, int]:
        """Ids by name: the usual ones."""
        return self.config.special

    @property
    def _first(self) -> int:
        return max(self.special.values(), default=-1) + 1

    def cut(self, text: str) -> Sequence[str]:
        """Characters or words."""
        return text if self.config.name == "characters" else text.split()

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32 [t], offsets int64 [n + 1])."""
        found = [self._ids(self.cut(text)) for text in texts]
        flat = np.concatenate([np.zeros(0, np.int32), *found])
        return flat, np.cumsum([0, *map(len, found)], dtype=np.int64)

    def encode_words(self, listed: Sequence[str]) -> list[np.ndarray]:
        """The id of each word."""
        return [self._ids([word]) for word in listed]

    def _ids(self, pieces: Sequence[str]) -> np.ndarray:
        room = self.config.vocab_size - self._first
        made = [self._first + zlib.crc32(piece.encode()) % room for piece in pieces]
        return np.array(made, np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """A word that names the id, for each that is not special."""
        return " ".join(f"t{int(i)}" for i in ids if int(i) >= self._first)

    def sentence(self, ids: Iterable[int]) -> str:
        """The same up to the first end."""
        listed, end = [int(i) for i in ids], self.special.get("eos")
        stop = listed.index(end) if end in listed else len(listed)
        return self.decode(listed[:stop])

    def reference(self, text: str) -> str:
        """As `decode` would write it."""
        return self.decode(self.encode([text])[0])


def texts_of(source: Source, fields: Sequence[str], count: int) -> Texts:
    """`count` fake examples of a source, some of them the same."""
    made = [source.fake(0, index) for index in range(min(count, _DISTINCT))]
    places = np.arange(count) % len(made)
    labels = None
    if "label" in made[0]:
        labels = np.stack([example["label"] for example in made])[places]
    return Texts({name: [made[i][name] for i in places] for name in fields}, labels)
