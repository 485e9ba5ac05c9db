"""The 1797 real handwritten digits that scikit-learn ships: 8x8 grey images, 10 classes.

Data: Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", the publisher's
test part, as `sklearn/datasets/data/digits.csv.gz`. Nothing is downloaded. The file is read where
the package lies, because importing scikit-learn would take longer than the rest of the start.

The publisher names no split here: "test" is `test_fraction` of each class, drawn with `split_seed`,
and "train" the rest, both in an order drawn with the same seed, so that any slice of "train" is a
random sample. Pixel values 0..16 become round(v * 255 / 16), uint8.
"""

import functools
import gzip
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.examples import Arrays, Memory, fake_image
from training.contracts import ConfigError, DataError, Info

# Of the 1797 rows of 64 pixel values and a label, as uint8.
CONTENT_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
NUM_EXAMPLES = 1797
# Examples by class, 0 to 9.
CLASS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


@dataclass(frozen=True)
class Config:
    """The held-out part: a fraction of each class and the seed that draws it."""

    test_fraction: float = 0.2
    split_seed: int = 0


TINY: dict[str, object] = {}


@dataclass(frozen=True)
class Digits:
    """The source; see the module's docstring."""

    config: Config

    @functools.cached_property
    def info(self) -> Info:
        """Sizes by split; the statistics are over all 1797 images, in [0, 1]."""
        test = sum(_held_out(count, self.config.test_fraction) for count in CLASS_COUNTS)
        return Info(
            num_examples={"train": NUM_EXAMPLES - test, "test": test},
            num_classes=10,
            class_names=tuple(str(i) for i in range(10)),
            statistics={"mean": (0.3053,), "std": (0.3759,)},
        )

    @property
    def encoded(self) -> bool:
        """Images are arrays in memory."""
        return False

    def fake(self, seed: int, index: int) -> Arrays:
        """One 8x8 image of noise, uint8 [8, 8, 1], and its label."""
        return fake_image(self.info, (8, 8, 1), seed, index)

    def open(self, split: str) -> Memory:
        """Images uint8 [n, 8, 8, 1] in 0..255 and labels int32 [n]."""
        table = read(path())
        labels = table[:, 64].astype(np.int32)
        rng = np.random.default_rng(self.config.split_seed)
        order = rng.permutation(NUM_EXAMPLES)
        is_test = np.zeros(NUM_EXAMPLES, bool)
        for label, count in enumerate(CLASS_COUNTS):
            is_test[
                order[labels[order] == label][: _held_out(count, self.config.test_fraction)]
            ] = True
        chosen = order[is_test[order] == (split == "test")]
        images = np.round(table[chosen, :64] * (255 / 16)).astype(np.uint8)
        return Memory({"image": images.reshape(-1, 8, 8, 1), "label": labels[chosen]})

    def prepare(self) -> None:
        """There is nothing to prepare; raises DataError where the file is missing or wrong."""
        read(path())

    def verify(self) -> list[str]:
        """A line on the package's file; raises DataError where it is missing or wrong."""
        file = path()
        read(file)
        return [f"{NUM_EXAMPLES} images in {file}"]


def build(config: Config) -> Digits:
    """The source; raises ConfigError where the held-out part would be empty or everything."""
    if not 0.01 <= config.test_fraction <= 0.9:
        raise ConfigError(
            f"data.source.test_fraction is {config.test_fraction}: accepted are 0.01 to 0.9"
        )
    return Digits(config)


def path() -> Path:
    """Scikit-learn's file; raises DataError where the package is not installed."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "digits: scikit-learn, which holds the data, is not installed: run `make train`"
        )
    return Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")


def read(file: Path) -> np.ndarray:
    """The table uint8 [1797, 65] of pixels 0..16 and the label; raises DataError if it is not."""
    try:
        text = gzip.decompress(file.read_bytes())
        table = np.array([line.split(",") for line in text.decode("ascii").split()], np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"digits: {file} cannot be read ({error}): install scikit-learn again"
        ) from error
    if hashlib.sha256(table.tobytes()).hexdigest() != CONTENT_SHA256:
        raise DataError(f"digits: {file} does not hold the 1797 digits: install scikit-learn again")
    return table


def _held_out(count: int, fraction: float) -> int:
    return round(count * fraction)
