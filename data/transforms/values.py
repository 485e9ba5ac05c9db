"""Transforms of pixel values: decoding and scales. Letters: b batch, h w c of an image.

Images enter as encoded bytes or uint8 in 0..255 and leave as float32.
"""

from typing import Any

import numpy as np

from data.examples import Arrays
from data.runtime import tensorflow
from data.transforms.common.parse import Transform
from training.contracts import ConfigError, Info


def decode(channels: int = 3) -> Transform:
    """JPEG, PNG, GIF (its first frame), BMP or WebP bytes to uint8 [h, w, channels].

    An image that is decoded already passes unchanged.
    """
    if channels not in (1, 3):
        raise ValueError("the channels are 1 or 3")

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        if example["image"].dtype != tf.string:
            return example
        image = tf.io.decode_image(example["image"], channels, expand_animations=False)
        return example | {"image": tf.ensure_shape(image, [None, None, channels])}

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        return batch | {"image": batch["image"][..., :channels]}

    return Transform(apply, stand_in, level="example", takes_encoded=True)


def to_float() -> Transform:
    """Pixels uint8 to float32 in [0, 1]; a float image passes unchanged."""

    def apply(example: Any, draws: Any, info: Info) -> Any:
        return example | {"image": _unit(example["image"])}

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        return batch | {"image": _unit_numpy(batch["image"])}

    return Transform(apply, stand_in)


def normalise() -> Transform:
    """(x - mean) / std by channel, x in [0, 1], with the data set's statistics, to float32."""

    def apply(example: Any, draws: Any, info: Info) -> Any:
        mean, std = _statistics(info)
        return example | {"image": (_unit(example["image"]) - mean) / std}

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        mean, std = _statistics(info)
        channels = batch["image"].shape[-1]
        if mean.size not in (1, channels):
            raise ConfigError(
                f"normalise: the source states statistics of {mean.size} channels, "
                f"the images have {channels}"
            )
        return batch | {"image": (_unit_numpy(batch["image"]) - mean) / std}

    return Transform(apply, stand_in)


def standardise() -> Transform:
    """Each image to (x - mean) / max(std, 1/255) of its own, x in [0, 1], float32."""

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = _unit(example["image"])
        mean = tf.reduce_mean(image, axis=(-3, -2, -1), keepdims=True)
        std = tf.math.reduce_std(image, axis=(-3, -2, -1), keepdims=True)
        return example | {"image": (image - mean) / tf.maximum(std, 1 / 255)}

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        image = _unit_numpy(batch["image"])
        mean = image.mean((-3, -2, -1), keepdims=True)
        std = image.std((-3, -2, -1), keepdims=True)
        return batch | {"image": (image - mean) / np.maximum(std, np.float32(1 / 255))}

    return Transform(apply, stand_in)


def _unit(image: Any) -> Any:
    tf = tensorflow()
    return tf.cast(image, tf.float32) * (1 / 255) if image.dtype == tf.uint8 else image


def _unit_numpy(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) * np.float32(1 / 255) if image.dtype == np.uint8 else image


def _statistics(info: Info) -> tuple[np.ndarray, np.ndarray]:
    if not {"mean", "std"} <= set(info.statistics):
        raise ConfigError("normalise: the source states no mean and std; 'standardise' needs none")
    return (
        np.array(info.statistics["mean"], np.float32),
        np.array(info.statistics["std"], np.float32),
    )
