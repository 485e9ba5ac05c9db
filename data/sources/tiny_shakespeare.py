"""Tiny Shakespeare: one text of 1,115,394 characters, 65 different ones (karpathy/char-rnn).

By `unit` its examples are

    characters  one split, "train", that split expressions cut as published: nanoGPT trains on
                "train[:90%]" and validates on "train[90%:]"
    lines       its lines of four words and more, of which a share has two neighbouring words
                inverted: which, is the label (bigram shift, Conneau et al. 2018, arXiv:1805.01070,
                section 2); the first 80 % of the speeches are "train", then "val" and "test"
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import raw
from data.names import nearest
from data.raw import RawFile
from data.sources.common import text_files
from data.sources.common.published import Published
from data.text.kinds import Texts, fake_sentence
from training.contracts import ConfigError, DataError, Info

_NAME = "tiny_shakespeare"
FILE = RawFile(
    "input.txt",
    1115394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
CHARACTERS = 1115394
ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
UNITS = ("characters", "lines")
LINES = {"train": 20069, "val": 2275, "test": 1769}
CLASSES = ("intact", "inverted")
# Speeches up to which a split goes, in tenths.
_ENDS = {"train": (0, 8), "val": (8, 9), "test": (9, 10)}
_MADE_UP = 200
_SEED = 0
_LEAST_WORDS = 4
_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")


@dataclass(frozen=True)
class Config:
    """Attributes:

    unit: "characters" | "lines".
    inverted: of lines, the share that has two words inverted, 0 to 1.
    """

    unit: str = "characters"
    inverted: float = 0.5


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source; raises ConfigError for an unknown unit or a share out of its range."""
    if config.unit not in UNITS:
        raise ConfigError(f"data.source.unit is {config.unit!r}: {nearest(config.unit, UNITS)}")
    if not 0 <= config.inverted <= 1:
        raise ConfigError(f"data.source.inverted is {config.inverted}: expected 0 to 1")
    if config.unit == "characters":
        if config.inverted != Config.inverted:
            raise ConfigError("data.source.inverted is for data.source.unit=lines")
        return Published(
            name=_NAME,
            form="documents",
            info=Info({"train": CHARACTERS}),
            pipelines=("blocks",),
            identity=FILE.sha256,
            read=_read,
            made_up=_made_up,
            files=(FILE,),
            alphabet=ALPHABET,
        )
    return Published(
        name=_NAME,
        form="text",
        info=Info(LINES, num_classes=2, class_names=CLASSES),
        pipelines=("texts",),
        identity=f"{FILE.sha256} lines, {config.inverted} inverted",
        read=functools.partial(_lines, config.inverted),
        made_up=_made_up_line,
        files=(FILE,),
    )


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    """Letters that nobody wrote."""
    return {"text": "".join(rng.choice(list(ALPHABET), _MADE_UP))}


def _made_up_line(rng: np.random.Generator) -> dict[str, Any]:
    text = fake_sentence(rng, 4, 10)
    return {"text": text, "label": np.int32(rng.integers(2))}


@functools.lru_cache(maxsize=1)
def _text() -> str:
    path = raw.fetch(_NAME, [FILE])[FILE.name]
    text = text_files.read(path)
    if set(text) != set(ALPHABET):
        raise DataError(f"{path} has {len(set(text))} different characters, not {len(ALPHABET)}")
    return text


def _read(split: str) -> Texts:
    assert split == "train", split
    return Texts({"text": _text()})


def _lines(inverted: float, split: str) -> Texts:
    """The lines of a split; each of its speeches is a name and its lines."""
    speeches = [speech.splitlines()[1:] for speech in _text().strip().split("\n\n")]
    first, last = (len(speeches) * tenth // 10 for tenth in _ENDS[split])
    lines = [line for speech in speeches[first:last] for line in speech]
    return shifted(lines, inverted, np.random.default_rng((_SEED, first)))


def shifted(lines: Sequence[str], inverted: float, rng: np.random.Generator) -> Texts:
    """Lines of four words and more, a share of which has two neighbouring words inverted.

    Punctuation stays where it is, so that it does not tell; neither do words that are the same.
    """
    places = [(line, _places(line)) for line in lines]
    kept = [(line, found) for line, found in places if found]
    labels = np.zeros(len(kept), np.int32)
    labels[rng.permutation(len(kept))[: round(inverted * len(kept))]] = 1
    texts = []
    for (line, found), label in zip(kept, labels, strict=True):
        (a, b), (c, d) = found[rng.integers(len(found))]
        texts.append(line[:a] + line[c:d] + line[b:c] + line[a:b] + line[d:] if label else line)
    return Texts({"text": texts}, labels)


def _places(line: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where neighbouring words that differ begin and end; none of a line of three words."""
    spans = [match.span() for match in _WORD.finditer(line)]
    if len(spans) < _LEAST_WORDS:
        return []
    words = [line[slice(*span)].lower() for span in spans]
    return [(spans[i], spans[i + 1]) for i in range(len(spans) - 1) if words[i] != words[i + 1]]
