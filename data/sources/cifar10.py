"""CIFAR-10: 60000 colour photographs, 32x32, 10 classes (Krizhevsky 2009).

TFDS's builder `cifar10`. `train[:45000]` and `train[45000:]` are random parts, because TFDS's order
is shuffled. The statistics are those of the training images in [0, 1].
"""

from dataclasses import dataclass

from data.raw import RawFile
from data.sources.common.small_images import SmallImages
from training.contracts import Info

FILES = (
    RawFile(
        "cifar-10-binary.tar.gz",
        170052171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    ),
)
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


TINY: dict[str, object] = {}


def build(config: Config) -> SmallImages:
    """The source: splits "train" (50000) and "test" (10000)."""
    info = Info(
        num_examples={"train": 50000, "test": 10000},
        num_classes=10,
        class_names=CLASS_NAMES,
        statistics={"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
    )
    return SmallImages("cifar10", "3.0.2", FILES, (32, 32, 3), info)
