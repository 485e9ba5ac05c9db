"""What token ids mean, kept beside a run of texts: vocabulary.json, entries and ids by tokenizer.

A model knows ids alone. Where one's own texts or a tokenizer's file changed since, the same ids are
other words, nothing has another shape, and what the model says is nonsense. "texts" in it is the
digest of what the run learns from: with others it would go on in another order, unseen.
"""

import logging
from collections.abc import Mapping

import jax
from etils import epath

from training.contracts import DataError
from training.folder import read_json, write_json

Vocabularies = Mapping[str, Mapping[str, int]]
NAME, TEXTS = "vocabulary.json", "texts"
log = logging.getLogger("reprise")


def keep(folder: epath.Path, vocabularies: Vocabularies, digest: str = "") -> None:
    """Writes those of a run that begins; nothing of one without texts."""
    if jax.process_index() == 0 and vocabularies:
        write_json(folder / NAME, {**vocabularies, **({TEXTS: digest} if digest else {})})


def check(folder: epath.Path, vocabularies: Vocabularies) -> None:
    """Raises DataError where the run in a folder, if it says so, learned with others."""
    told = different(folder, vocabularies)
    if told:
        raise DataError(
            f"{folder / NAME}: this run learned with another vocabulary than its texts or its "
            f"tokenizer's file give now ({told}): bring back what it was made of"
        )


def check_texts(folder: epath.Path, digest: str) -> None:
    """Raises DataError where a run that goes on, if it says so, learned from other texts."""
    path = folder / NAME
    before = read_json(path).get(TEXTS) if digest and path.exists() else None
    if before and before != digest:
        raise DataError(
            f"{path}: the texts are not those that this run learned from: bring them back, or "
            "begin another run with --fresh"
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
