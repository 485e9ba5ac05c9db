"""Image sets that fit in memory: prepared by TFDS, then kept as NumPy files for a start in no time.

Letters: n examples, h w c of an image.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.examples import Arrays, Memory, fake_image
from data.raw import RawFile
from data.runtime import data_dir
from data.sources.common import builders
from training.contracts import DataError, Info

_log = logging.getLogger("reprise.data")
_AT_ONCE = 4096


@dataclass(frozen=True)
class SmallImages:
    """A source over a TFDS builder with the features "image" and "label".

    Attributes:
      name, version: the builder's.
      files: the raw files that it is made from.
      shape: of one image, [h, w, c].
      info: the source's.
    """

    name: str
    version: str
    files: tuple[RawFile, ...]
    shape: tuple[int, int, int]
    info: Info

    @property
    def folder(self) -> Path:
        """The NumPy files: <split>-<feature>.npy, and their sums in sums.json."""
        return data_dir() / "arrays" / self.name / self.version

    @property
    def encoded(self) -> bool:
        """Images are arrays in memory."""
        return False

    def fake(self, seed: int, index: int) -> Arrays:
        """One image of noise, uint8 [h, w, c], and its label."""
        return fake_image(self.info, self.shape, seed, index)

    def open(self, split: str) -> Memory:
        """Images uint8 [n, h, w, c] and labels int32 [n], read from the disk as they are used."""
        if not (self.folder / "sums.json").is_file():
            there = builders.in_bucket("arrays", self.name, self.version, "sums.json")
            if there is None:
                self.prepare()
            else:
                builders.copy(there, self.folder)
        count = self.info.num_examples[split]
        shapes = {"image": (count, *self.shape), "label": (count,)}
        arrays = {name: self._load(split, name, shape) for name, shape in shapes.items()}
        return Memory(arrays)

    def prepare(self) -> None:
        """Makes the NumPy files; raises DataError where raw files are missing or wrong."""
        builder = builders.open_prepared(self.name, self.version, self.files)
        with builders.quiet(), builders.prepared_folder(self.folder) as result:
            for split, count in self.info.num_examples.items():
                for name, array in _read(builder.as_data_source(split), count, self.shape).items():
                    np.save(result / f"{split}-{name}.npy", array, allow_pickle=False)
            sums = {path.name: raw.sha256_of(path) for path in sorted(result.iterdir())}
            (result / "sums.json").write_text(json.dumps(sums, indent=1))
        _log.info("%s: prepared in %s", self.name, self.folder)

    def verify(self) -> list[str]:
        """Lines on what is on the disk; raises DataError where something of it is wrong."""
        lines = raw_lines(self.name, self.files)
        prepared = builders.verify(self.name, self.version, dict(self.info.num_examples))
        lines += [prepared] if prepared else []
        if self.folder.exists():
            for file, expected in self._sums().items():
                path = self.folder / file
                if not path.is_file() or raw.sha256_of(path) != expected:
                    raise self._damaged(path)
            lines.append(f"arrays in {self.folder}")
        return lines

    def _sums(self) -> Mapping[str, str]:
        try:
            return json.loads((self.folder / "sums.json").read_text())
        except (OSError, ValueError) as error:
            raise self._damaged(self.folder / "sums.json") from error

    def _load(self, split: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / f"{split}-{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(path) from error
        if array.shape != shape:
            raise self._damaged(path)
        return array

    def _damaged(self, path: Path) -> DataError:
        return DataError(
            f"{self.name}: {path} is damaged: remove {self.folder}, it is prepared again"
        )


def raw_lines(name: str, files: tuple[RawFile, ...]) -> list[str]:
    """A line for each raw file that lies on the disk; raises DataError where its sum is wrong."""
    lines = []
    for file in files:
        path = raw.locate(name, file)
        if path is not None:
            raw.check(name, file, path)
            lines.append(f"raw file {path}")
    return lines


def _read(examples: Any, count: int, shape: tuple[int, int, int]) -> Arrays:
    """All examples of a TFDS data source as arrays."""
    if len(examples) != count:
        raise DataError(f"TFDS prepared {len(examples)} examples, not {count}")
    arrays = {"image": np.empty((count, *shape), np.uint8), "label": np.empty(count, np.int32)}
    for start in range(0, count, _AT_ONCE):
        stop = min(start + _AT_ONCE, count)
        for row, example in zip(
            range(start, stop), examples.__getitems__(range(start, stop)), strict=True
        ):
            arrays["image"][row] = example["image"]
            arrays["label"][row] = example["label"]
    return arrays
