"""IMDb's reviews of films: 25,000 to train on and 25,000 to test, half of them negative.

TFDS's builder `imdb_reviews` (Maas et al. 2011). A review is a few hundred words; line breaks are
still written as "<br />". No validation split is published: take one with a split expression.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.raw import RawFile
from data.sources.common import tfds_texts
from data.sources.common.published import Published
from data.text.kinds import fake_sentence
from training.contracts import Info

FILES = (
    RawFile(
        "aclImdb_v1.tar.gz",
        84125825,
        "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    ),
)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source: splits "train" and "test"."""
    info = Info(
        {"train": 25000, "test": 25000}, num_classes=2, class_names=("negative", "positive")
    )
    return tfds_texts.published(
        "imdb_reviews/plain_text", "1.0.0", FILES, {"text": "text"}, info, _made_up
    )


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    return {"text": fake_sentence(rng, 50, 400), "label": np.int32(rng.integers(2))}
