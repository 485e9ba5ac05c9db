"""One's own texts: a folder of .txt files, or tables (.csv, .tsv) with columns.

    PATH/*.txt                    documents, to be learnt as a language
    PATH/pos/*.txt PATH/neg/*.txt texts of classes (form "text"), named by their folders
    PATH/reviews.csv              any form: its columns are named in `columns`

Where PATH/train exists (a folder, train.csv, train.tsv, or train.txt of documents), splits are
those of "train", "val" and "test" in PATH; a table may also be PATH itself. Otherwise "val" and
"test" are drawn from all with `split_seed`. A document is a file or a line, or all files are one
text, "whole", whose examples are its characters: split expressions then cut it, as in
data/sources/tiny_shakespeare.py.

Files are UTF-8. Empty documents and lines are left out, and counted once; an empty text that has a
label, a pair or a translation is refused, and so are documents in texts beside some in tables.
Names that begin with a dot are passed over.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.names import nearest
from data.sources.common import own_texts
from data.text import store
from data.text.kinds import FORMS, Texts, fake_sentence
from training.contracts import ConfigError, Info

_FAKE_EXAMPLES = {"train": 60, "val": 20, "test": 20}
_FAKE_CLASSES = ("class_0", "class_1")
_FAKE_CHARACTERS = 100_000


@dataclass(frozen=True)
class Config:
    """Which folder, what its texts are, and how they are split.

    Attributes:
      path: the folder, or a table; "" serves fake batches only.
      form: documents | text | pair | tags | translation (data/text/kinds.py).
      document: of .txt files of the form documents: "file", "line" or "whole".
      columns: a table's names of text, pair, label, tags, source and target, where they are others.
      numbers: labels are numbers to predict, not classes.
      test_fraction, val_fraction: of all examples, where the splits are not there.
      split_seed: draws them.
    """

    path: str = ""
    form: str = "documents"
    document: str = "file"
    columns: dict[str, str] = field(default_factory=lambda: dict(own_texts.COLUMNS))
    numbers: bool = False
    test_fraction: float = 0.1
    val_fraction: float = 0.1
    split_seed: int = 0


# Fake batches must not depend on whose folder it is.
TINY: dict[str, object] = {"path": ""}


@dataclass(frozen=True)
class TextFolder:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("texts", "blocks") if FORMS[self.form] == ("text",) else ("texts",)

    @property
    def name(self) -> str:
        """The folder of what is prepared of it."""
        return "text_folder"

    @property
    def form(self) -> str:
        """See data/text/kinds.py."""
        return self.config.form

    @property
    def alphabet(self) -> str:
        """Not known without the texts."""
        return ""

    @functools.cached_property
    def identity(self) -> str:
        """The files by path, size and time of change, and how they are read."""
        return f"{own_texts.stamp(Path(self.config.path))} {self.config}"

    @functools.cached_property
    def content(self) -> own_texts.Content:
        """All splits; raises DataError where the folder is not as it should be."""
        config, root = self.config, Path(self.config.path)
        reading = own_texts.Reading(
            config.form,
            config.document,
            tuple(config.columns.items()),
            config.numbers,
            (("val", config.val_fraction), ("test", config.test_fraction)),
            config.split_seed,
        )
        return own_texts.read(root, reading, own_texts.stamp(root))

    @functools.cached_property
    def info(self) -> Info:
        """Read from the folder."""
        if not self.config.path:
            return self._fake_info()
        content = self.content
        return Info(
            {split: len(next(iter(t.fields.values()))) for split, t in content.splits.items()},
            num_classes=len(content.class_names),
            class_names=content.class_names,
            num_targets=int(self.config.numbers),
        )

    def _fake_info(self) -> Info:
        labelled = self.form in ("text", "pair", "tags") and not self.config.numbers
        names = _FAKE_CLASSES if labelled else ()
        sizes = {"train": _FAKE_CHARACTERS} if self.config.document == "whole" else _FAKE_EXAMPLES
        return Info(
            sizes,
            num_classes=len(names),
            class_names=names,
            num_targets=int(self.config.numbers),
        )

    def texts(self, split: str) -> Texts:
        """A split."""
        if not self.config.path:
            raise ConfigError("data.source.path is not given: the folder that holds the texts")
        return self.content.splits[split]

    def fake(self, seed: int, index: int) -> Mapping[str, Any]:
        """Made-up words by field, and a label where there are labels."""
        rng = np.random.default_rng((seed, index))
        names = self.info.class_names
        made: dict[str, Any] = {}
        for name in FORMS[self.form]:
            made[name] = fake_sentence(rng, 5, 60)
        if self.form == "tags":
            count = len(made["text"].split())
            made["tags"] = " ".join(names[i] for i in rng.integers(len(names), size=count))
        elif self.config.numbers:
            made["label"] = np.float32(rng.uniform())
        elif names:
            made["label"] = np.int32(rng.integers(len(names)))
        return made

    def prepare(self) -> None:
        """Reads the folder once."""
        if not self.config.path:
            raise ConfigError("data.source.path is not given: the folder that holds the texts")
        _ = self.content

    def verify(self) -> list[str]:
        """A line on the folder, and one on each thing prepared; may raise DataError."""
        lines = []
        if self.config.path:
            sizes = ", ".join(f"{size} {split}" for split, size in self.info.num_examples.items())
            lines.append(f"{sizes} examples in {self.config.path}")
        return lines + store.verify(self.name)


def build(config: Config) -> TextFolder:
    """The source; raises ConfigError for a value out of range, DataError for a bad folder."""
    if config.form not in FORMS:
        raise ConfigError(f"data.source.form is {config.form!r}: {nearest(config.form, FORMS)}")
    if config.document not in own_texts.DOCUMENTS:
        raise ConfigError(
            f"data.source.document is {config.document!r}: "
            f"{nearest(config.document, own_texts.DOCUMENTS)}"
        )
    if config.document != "file" and config.form != "documents":
        raise ConfigError(
            f"data.source.document is {config.document!r}, which is for the form 'documents', "
            f"not {config.form!r}"
        )
    for name in config.columns:
        if name not in own_texts.COLUMNS:
            known = nearest(name, own_texts.COLUMNS)
            raise ConfigError(f"data.source.columns names {name!r}: {known}")
    if config.numbers and config.form not in ("text", "pair"):
        raise ConfigError(f"data.source.numbers is True, and the form {config.form!r} has no label")
    fractions = (config.test_fraction, config.val_fraction)
    if min(fractions) < 0 or sum(fractions) >= 1:
        raise ConfigError(
            f"data.source.test_fraction and val_fraction are {fractions[0]} and {fractions[1]}: "
            "they must not be negative, and leave something to train on"
        )
    source = TextFolder(config)
    if config.path:
        # Here, so that a wrong path is said before anything is compiled.
        _ = source.content
    return source
