"""Fashion-MNIST: 70000 pictures of clothes, 28x28 grey, 10 classes (Xiao et al. 2017, 1708.07747).

TFDS's builder `fashion_mnist`; MIT licence. `train[:55000]` and `train[55000:]` are random parts,
because TFDS's order is shuffled. The statistics are those of the training images in [0, 1].
"""

from dataclasses import dataclass

from data.raw import RawFile
from data.sources.common.small_images import SmallImages
from training.contracts import Info

_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FILES = tuple(
    RawFile(name, size, sha256, _ADDRESS + name)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz",
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    )
)
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
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
        class_names=CLASS_NAMES,
        statistics={"mean": (0.2860,), "std": (0.3530,)},
    )
    return SmallImages("fashion_mnist", "3.0.1", FILES, (28, 28, 1), info)
