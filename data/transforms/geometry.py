"""Transforms that move pixels: sizes, crops, flips, small rotations and shifts.

Letters: b batch, h w c of an image. Each keeps the type of the image, uint8 in 0..255 (rounded) or
float32, and fills what comes from outside with zeros. Where "any" level is stated, the images of a
batch are moved in one operation, each by its own random numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from data.examples import Arrays
from data.runtime import tensorflow
from data.transforms.common.parse import Transform
from training.contracts import Info


def resize(size: int) -> Transform:
    """To [size, size, c] whatever the sides were, bilinear with antialiasing."""
    _positive(size)

    def apply(example: Any, draws: Any, info: Info) -> Any:
        return example | {"image": _resized(example["image"], (size, size))}

    return Transform(apply, _sized(size))


def resize_small(size: int) -> Transform:
    """The smaller side to `size`, the other in proportion; `center_crop` makes sizes equal."""
    _positive(size)

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = example["image"]
        sides = tf.cast(tf.shape(image)[-3:-1], tf.float32)
        sides = tf.cast(tf.round(sides * (size / tf.reduce_min(sides))), tf.int32)
        return example | {"image": _resized(image, sides)}

    return Transform(apply, _sized(size), level="example")


def center_crop(size: int) -> Transform:
    """The middle [size, size, c]; a smaller image is padded with zeros."""
    _positive(size)

    def apply(example: Any, draws: Any, info: Info) -> Any:
        image = tensorflow().image.resize_with_crop_or_pad(example["image"], size, size)
        return example | {"image": image}

    return Transform(apply, _sized(size))


def random_resized_crop(size: int, min_area: float = 0.08) -> Transform:
    """A random part of the image, resized to [size, size, c].

    Its area is uniform in [min_area, 1] of the image's and the logarithm of its aspect ratio
    uniform in [log 3/4, log 4/3] (Szegedy et al. 2014, arXiv:1409.4842). Of ten tries the first
    that lies in the image counts, else the whole image. An encoded JPEG is decoded there alone, so
    that no `decode` is needed before it.
    """
    _positive(size)
    if not 0 < min_area <= 1:
        raise ValueError("the least area lies in (0, 1]")

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = example["image"]
        if image.dtype == tf.string:
            cropped = _crop_encoded(tf, image, draws, min_area)
        else:
            top, left, height, width = _random_box(tf, tf.shape(image), draws, min_area)
            cropped = tf.image.crop_to_bounding_box(image, top, left, height, width)
        return example | {"image": _resized(cropped, (size, size))}

    return Transform(apply, _sized(size), level="example", train_only=True, takes_encoded=True)


def flip() -> Transform:
    """Left and right exchanged with probability 1/2."""

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = example["image"]
        flipped = draws.uniform(1, 1, 1) < 0.5
        return example | {"image": tf.where(flipped, tf.reverse(image, [-2]), image)}

    return Transform(apply, train_only=True)


def pad_crop(pixels: int) -> Transform:
    """Zeros of `pixels` at each side, then a random crop of the old size (He et al. 2015)."""
    _positive(pixels)

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        offsets = tf.floor(draws.uniform(2) * (2 * pixels + 1)) - pixels
        return example | {"image": _moved(example["image"], _shift(tf, offsets), "NEAREST")}

    return Transform(apply, train_only=True)


def random_shift(pixels: float) -> Transform:
    """Moved along both axes by a distance uniform in [-pixels, pixels], bilinear between pixels."""
    if pixels <= 0:
        raise ValueError("the distance is positive")

    def apply(example: Any, draws: Any, info: Info) -> Any:
        offsets = draws.uniform(2, low=-pixels, high=pixels)
        return example | {"image": _moved(example["image"], _shift(tensorflow(), offsets))}

    return Transform(apply, train_only=True)


def random_rotate(degrees: float) -> Transform:
    """Turned around its centre by an angle uniform in [-degrees, degrees], bilinear."""
    if degrees <= 0:
        raise ValueError("the angle is positive")

    def apply(example: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = example["image"]
        angle = draws.uniform(low=-math.radians(degrees), high=math.radians(degrees))
        height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(image)[-3:-1]))
        y, x = (height - 1) / 2, (width - 1) / 2
        cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
        left, top = x - cos * x + sin * y, y - sin * x - cos * y
        matrix = tf.stack([cos, -sin, left, sin, cos, top, zero, zero], axis=-1)
        return example | {"image": _moved(image, matrix)}

    return Transform(apply, train_only=True)


def _positive(size: int) -> None:
    if size < 1:
        raise ValueError("the size is at least 1")


def _sized(size: int) -> Callable[[Arrays, Info], Arrays]:
    """The stand-in of a transform to [size, size, c]: the nearest pixels."""

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        image = batch["image"]
        rows, columns = (np.arange(size) * side // size for side in image.shape[-3:-1])
        return batch | {"image": image[..., rows[:, None], columns, :]}

    return stand_in


def _keep_type(result: Any, image: Any) -> Any:
    """A float `result` in the type of the image that it was made from."""
    tf = tensorflow()
    if image.dtype == tf.uint8:
        return tf.saturate_cast(tf.round(result), tf.uint8)
    return tf.cast(result, image.dtype)


def _resized(image: Any, sides: Any) -> Any:
    return _keep_type(tensorflow().image.resize(image, sides, antialias=True), image)


def _shift(tf: Any, offsets: Any) -> Any:
    """The projective matrices [..., 8] that move by `offsets` [..., 2], (y, x) in pixels."""
    zero = tf.zeros_like(offsets[..., 0])
    one = zero + 1
    y, x = offsets[..., 0], offsets[..., 1]
    return tf.stack([one, zero, -x, zero, one, -y, zero, zero], axis=-1)


def _moved(image: Any, matrix: Any, interpolation: str = "BILINEAR") -> Any:
    """Images [..., h, w, c] read at the places that `matrix` [..., 8] maps each pixel (x, y) to."""
    tf = tensorflow()
    single = image.shape.rank == 3
    images = image[None] if single else image
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=matrix[None] if single else matrix,
        output_shape=tf.shape(images)[1:3],
        interpolation=interpolation,
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
    moved = tf.ensure_shape(moved, images.shape)
    return _keep_type(moved[0] if single else moved, image)


def _random_box(tf: Any, shape: Any, draws: Any, min_area: float) -> tuple[Any, Any, Any, Any]:
    """(top, left, height, width), int32, of a random part of an image of `shape` [h, w, c]."""
    tries = 10
    sides = tf.cast(shape[:2], tf.float32)
    area = draws.uniform(tries, low=min_area) * sides[0] * sides[1]
    ratio = tf.exp(draws.uniform(tries, low=math.log(3 / 4), high=math.log(4 / 3)))
    width = tf.cast(tf.round(tf.sqrt(area * ratio)), tf.int32)
    height = tf.cast(tf.round(tf.sqrt(area / ratio)), tf.int32)
    fits = (width <= shape[1]) & (height <= shape[0]) & (width > 0) & (height > 0)
    first = tf.argmax(tf.cast(fits, tf.int32))
    found = tf.reduce_any(fits)
    width = tf.where(found, width[first], shape[1])
    height = tf.where(found, height[first], shape[0])
    room = tf.cast(tf.stack([shape[0] - height, shape[1] - width]) + 1, tf.float32)
    offset = tf.cast(tf.floor(draws.uniform(2) * room), tf.int32)
    return offset[0], offset[1], height, width


def _crop_encoded(tf: Any, encoded: Any, draws: Any, min_area: float) -> Any:
    """The random part uint8 [h, w, 3] of encoded bytes, without decoding the rest of a JPEG."""

    def of_jpeg() -> Any:
        box = _random_box(tf, tf.io.extract_jpeg_shape(encoded), draws, min_area)
        return tf.io.decode_and_crop_jpeg(encoded, tf.stack(box), channels=3)

    def of_other() -> Any:
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        box = _random_box(tf, tf.shape(image), other_draws, min_area)
        return tf.image.crop_to_bounding_box(tf.ensure_shape(image, [None, None, 3]), *box)

    other_draws = draws.copy()
    cropped = tf.cond(tf.io.is_jpeg(encoded), of_jpeg, of_other)
    return tf.ensure_shape(cropped, [None, None, 3])
