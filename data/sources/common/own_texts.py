"""Reads a person's own texts: files of text, folders of classes, tables; and splits them."""

import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.sources.common import text_files
from data.text.kinds import FORMS, Texts
from training.contracts import DataError

_log = logging.getLogger("reprise.data")
SPLITS = ("train", "val", "test")
DOCUMENTS = ("file", "line", "whole")
# A table's columns, by what they hold.
COLUMNS = {name: name for name in ("text", "pair", "label", "tags", "source", "target")}
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_TEXTS = (".txt", ".txt.gz")


@dataclass(frozen=True)
class Reading:
    """How texts are read: the fields of the source's config (data/sources/text_folder.py)."""

    form: str
    document: str
    columns: tuple[tuple[str, str], ...]
    numbers: bool
    fractions: tuple[tuple[str, float], ...]
    split_seed: int

    @property
    def labelled(self) -> bool:
        """Whether each example has a label."""
        return self.form in ("text", "pair")


@dataclass(frozen=True)
class Content:
    """What a folder holds.

    Attributes:
      class_names: of labels or tags, in alphabetical order; () where there are none.
      splits: by name.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Texts]


@dataclass(frozen=True)
class _Part:
    """Texts by field, and their labels as they are spelt."""

    fields: Mapping[str, Sequence[str]]
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def take(self, rows: np.ndarray) -> "_Part":
        fields = {name: [texts[i] for i in rows] for name, texts in self.fields.items()}
        return _Part(fields, [self.labels[i] for i in rows] if self.labels else ())


def files(root: Path) -> list[Path]:
    """The texts and tables at or below a path, in order; names with a dot in front left out."""
    if root.is_file():
        return [root]
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.name.endswith((*_TEXTS, *_TABLES))
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]


def stamp(root: Path) -> str:
    """What changes with the files at `root`: their paths, sizes and times of change."""
    if not root.exists():
        raise DataError(f"text_folder: data.source.path is {root}, which is not there")
    rows = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files(root)]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


# The pipelines of a run's splits have a source each.
@functools.lru_cache(maxsize=2)
def read(root: Path, reading: Reading, stamped: str) -> Content:
    """The texts at `root`, as they were at a stamp; DataError for what is not as it should be."""
    assert stamped
    found = {name: _place(root, name, reading.form) for name in SPLITS}
    places = {name: place for name, place in found.items() if place is not None}
    parts = {name: _part(place, reading) for name, place in places.items()}
    if "train" not in parts:
        parts = {"train": _part(root, reading)}
    if reading.document != "whole":
        parts = _drawn(parts, reading, root)
    names = _class_names(parts, reading)
    splits = {name: _texts(parts[name], names, reading) for name in SPLITS if name in parts}
    return Content(names, splits)


def _place(root: Path, split: str, form: str) -> Path | None:
    """The folder, table or, of documents, text of a split."""
    if root.is_file():
        return None
    suffixes = (*_TABLES, *_TEXTS) if form == "documents" else _TABLES
    found = [root / split, *(root / f"{split}{suffix}" for suffix in suffixes)]
    return next((path for path in found if path.exists()), None)


def _part(place: Path, reading: Reading) -> _Part:
    found = files(place)
    tables = [path for path in found if path.name.endswith(_TABLES)]
    texts = [path for path in found if path.name.endswith(_TEXTS)]
    if texts and tables and reading.form in ("documents", "text"):
        raise DataError(
            f"text_folder: {place} holds both {texts[0].name} and {tables[0].name}: which is meant?"
            " Move one kind away, or name the table as data.source.path"
        )
    if texts and reading.form == "documents":
        return _documents(texts, reading.document)
    if texts and reading.form == "text":
        return _by_folder(place, texts)
    if not tables and texts:
        raise DataError(
            f"text_folder: {place} holds .txt files only, and the form {reading.form!r} is read "
            "from a table (.csv, .tsv)"
        )
    if not tables:
        raise DataError(f"text_folder: {place} holds no texts (.txt) and no tables (.csv, .tsv)")
    wanted = [*FORMS[reading.form], *(["label"] if reading.labelled else [])]
    named = {name: dict(reading.columns).get(name, name) for name in wanted}
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    for path in tables:
        found_columns, ends = text_files.columns(path, list(named.values()))
        for name, column in named.items():
            columns[name] += found_columns[column]
        _check_rows(path, ends, {k: found_columns[v] for k, v in named.items()}, reading)
    labels = columns.pop("label", ())
    return _without_empty(place, _Part(columns, labels), reading.form)


def _check_rows(
    path: Path, ends: Sequence[int], columns: Mapping[str, Sequence[str]], reading: Reading
) -> None:
    """Raises DataError for a row that is no example, and says where it stands.

    A document may be empty: it is left out.
    """
    for i, end in enumerate(ends):
        row = {name: column[i] for name, column in columns.items()}
        where = f"text_folder: {path}, line {end}"
        empty = [name for name, text in row.items() if not text.strip()]
        if empty and reading.form != "documents":
            raise DataError(f"{where}: {empty[0]!r} is empty: fill it, or remove the row")
        if reading.numbers and not _finite(row["label"]):
            raise DataError(f"{where}: the label is {row['label']!r}, no number")
        if reading.form == "tags" and len(row["text"].split()) != len(row["tags"].split()):
            words, tags = (len(row[name].split()) for name in ("text", "tags"))
            raise DataError(f"{where}: {words} words and {tags} tags")


def _finite(label: str) -> bool:
    """Whether it is a number that float32 has."""
    try:
        return abs(float(label)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False


def _documents(paths: Sequence[Path], document: str) -> _Part:
    if document == "whole":
        whole = "".join(text_files.read(path) for path in paths)
        if not whole.strip():
            raise DataError(f"text_folder: {paths[0].parent} holds no text but white space")
        return _Part({"text": whole})
    if document == "line":
        listed = [line for path in paths for line in text_files.lines(path)]
    else:
        listed = [text_files.read(path) for path in paths]
    return _without_empty(paths[0].parent, _Part({"text": listed}), "documents")


def _without_empty(place: Path, part: _Part, form: str) -> _Part:
    """Documents without the empty ones, which are counted; others are left for their pipeline."""
    if form != "documents":
        return part
    kept = np.flatnonzero([bool(text.strip()) for text in part.fields["text"]])
    dropped = len(part) - len(kept)
    if dropped:
        _log.warning("text_folder: %d empty documents or lines of %s are left out", dropped, place)
    if not len(kept):
        raise DataError(f"text_folder: {place} holds no text but white space")
    return part.take(kept) if dropped else part


def _by_folder(place: Path, paths: Sequence[Path]) -> _Part:
    """Each file is a text, of the class that its folder in `place` is named after."""
    inside = [path.relative_to(place).parts for path in paths]
    for path, parts in zip(paths, inside, strict=True):
        if len(parts) < 2:
            raise DataError(
                f"text_folder: {path} is in no folder of a class: {place} must hold one for each"
            )
    texts = [text_files.read(path) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text.strip():
            raise DataError(f"text_folder: {path} is empty, and has a label: remove it or fill it")
    return _Part({"text": texts}, [parts[0] for parts in inside])


def _drawn(parts: Mapping[str, _Part], reading: Reading, root: Path) -> dict[str, _Part]:
    """With the splits that are not there drawn from "train"."""
    train = parts["train"]
    sizes = {
        name: round(fraction * len(train))
        for name, fraction in reading.fractions
        if fraction and name not in parts
    }
    if min(sizes.values(), default=1) < 1 or sum(sizes.values()) >= len(train):
        listed = " and ".join(f"{name}_fraction {dict(reading.fractions)[name]}" for name in sizes)
        raise DataError(
            f"text_folder: {root} holds {len(train)} examples, too few to split by {listed}: set "
            "them to 0 (of one long text: data.source.document=whole)"
        )
    order = np.random.default_rng((reading.split_seed, 0x7E47)).permutation(len(train))
    found, start = dict(parts), 0
    for name, size in sizes.items():
        found[name] = train.take(np.sort(order[start : start + size]))
        start += size
    if start:
        found["train"] = train.take(np.sort(order[start:]))
    return found


def _class_names(parts: Mapping[str, _Part], reading: Reading) -> tuple[str, ...]:
    if reading.form == "tags":
        found = {
            tag for part in parts.values() for row in part.fields["tags"] for tag in row.split()
        }
    elif reading.labelled and not reading.numbers:
        found = {label for part in parts.values() for label in part.labels}
    else:
        return ()
    if len(found) < 2:
        raise DataError(f"text_folder: the labels are {sorted(found)}: there must be two at least")
    return tuple(sorted(found))


def _texts(part: _Part, names: tuple[str, ...], reading: Reading) -> Texts:
    if not reading.labelled:
        return Texts(part.fields)
    if not reading.numbers:
        places = {name: i for i, name in enumerate(names)}
        return Texts(part.fields, np.array([places[label] for label in part.labels], np.int32))
    return Texts(part.fields, np.array([float(label) for label in part.labels], np.float32))
