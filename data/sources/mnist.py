"""MNIST: 70000 handwritten digits, 28x28 grey, 10 classes (LeCun, Cortes and Burges 1998).

TFDS's builder `mnist`; CC BY-SA 3.0. `train[:55000]` and `train[55000:]` are random parts, because
TFDS's order is shuffled. The statistics are those of the training images in [0, 1].
"""

from dataclasses import dataclass

from data.raw import RawFile
from data.sources.common.small_images import SmallImages
from training.contracts import Info

_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = tuple(
    RawFile(name, size, sha256, _ADDRESS + name)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz",
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


TINY: dict[str, object] = {}


def build(config: Config) -> SmallImages:
    """The source: splits "train" (60000) and "test" (10000)."""
    info = Info(
        num_examples={"train": 60000, "test": 10000},
        num_classes=10,
        class_names=tuple(str(i) for i in range(10)),
        statistics={"mean": (0.1307,), "std": (0.3081,)},
    )
    return SmallImages("mnist", "3.0.1", FILES, (28, 28, 1), info)
