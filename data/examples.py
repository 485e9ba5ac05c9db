"""What a source hands to the pipeline: arrays (`Memory`) or examples by position (`Lazy`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from training.contracts import Info

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Memory:
    """A split that fits in memory: {"image": [n, h, w, c] uint8, "label": [n] int32}."""

    arrays: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


@dataclass(frozen=True)
class Lazy:
    """A split that is read example by example, with encoded images.

    Attributes:
      size: positions, those of bad examples included.
      fetch: fetch(positions [k] int64) -> {"image": [k] objects of bytes, "label": [k] int32}; safe
        to call from several threads.
      dtypes: NumPy's dtype by name; "S" for bytes.
      good: positions [g], ascending, of the usable examples; None where all are.
    """

    size: int
    fetch: Callable[[np.ndarray], Arrays]
    dtypes: Mapping[str, str]
    good: np.ndarray | None = None

    def __len__(self) -> int:
        return self.size


Examples = Memory | Lazy


class Source(Protocol):
    """A data set. `info` and `fake` touch no file of data; `open` may raise DataError."""

    @property
    def info(self) -> Info:
        """Sizes, classes, statistics."""
        ...

    def fake(self, seed: int, index: int) -> Arrays:
        """A valid example in NumPy, by its arguments alone; images are decoded, uint8 [h, w, c]."""
        ...

    def open(self, split: str) -> Examples:
        """The examples of a published split, prepared first where they never were."""
        ...

    def prepare(self) -> None:
        """Does once what the first `open` would do; may raise DataError."""
        ...

    def verify(self) -> list[str]:
        """A line for each thing on the disk, all checked; raises DataError for what is wrong."""
        ...


class ImageSource(Source, Protocol):
    """A data set of images."""

    @property
    def encoded(self) -> bool:
        """Whether `open` gives images as the bytes of their files, decoded in the pipeline."""
        ...


def fake_image(info: Info, shape: tuple[int, ...], seed: int, index: int) -> dict[str, Any]:
    """{"image": uint8 noise of `shape`, as bright as its class says, "label": int32}."""
    rng = np.random.default_rng((seed, index))
    label = int(rng.integers(max(info.num_classes, 1)))
    noise = rng.integers(0, 128, shape, np.uint8)
    brightness = 127 * label // max(info.num_classes - 1, 1)
    return {"image": noise + np.uint8(brightness), "label": np.int32(label)}
