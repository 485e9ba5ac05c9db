"""Multi30k, task 1: captions of photographs in German and in English, 29,000 / 1,014 / 1,000 pairs.

Data: Elliott et al. 2016 (arXiv:1605.00459), as multi30k/dataset keeps them; "test" is that of
2016. Captions are not lower-cased or cut here: what is counted on their words (BLEU) follows from
`data.tokenizer`.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import raw
from data.raw import RawFile
from data.sources.common import languages, text_files
from data.sources.common.published import Published
from data.text.kinds import Texts, fake_sentence
from training.contracts import Info

_NAME = "multi30k"
_ADDRESS = (
    "https://raw.githubusercontent.com/multi30k/dataset/"
    "a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
)
_FILES = {
    (split, language): RawFile(
        f"{name}.{language}.gz", size, sha256, f"{_ADDRESS}{name}.{language}.gz"
    )
    for split, name, language, size, sha256 in (
        (
            "train",
            "train",
            "de",
            637044,
            "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
        ),
        (
            "train",
            "train",
            "en",
            568929,
            "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
        ),
        (
            "val",
            "val",
            "de",
            24681,
            "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
        ),
        (
            "val",
            "val",
            "en",
            21650,
            "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
        ),
        (
            "test",
            "test_2016_flickr",
            "de",
            22890,
            "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
        ),
        (
            "test",
            "test_2016_flickr",
            "en",
            21077,
            "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
        ),
    )
}
COUNTS = {"train": 29000, "val": 1014, "test": 1000}


@dataclass(frozen=True)
class Config:
    """Attributes:

    source, target: de | en, the language that is translated and the one into which it is.
    """

    source: str = "de"
    target: str = "en"


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source: splits "train", "val" and "test"; raises ConfigError for an unknown language."""
    languages.check(config.source, config.target)
    pair = (config.source, config.target)
    return Published(
        name=_NAME,
        form="translation",
        info=Info(COUNTS),
        pipelines=("texts",),
        identity=" ".join([*pair, *(file.sha256 for file in _FILES.values())]),
        read=functools.partial(_read, pair),
        made_up=_made_up,
        files=tuple(_FILES.values()),
    )


def _made_up(rng: np.random.Generator) -> dict[str, Any]:
    return {"source": fake_sentence(rng, 4, 25), "target": fake_sentence(rng, 4, 25)}


@functools.lru_cache(maxsize=6)
def _read(pair: tuple[str, str], split: str) -> Texts:
    sides = {}
    for field, language in zip(("source", "target"), pair, strict=True):
        file = _FILES[split, language]
        path = raw.fetch(_NAME, [file])[file.name]
        sides[field] = text_files.lines(path, COUNTS[split])
    return Texts(sides)
