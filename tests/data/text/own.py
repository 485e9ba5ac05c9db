"""Small text sources that the tests of texts share."""

from dataclasses import dataclass

import numpy as np

from data.text.kinds import FORMS, Texts
from training.contracts import Info

WORDS = [f"word{i}" for i in range(40)]


def sentences(count, seed=0, most=12):
    """`count` sentences of 1 to `most` words, all different: each begins with its number."""
    rng = np.random.default_rng(seed)
    return tuple(
        " ".join([f"n{i}", *rng.choice(WORDS, rng.integers(0, most))]) for i in range(count)
    )


@dataclass(frozen=True)
class Own:
    """A source in memory: `size` training examples, and 7 of "val" and of "test"."""

    size: int = 23
    form: str = "text"
    name: str = "own"
    identity: str = "own 1"
    alphabet: str = ""
    extra: tuple[str, ...] = ()

    @property
    def info(self):
        counts = {"train": self.size + len(self.extra), "val": 7, "test": 7}
        classes = () if self.form in ("documents", "translation") else ("no", "yes", "so")
        return Info(counts, num_classes=len(classes), class_names=classes)

    def texts(self, split):
        count = self.size if split == "train" else 7
        seed = ["train", "val", "test"].index(split)
        extra = self.extra if split == "train" else ()
        fields = {
            field: [*sentences(count, 10 * seed + i), *extra]
            for i, field in enumerate(FORMS[self.form])
        }
        if self.form == "tags":
            names = self.info.class_names
            fields["tags"] = [
                " ".join(names[len(word) % 3] for word in text.split()) for text in fields["text"]
            ]
        labelled = self.form in ("text", "pair")
        labels = np.arange(count + len(extra), dtype=np.int32) % 3 if labelled else None
        return Texts(fields, labels)

    def fake(self, seed, index):
        text = sentences(1, 100 * seed + index)[0]
        made = dict.fromkeys(FORMS[self.form], text)
        if self.form == "tags":
            made["tags"] = " ".join("no" for _ in text.split())
        return made | ({"label": np.int32(index % 3)} if self.form in ("text", "pair") else {})

    def prepare(self): ...

    def verify(self):
        return []
