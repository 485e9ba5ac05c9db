"""Published texts: what their sources have in common, each of which states the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import raw
from data.raw import RawFile
from data.text import store
from data.text.kinds import Texts
from training.contracts import DataError, Info


@dataclass(frozen=True)
class Published:
    """A source of texts.

    Attributes:
      name: of its raw folder, and of the folder of what is prepared of it.
      form: of its examples (data/text/kinds.py).
      info: the source's.
      pipelines: what serves it.
      identity: what tells these texts from others: sums of files, or what they are computed from.
      read: a published split's texts; may raise DataError.
      made_up: an example that is drawn, without a file.
      files: the raw files; none where texts are computed.
      alphabet: all characters, "" where that is not known without the texts.
      found: lines on what is on the disk, where to read all of it would take long.
    """

    name: str
    form: str
    info: Info
    pipelines: tuple[str, ...]
    identity: str
    read: Callable[[str], Texts]
    made_up: Callable[[np.random.Generator], Mapping[str, Any]]
    files: tuple[RawFile, ...] = ()
    alphabet: str = ""
    found: Callable[[], list[str]] | None = None

    @property
    def raw_folder(self) -> str:
        """The folder of its raw files."""
        return self.name

    def fake(self, seed: int, index: int) -> Mapping[str, Any]:
        """A made-up example by field, and its "label"; of its arguments alone, without a file."""
        return self.made_up(np.random.default_rng((seed, index)))

    def texts(self, split: str) -> Texts:
        """A published split; raises DataError where it is missing, damaged or not all there."""
        found, count = self.read(split), self.info.num_examples[split]
        for field, texts in found.fields.items():
            if len(texts) != count:
                raise DataError(
                    f"{self.name}: {split!r} holds {len(texts)} examples of {field!r}, not {count}"
                )
        return found

    def prepare(self) -> None:
        """Finds or downloads the files, and reads them once."""
        for split in self.info.num_examples:
            self.texts(split)

    def verify(self) -> list[str]:
        """A line on the texts, where there are any, and one on each thing prepared of them.

        Raises DataError for what is wrong.
        """
        if self.found is not None:
            return self.found() + store.verify(self.name)
        lines = []
        if not self.files or any(raw.locate(self.name, file) for file in self.files):
            self.prepare()
            counts = ", ".join(f"{count} {k}" for k, count in self.info.num_examples.items())
            where = f"in {raw.folders(self.name)[0]}" if self.files else "computed"
            lines.append(f"{counts} examples {where}")
        return lines + store.verify(self.name)
