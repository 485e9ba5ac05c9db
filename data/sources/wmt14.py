"""WMT14, German and English: 4,508,785 pairs of sentences, newstest2013 and newstest2014.

TFDS's builder `wmt14_translate/de-en` (Bojar et al. 2014): Europarl 7, Common Crawl and News
Commentary 9, 1.6 GB packed, without the pairs of which one side is empty; 3,000 sentences
("validation") and 3,003 ("test"). News are there for research; the corpora have terms of their own
(statmt.org/wmt14/translation-task.html). All pairs are held in memory, about 3 GB.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.raw import RawFile
from data.sources.common import languages, tfds_texts
from data.sources.common.published import Published
from data.text.kinds import fake_sentence
from training.contracts import Info

_BUILDER, _VERSION = "wmt14_translate/de-en", "1.0.0"
FILES = (
    RawFile(
        "training-parallel-europarl-v7.tgz",
        657632379,
        "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        "http://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",
    ),
    RawFile(
        "training-parallel-commoncrawl.tgz",
        918311367,
        "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        "http://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
    ),
    RawFile(
        "training-parallel-nc-v9.tgz",
        80418416,
        "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
        "http://www.statmt.org/wmt14/training-parallel-nc-v9.tgz",
    ),
    RawFile(
        "dev.tgz",
        38654961,
        "7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7",
        "http://data.statmt.org/wmt19/translation-task/dev.tgz",
    ),
)
COUNTS = {"train": 4_508_785, "validation": 3_000, "test": 3_003}


@dataclass(frozen=True)
class Config:
    """Attributes:

    source, target: de | en, the language that is translated and the one into which it is.
    """

    source: str = "en"
    target: str = "de"


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source; raises ConfigError for an unknown language."""
    languages.check(config.source, config.target)
    fields = {"source": config.source, "target": config.target}
    return tfds_texts.published(_BUILDER, _VERSION, FILES, fields, Info(COUNTS), _made_up)


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    return {"source": fake_sentence(rng, 4, 40), "target": fake_sentence(rng, 4, 40)}
