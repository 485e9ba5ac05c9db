"""Tiny Shakespeare: one text of 1,115,394 characters, 65 different ones (karpathy/char-rnn).

Its examples are its characters, so that split expressions cut it as published: nanoGPT trains on
"train[:90%]" and validates on "train[90%:]".
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import raw
from data.raw import RawFile
from data.sources.common import text_files
from data.sources.common.published import Published
from data.text.kinds import Texts
from training.contracts import DataError, Info

_NAME = "tiny_shakespeare"
FILE = RawFile(
    "input.txt",
    1115394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)
CHARACTERS = 1115394
ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MADE_UP = 200


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source: one split, "train"."""
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


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    """Letters that nobody wrote."""
    return {"text": "".join(rng.choice(list(ALPHABET), _MADE_UP))}


@functools.lru_cache(maxsize=1)
def _read(split: str) -> Texts:
    assert split == "train", split
    path = raw.fetch(_NAME, [FILE])[FILE.name]
    text = text_files.read(path)
    if set(text) != set(ALPHABET):
        raise DataError(f"{path} has {len(set(text))} different characters, not {len(ALPHABET)}")
    return Texts({"text": text})
