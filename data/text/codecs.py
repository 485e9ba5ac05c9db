"""A tokenizer that is ready: texts to ids, ids to texts."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from data.text import words
from data.text.tokenizers import Config
from training.contracts import ConfigError, DataError

# Rows by which an embedding may be larger than a file's vocabulary, to be a multiple of 128.
_SPARE = 128
_AT_ONCE = 1000


@dataclass(frozen=True)
class Codec:
    """A tokenizer that is ready.

    Attributes:
      config: what it was made by.
      tokenizer: the library's.
      special: ids by name.
    """

    config: Config
    tokenizer: Tokenizer
    special: Mapping[str, int]

    @functools.cached_property
    def entries(self) -> int:
        """Ids are below it."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def unknown(self) -> int | None:
        """The id of what is not in the vocabulary, where there is one."""
        return self.special.get("unk")

    @functools.cached_property
    def level(self) -> str:
        """What its entries are: "characters", "words", or "pieces" that the library finds.

        A file of this project's own is told by how it cuts and joins.
        """
        if self.config.name in ("characters", "words"):
            return self.config.name
        if isinstance(self.tokenizer.model, models.WordLevel):
            if isinstance(self.tokenizer.decoder, decoders.Fuse):
                return "characters"
            if isinstance(self.tokenizer.pre_tokenizer, pre_tokenizers.WhitespaceSplit):
                return "words"
        return "pieces"

    @property
    def lowercase(self) -> bool:
        """Whether texts are lower-cased."""
        return self.config.lowercase or isinstance(self.tokenizer.normalizer, normalizers.Lowercase)

    @property
    def lossless(self) -> bool:
        """Whether ids say every character of a text: not of words or of BERT's pieces."""
        spelt = self.level == "characters" and self.unknown is None
        bytes_ = isinstance(self.tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)
        return (spelt or bytes_) and not self.lowercase

    @functools.cached_property
    def cut(self) -> Callable[[str], Sequence[str]]:
        """Of characters and words: from a text to them, the unknown ones too."""
        if self.level == "characters":
            return str.lower if self.lowercase else str
        return words.splitter(self.config.splitter, self.lowercase)

    @functools.cached_property
    def _listed(self) -> dict[str, int] | None:
        """Ids of characters and words; None where pieces are the library's to find."""
        if self.level == "pieces":
            return None
        hidden = {i for name, i in self.special.items() if name != "unk"}
        return {k: v for k, v in self.tokenizer.get_vocab().items() if v not in hidden}

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32 [t], offsets int64 [n + 1]) of texts end to end, without special tokens.

        Raises DataError for a text that the vocabulary cannot spell.
        """
        found: list[np.ndarray] = []
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            if self._listed is not None:
                found += [self._ids(self.cut(text), text) for text in part]
            else:
                encoded = _asked(
                    lambda p=part: self.tokenizer.encode_batch(p, add_special_tokens=False)
                )
                found += [np.array(one.ids, np.int32) for one in encoded]
        flat = np.concatenate([np.zeros(0, np.int32), *found])
        return flat, np.cumsum([0, *map(len, found)], dtype=np.int64)

    def _ids(self, pieces: Sequence[str], text: str) -> np.ndarray:
        """int32: the ids of the characters or words of a text."""
        known, unknown = self._listed or {}, self.unknown
        if unknown is not None:
            return np.array([known.get(piece, unknown) for piece in pieces], np.int32)
        try:
            return np.array([known[piece] for piece in pieces], np.int32)
        except KeyError as error:
            raise DataError(
                f"{error.args[0]!r} is not among the {self.entries} entries of data.tokenizer, "
                f"which has no 'unk' (data.tokenizer.specials): it stands in {_shortened(text)}"
            ) from None

    def encode_words(self, listed: Sequence[str]) -> list[np.ndarray]:
        """The ids of each word of a text that is already cut into words."""
        if self._listed is not None:
            lowered = [word.lower() if self.lowercase else word for word in listed]
            flat = self._ids(lowered, " ".join(listed))
            return [flat[i : i + 1] for i in range(len(listed))]
        # Byte-level pieces know the blank before a word.
        blank = isinstance(self.tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)
        spelt = [f" {word}" if blank and i else word for i, word in enumerate(listed)]
        encoded = _asked(
            lambda: self.tokenizer.encode(spelt, is_pretokenized=True, add_special_tokens=False)
        )
        parts: list[list[int]] = [[] for _ in listed]
        for token, word in zip(encoded.ids, encoded.word_ids, strict=True):
            parts[word].append(token)
        return [np.array(part, np.int32) for part in parts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, a line a text: special tokens, but for the unknown one and the
        mask, stand between texts and are left out.
        """
        ends = {i for name, i in self.special.items() if name not in ("unk", "mask")}
        listed = [int(i) for i in ids if int(i) >= 0]
        groups = itertools.groupby(listed, key=ends.__contains__)
        return "\n".join(self._spelt(list(group)) for end, group in groups if not end)

    def _spelt(self, ids: list[int]) -> str:
        if self._listed is None:
            return self.tokenizer.decode(ids, skip_special_tokens=False)
        return ("" if self.level == "characters" else " ").join(map(self._token, ids))

    def _token(self, index: int) -> str:
        # A model may choose a row of its embedding that stands for nothing.
        return self.tokenizer.id_to_token(index) or f"<{index}>"

    def sentence(self, ids: Iterable[int]) -> str:
        """The text up to the first end, as a decoder writes it."""
        listed, end = [int(i) for i in ids], self.special.get("eos")
        # The first may be the beginning, which in GPT-2's vocabulary is the same token.
        stop = next((i for i, token in enumerate(listed) if i and token == end), len(listed))
        return self.decode(listed[:stop])

    def pieces(self, text: str) -> list[str]:
        """How the vocabulary spells a text."""
        return [self._token(int(i)) for i in self.encode([text])[0]]

    def reference(self, text: str) -> str:
        """A text as `decode` would write it, were every word known."""
        if self.level == "words":
            return " ".join(self.cut(text))
        return self.decode(self.encode([text])[0])

    def checked(self, where: str = "data.tokenizer") -> "Codec":
        """Itself; raises ConfigError where its ids do not fit the config's vocab_size."""
        size = self.config.vocab_size
        if self.entries > size:
            raise ConfigError(
                f"{where}.vocab_size is {size}, but the tokenizer has {self.entries} entries"
                f"{_of(self.config)}: set {where}.vocab_size={self.entries}"
            )
        if self.config.splitter != words.WHITESPACE and self.level != "words":
            raise ConfigError(
                f"{where}.splitter is {self.config.splitter!r}, and{_of(self.config)} has no words"
            )
        if not self.config.trained and self.entries <= size - _SPARE:
            raise ConfigError(
                f"{where}.vocab_size is {size}, but the tokenizer has {self.entries} entries"
                f"{_of(self.config)}: this is the file of another vocabulary"
            )
        return self


def _asked(ask: Callable[[], Any]) -> Any:
    """What the library answers; raises DataError for a text that it cannot encode."""
    try:
        return ask()
    except Exception as error:
        # The library raises plain exceptions.
        raise DataError(f"data.tokenizer cannot encode a text: {error}") from error


def _of(config: Config) -> str:
    return f" ({config.path})" if config.path else ""


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
