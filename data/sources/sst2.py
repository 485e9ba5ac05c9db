"""SST-2, whole sentences: 6,920 / 872 / 1,821 sentences of film reviews, negative or positive.

Data: Socher et al. 2013, as clairett/pytorch-sentiment-classification keeps them: lower-cased, cut
into words by blanks. GLUE's SST-2 (data/sources/glue.py) trains on 67,349 phrases of the same
sentences, and a number by one is not one by the other.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import raw
from data.raw import RawFile
from data.sources.common import text_files
from data.sources.common.published import Published
from data.text.kinds import Texts, fake_sentence
from training.contracts import DataError, Info

_NAME = "sst2"
_ADDRESS = (
    "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/"
    "457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2/"
)
_FILES = {
    split: RawFile(name, size, sha256, _ADDRESS + name)
    for split, name, size, sha256 in (
        (
            "train",
            "train.tsv",
            720259,
            "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
        ),
        (
            "val",
            "dev.tsv",
            92057,
            "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
        ),
        (
            "test",
            "test.tsv",
            188749,
            "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
        ),
    )
}
COUNTS = {"train": 6920, "val": 872, "test": 1821}
CLASSES = ("negative", "positive")


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source: splits "train", "val" and "test"."""
    return Published(
        name=_NAME,
        form="text",
        info=Info(COUNTS, num_classes=2, class_names=CLASSES),
        pipelines=("texts", "blocks"),
        identity=" ".join(file.sha256 for file in _FILES.values()),
        read=_read,
        made_up=_made_up,
        files=tuple(_FILES.values()),
    )


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    return {"text": fake_sentence(rng, 3, 40), "label": np.int32(rng.integers(2))}


@functools.lru_cache(maxsize=3)
def _read(split: str) -> Texts:
    file = _FILES[split]
    path = raw.fetch(_NAME, [file])[file.name]
    texts, labels = [], []
    for number, line in enumerate(text_files.lines(path, COUNTS[split]), 1):
        text, tab, label = line.rpartition("\t")
        if not tab or label not in ("0", "1") or not text.strip():
            raise DataError(f"{path}, line {number}: not a sentence, a tab and 0 or 1")
        texts.append(text)
        labels.append(int(label))
    return Texts({"text": texts}, np.array(labels, np.int32))
