"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719) on one uint8 image.

`layers` times, one of 16 operations is drawn uniformly and applied with a strength of magnitude /
10 of its range; operations with two directions draw one. The ranges are those of AutoAugment
(1805.09501, Table 6), and the fill is grey 128. Letters: h w c of an image.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from data.examples import Arrays
from data.runtime import tensorflow
from data.transforms.common.parse import Transform
from training.contracts import ConfigError, Info

_GREY = 128.0
_MAX_LEVEL = 10


def randaugment(layers: int, magnitude: float) -> Transform:
    """`layers` random operations of strength `magnitude` (0 to 10), for uint8 images."""
    if layers < 1 or not 0 <= magnitude <= _MAX_LEVEL:
        raise ValueError("the layers are 1 or more and the magnitude lies in 0 to 10")

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = example["image"]
        shape = image.shape
        for _ in range(layers):
            choice, direction, y, x = tf.unstack(draws.uniform(4))
            sign = tf.where(direction < 0.5, -1.0, 1.0)
            operations = _operations(tf, image, magnitude / _MAX_LEVEL, sign, y, x)
            branch = tf.cast(choice * len(operations), tf.int32)
            image = tf.ensure_shape(tf.switch_case(branch, operations), shape)
        return example | {"image": image}

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        if batch["image"].dtype != np.uint8:
            raise ConfigError("it takes uint8 images: put it before 'to_float' and 'normalise'")
        return batch

    return Transform(apply, stand_in, level="example", train_only=True)


def _operations(
    tf: Any, image: Any, strength: float, sign: Any, y: Any, x: Any
) -> list[Callable[[], Any]]:
    """The 16 operations as functions without arguments; y, x in [0, 1) place the cutout."""
    factor = 1.0 + sign * 0.9 * strength
    shear = sign * 0.3 * strength
    shift = sign * 100 / 331 * strength
    bits = int(4 * strength)
    level = int(256 * strength)
    return [
        lambda: _autocontrast(tf, image),
        lambda: _equalize(tf, image),
        lambda: 255 - image,
        lambda: _rotated(tf, image, sign * math.radians(30) * strength),
        lambda: _posterized(tf, image, bits),
        # A stronger solarize inverts more: pixels at or above 256 - level.
        lambda: tf.where(tf.cast(image, tf.int32) >= 256 - level, 255 - image, image),
        lambda: _blended(tf, _grey(tf, image), image, factor),
        lambda: _blended(tf, _mean_grey(tf, image), image, factor),
        lambda: _blended(tf, tf.zeros_like(image), image, factor),
        lambda: _blended(tf, _smoothed(tf, image), image, factor),
        lambda: _moved(tf, image, [1.0, shear, 0.0, 0.0, 1.0, 0.0]),
        lambda: _moved(tf, image, [1.0, 0.0, 0.0, shear, 1.0, 0.0]),
        lambda: _moved(tf, image, [1.0, 0.0, shift * _side(tf, image, 1), 0.0, 1.0, 0.0]),
        lambda: _moved(tf, image, [1.0, 0.0, 0.0, 0.0, 1.0, shift * _side(tf, image, 0)]),
        lambda: _cut_out(tf, image, 40 / 331 * strength, y, x),
        lambda: _solarize_added(tf, image, int(110 * strength)),
    ]


def _side(tf: Any, image: Any, axis: int) -> Any:
    return tf.cast(tf.shape(image)[axis], tf.float32)


def _uint8(tf: Any, pixels: Any) -> Any:
    return tf.saturate_cast(tf.round(pixels), tf.uint8)


def _blended(tf: Any, base: Any, image: Any, factor: Any) -> Any:
    """base + factor * (image - base), cut at 0 and 255."""
    base, pixels = tf.cast(base, tf.float32), tf.cast(image, tf.float32)
    return _uint8(tf, base + factor * (pixels - base))


def _grey(tf: Any, image: Any) -> Any:
    if image.shape[-1] == 1:
        return image
    return tf.repeat(tf.image.rgb_to_grayscale(image), 3, axis=-1)


def _mean_grey(tf: Any, image: Any) -> Any:
    return tf.fill(tf.shape(image), tf.reduce_mean(tf.cast(_grey(tf, image), tf.float32)))


def _smoothed(tf: Any, image: Any) -> Any:
    """A 3x3 mean with weight 5 at the centre; the border stays."""
    pixels = tf.cast(image, tf.float32)
    kernel = np.ones((3, 3, image.shape[-1], 1), np.float32)
    kernel[1, 1] = 5
    inner = tf.nn.depthwise_conv2d(pixels[None], kernel / 13, [1, 1, 1, 1], "SAME")[0]
    rows, columns = tf.range(tf.shape(image)[0]), tf.range(tf.shape(image)[1])
    inside_rows = (rows > 0) & (rows < tf.shape(image)[0] - 1)
    inside_columns = (columns > 0) & (columns < tf.shape(image)[1] - 1)
    return tf.where((inside_rows[:, None] & inside_columns)[..., None], inner, pixels)


def _autocontrast(tf: Any, image: Any) -> Any:
    """Each channel stretched to 0..255; a channel of one value stays."""
    pixels = tf.cast(image, tf.float32)
    low, high = tf.reduce_min(pixels, (0, 1)), tf.reduce_max(pixels, (0, 1))
    stretched = (pixels - low) * (255 / tf.maximum(high - low, 1))
    return _uint8(tf, tf.where(high > low, stretched, pixels))


def _equalize(tf: Any, image: Any) -> Any:
    """Each channel's histogram made flat: v -> 255 * (c(v) - c_min) / (n - c_min), c cumulative."""
    channels = []
    for channel in tf.unstack(image, axis=-1):
        values = tf.cast(channel, tf.int32)
        histogram = tf.math.bincount(tf.reshape(values, [-1]), minlength=256, maxlength=256)
        cumulative = tf.cast(tf.cumsum(histogram), tf.float32)
        least = tf.gather(cumulative, tf.reduce_min(values))
        rest = cumulative[-1] - least
        table = 255 * tf.maximum(cumulative - least, 0) / tf.maximum(rest, 1)
        flat = _uint8(tf, tf.gather(table, values))
        channels.append(tf.where(rest > 0, flat, channel))
    return tf.stack(channels, axis=-1)


def _posterized(tf: Any, image: Any, bits_lost: int) -> Any:
    shift = tf.constant(bits_lost, tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def _solarize_added(tf: Any, image: Any, added: int) -> Any:
    brighter = tf.minimum(tf.cast(image, tf.int32) + added, 255)
    return tf.where(image < 128, tf.cast(brighter, tf.uint8), image)


def _cut_out(tf: Any, image: Any, half: float, y: Any, x: Any) -> Any:
    """A grey square around (y, x), `half` of the image's sides to each direction."""
    height, width = _side(tf, image, 0), _side(tf, image, 1)
    rows = tf.abs(tf.range(height) - tf.floor(y * height)) < half * height
    columns = tf.abs(tf.range(width) - tf.floor(x * width)) < half * width
    inside = (rows[:, None] & columns)[..., None]
    return tf.where(inside, tf.constant(int(_GREY), tf.uint8), image)


def _rotated(tf: Any, image: Any, angle: Any) -> Any:
    y, x = (_side(tf, image, 0) - 1) / 2, (_side(tf, image, 1) - 1) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _moved(tf, image, [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])


def _moved(tf: Any, image: Any, matrix: list[Any]) -> Any:
    """The image read where the affine `matrix` maps each pixel (x, y) to; outside is grey."""
    row = tf.stack([tf.cast(m, tf.float32) for m in [*matrix, 0.0, 0.0]])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=row[None],
        output_shape=tf.shape(image)[:2],
        interpolation="NEAREST",
        fill_mode="CONSTANT",
        fill_value=_GREY,
    )
    return _uint8(tf, moved[0])
