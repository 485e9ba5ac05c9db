"""What a text source hands to its pipelines, and the forms that examples have.

form          fields                 and
documents     "text"                 nothing: they are learnt as a language
text          "text"                 labels
pair          "text", "pair"         labels
tags          "text", "tags"         a tag a word, both separated by blanks
translation   "source", "target"     nothing
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from training.contracts import Info

FORMS: dict[str, tuple[str, ...]] = {
    "documents": ("text",),
    "text": ("text",),
    "pair": ("text", "pair"),
    "tags": ("text", "tags"),
    "translation": ("source", "target"),
}


@dataclass(frozen=True)
class Texts:
    """The examples of a published split.

    Attributes:
      fields: texts [n] by field; one long text, whose examples are its characters, is a str.
      labels: int32 [n] classes, float32 [n] numbers, or None.
    """

    fields: Mapping[str, Sequence[str]]
    labels: np.ndarray | None = None

    def part(self, start: int, stop: int) -> "Texts":
        """The examples start <= i < stop; of one long text, one example that is its part."""
        cut = {name: texts[start:stop] for name, texts in self.fields.items()}
        whole = {k: (v,) if isinstance(v, str) else v for k, v in cut.items()}
        return Texts(whole, None if self.labels is None else self.labels[start:stop])


class Source(Protocol):
    """What the pipelines of texts ask of a source."""

    @property
    def info(self) -> Info:
        """Examples by split (characters, of one long text), and classes."""
        ...

    @property
    def form(self) -> str:
        """One of FORMS."""
        ...

    @property
    def name(self) -> str:
        """The folder of what is prepared of it."""
        ...

    @property
    def identity(self) -> str:
        """What tells these texts from others: sums of files; may raise DataError."""
        ...

    @property
    def alphabet(self) -> str:
        """All characters, "" where that is not known without the texts."""
        ...

    def texts(self, split: str) -> Texts:
        """A published split; may raise DataError."""
        ...

    def fake(self, seed: int, index: int) -> Mapping[str, Any]:
        """A made-up example without a file: a str by field, and its "label"."""
        ...


def fake_sentence(rng: np.random.Generator, least: int, most: int) -> str:
    """Made-up words, between `least` and `most` of them; common ones are short and come often."""
    count = int(rng.integers(least, most + 1))
    numbers = np.minimum(rng.zipf(1.3, count), 5000)
    return " ".join(f"w{number}" for number in numbers)
