"""What token ids mean, kept beside a run of texts: vocabulary.json, entries and ids by tokenizer.

A model knows ids alone. Where one's own texts or a tokenizer's file changed since, the same ids are
other words, nothing has another shape, and what the model says is nonsense.
"""

import logging
from collections.abc import Mapping

import jax
from etils import epath

from training.contracts import DataError
from training.folder import read_json, write_json

Vocabularies = Mapping[str, Mapping[str, int]]
NAME = "vocabulary.json"
log = logging.getLogger("reprise")


def keep(folder: epath.Path, vocabularies: Vocabularies) -> None:
    """Writes those of a run that begins; nothing of one without texts."""
    if jax.process_index() == 0 and vocabularies:
        write_json(folder / NAME, vocabularies)


def check(folder: epath.Path, vocabularies: Vocabularies) -> None:
    """Raises DataError where the run in a folder, if it says so, learned with others."""
    told = different(folder, vocabularies)
    if told:
        raise DataError(
            f"{folder / NAME}: this run learned with another vocabulary than its texts or its "
            f"tokenizer's file give now ({told}): bring back what it was made of"
        )


def warn(folder: epath.Path, vocabularies: Vocabularies) -> None:
    """A warning where the weights that a run begins with learned with others."""
    told = different(folder, vocabularies)
    if told:
        log.warning(
            "the weights of %s learned with another vocabulary (%s): their embedding is of other "
            "texts' tokens", folder, told,
        )  # fmt: skip


def different(folder: epath.Path, vocabularies: Vocabularies) -> str:
    """How the vocabularies that a folder keeps differ from these; "" where they do not."""
    path = folder / NAME
    if not vocabularies or not path.exists():
        return ""
    kept = read_json(path)
    for name, entries in vocabularies.items():
        before = kept.get(name, {})
        moved = sum(before.get(entry) != index for entry, index in entries.items())
        if moved or len(before) != len(entries):
            return f"data.{name}: {moved} of {len(entries)} entries, and {len(before)} were there"
    return ""
