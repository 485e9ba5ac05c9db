"""Prepared arrays of texts: made once, kept in the data folder, memory-mapped, checked by sum.

They lie in `<data dir>/text/<source>/<hash>/`, where the hash is that of all that they depend on,
which key.json lists; so another tokenizer or another file never meets old ids.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import raw
from data.runtime import data_dir
from data.sources.common import builders
from training.contracts import DataError

_log = logging.getLogger("reprise.data")
# Of what is kept: other versions of this project pass over it.
_FORMAT = 2
_SUMS, _KEY = "sums.json", "key.json"


@dataclass(frozen=True)
class Ids:
    """Token ids of n texts, end to end.

    Attributes:
      flat: int32 [t].
      offsets: int64 [n + 1], where each text begins.
    """

    flat: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]."""
        return np.diff(self.offsets)


def kept(name: str, key: Mapping[str, object], make: Callable[[Path], None], what: str) -> Path:
    """The folder of what `make` writes into an empty one, made where it never was.

    Args:
      name: the source's.
      key: all that the content depends on.
      make: writes files into the folder that it is given.
      what: in messages.

    Raises:
      DataError: files whose sums are not those that were written.
    """
    listed = {"format": _FORMAT, **key}
    text = json.dumps(listed, sort_keys=True, indent=1)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = _folder(name) / digest
    if not (folder / _SUMS).is_file():
        there = builders.in_bucket("text", name, digest, _SUMS)
        if there is not None:
            builders.copy(there, folder)
        else:
            with builders.prepared_folder(folder) as result:
                make(result)
                (result / _KEY).write_text(text)
                sums = {path.name: raw.sha256_of(path) for path in sorted(result.iterdir())}
                (result / _SUMS).write_text(json.dumps(sums, indent=1))
            _log.info("%s: %s prepared in %s (once)", name, what, folder)
    check(name, folder)
    return folder


def check(name: str, folder: Path) -> None:
    """Raises DataError where a file of a folder is not as it was written."""
    try:
        sums = json.loads((folder / _SUMS).read_text())
        wrong = [
            file for file, expected in sums.items() if raw.sha256_of(folder / file) != expected
        ]
    except (OSError, ValueError, AttributeError):
        wrong = [_SUMS]
    if wrong:
        raise DataError(
            f"{name}: {folder / wrong[0]} is damaged: remove {folder}, it is prepared again"
        )


def verify(name: str) -> list[str]:
    """A line for each folder of a source, all checked; may raise DataError."""
    lines = []
    for path in sorted(_folder(name).glob(f"*/{_SUMS}")):
        check(name, path.parent)
        lines.append(f"prepared in {path.parent}")
    return lines


def digest(folder: Path) -> str:
    """Of the files alone, and not of what they were made of: the same content has the same one."""
    sums = json.loads((folder / _SUMS).read_text())
    listed = sorted((name, found) for name, found in sums.items() if name != _KEY)
    return hashlib.sha256(repr(listed).encode()).hexdigest()


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as <name>.npy."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def read(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a folder, memory-mapped."""
    return {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
        for path in sorted(folder.glob("*.npy"))
    }


def _folder(name: str) -> Path:
    return data_dir() / "text" / name
