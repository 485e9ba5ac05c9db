"""Small sources and batches that the tests of data/ share."""

from dataclasses import dataclass

import numpy as np

from data.examples import Examples, Memory, fake_image
from training.contracts import Info


@dataclass(frozen=True)
class Numbered:
    """A source in memory whose image number i is filled with i and labelled i mod classes."""

    size: int = 10
    shape: tuple[int, int, int] = (4, 4, 1)
    num_classes: int = 5

    @property
    def info(self) -> Info:
        return Info(
            {"train": self.size, "test": self.size},
            self.num_classes,
            statistics={"mean": (0.5,), "std": (0.25,)},
        )

    @property
    def encoded(self) -> bool:
        return False

    def fake(self, seed: int, index: int) -> dict[str, np.ndarray]:
        return fake_image(self.info, self.shape, seed, index)

    def open(self, split: str) -> Examples:
        numbers = np.arange(self.size)
        image = np.broadcast_to(
            numbers.astype(np.uint8)[:, None, None, None], (self.size, *self.shape)
        )
        label = (numbers % self.num_classes).astype(np.int32)
        return Memory({"image": np.ascontiguousarray(image), "label": label, "number": numbers})

    def prepare(self) -> None: ...

    def verify(self) -> list[str]:
        return []


@dataclass(frozen=True)
class Noise(Numbered):
    """The same with images of noise, so that every transform has something to change."""

    def open(self, split: str) -> Examples:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (self.size, *self.shape), np.uint8)
        return Memory(
            {"image": image, "label": np.arange(self.size, dtype=np.int32) % self.num_classes}
        )


def equal(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    """Whether two batches are the same bit for bit."""
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def take(pipeline, count: int, start: int = 0) -> list[dict[str, np.ndarray]]:
    """`count` batches from number `start` on."""
    batches = pipeline.batches(start)
    return [next(batches) for _ in range(count)]
