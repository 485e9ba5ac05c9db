"""ImageNet, ILSVRC 2012: photographs in 1000 classes (Russakovsky et al. 2014, arXiv:1409.0575).

TFDS's builder `imagenet2012`, read example by example from array_record, JPEGs decoded in the
pipeline. Its publisher gives the two archives to registered users only, and preparing them once
takes hours and 300 GB of disk. The publisher's test part has no labels; "validation" is what papers
report.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.examples import Arrays, Lazy, fake_image
from data.raw import RawFile
from data.sources.common import builders
from data.sources.common.small_images import raw_lines
from training.contracts import Info

VERSION = "5.1.0"
_ADDRESS = "https://image-net.org/data/ILSVRC/2012/"
FILES = tuple(
    RawFile(name, size, sha256, _ADDRESS + name, register=True)
    for name, size, sha256 in (
        (
            "ILSVRC2012_img_train.tar",
            147897477120,
            "b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
        ),
        (
            "ILSVRC2012_img_val.tar",
            6744924160,
            "c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
        ),
    )
)


@dataclass(frozen=True)
class Config:
    """The size of fake images, which stand for photographs of any size."""

    fake_size: int = 256


TINY: dict[str, object] = {"fake_size": 64}


@dataclass(frozen=True)
class ImageNet:
    """The source; see the module's docstring."""

    config: Config

    @functools.cached_property
    def info(self) -> Info:
        """Sizes by split, the usual statistics of RGB in [0, 1]; classes in TFDS's order."""
        return Info(
            num_examples={"train": 1281167, "validation": 50000},
            num_classes=1000,
            statistics={"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        )

    @property
    def encoded(self) -> bool:
        """Images are decoded in the pipeline."""
        return True

    def fake(self, seed: int, index: int) -> Arrays:
        """A decoded image of noise, uint8 [h, w, 3], and its label."""
        size = self.config.fake_size
        return fake_image(self.info, (size, size, 3), seed, index)

    def open(self, split: str) -> Lazy:
        """Encoded JPEGs and labels, by position."""
        builder = builders.open_prepared("imagenet2012", VERSION, FILES)
        return encoded(builder, split)

    def prepare(self) -> None:
        """Builds the array_record files; raises DataError where the archives are missing."""
        builders.open_prepared("imagenet2012", VERSION, FILES)

    def verify(self) -> list[str]:
        """Lines on what is on the disk; raises DataError where something of it is wrong."""
        lines = raw_lines("imagenet2012", FILES)
        prepared = builders.verify("imagenet2012", VERSION, dict(self.info.num_examples))
        return [*lines, prepared] if prepared else lines


def build(config: Config) -> ImageNet:
    """The source: splits "train" and "validation"."""
    return ImageNet(config)


def encoded(builder: Any, split: str) -> Lazy:
    """A split of a TFDS builder with the features "image" and "label", its images not decoded."""
    import tensorflow_datasets as tfds

    examples = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

    def fetch(positions: np.ndarray) -> Arrays:
        found = examples.__getitems__([int(position) for position in positions])
        return {
            "image": np.array([example["image"] for example in found], object),
            "label": np.array([example["label"] for example in found], np.int32),
        }

    return Lazy(len(examples), fetch, {"image": "S", "label": "int32"})
