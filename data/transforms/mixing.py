"""Transforms of whole batches: mixup, cutmix, random erasing. Letters: b batch, h w c, k classes.

Mixing pairs neighbours, row r of the batch with row r ^ 1, so that any even slice of a batch, on
any host, is mixed alike. Labels become float32 [b, k], each row a distribution. A second argument
is the probability with which an example is mixed at all.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from data.examples import Arrays
from data.runtime import tensorflow
from data.transforms.common.parse import Transform
from training.contracts import ConfigError, Info

_QUANTILES = 4096


def mixup(alpha: float, probability: float = 1.0) -> Transform:
    """l x + (1 - l) x_pair, labels alike, l ~ Beta(alpha, alpha) (Zhang 2017, 1710.09412)."""
    _check_mixing(alpha, probability)

    def apply(batch: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        share = tf.gather(_beta_quantiles(alpha), _cell(tf, draws.uniform(), _QUANTILES))
        share = tf.where(draws.uniform() < probability, share, 1.0)
        image, label = batch["image"], _distribution(tf, batch["label"], info)
        pixel_share = share[:, None, None, None]
        return batch | {
            "image": pixel_share * image + (1 - pixel_share) * _pair(tf, image),
            "label": share[:, None] * label + (1 - share[:, None]) * _pair(tf, label),
        }

    return Transform(apply, _mixed("mixup"), level="batch", train_only=True, multiple=2)


def cutmix(alpha: float, probability: float = 1.0) -> Transform:
    """A box of the pair's image pasted in, labels by area (Yun et al. 2019, 1905.04899).

    The box has the image's aspect ratio and 1 - l of its area, l ~ Beta(alpha, alpha), around a
    centre that is uniform in the image; it is cut at the border and the labels follow what is left
    of it.
    """
    _check_mixing(alpha, probability)

    def apply(batch: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image, label = batch["image"], _distribution(tf, batch["label"], info)
        share = tf.gather(_beta_quantiles(alpha), _cell(tf, draws.uniform(), _QUANTILES))
        share = tf.where(draws.uniform() < probability, share, 1.0)
        side = tf.sqrt(1 - share)
        inside = _boxes(tf, image, draws.uniform(2), (side, side))
        area = tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2, 3))[:, None]
        return batch | {
            "image": tf.where(inside, _pair(tf, image), image),
            "label": (1 - area) * label + area * _pair(tf, label),
        }

    return Transform(apply, _mixed("cutmix"), level="batch", train_only=True, multiple=2)


def random_erasing(probability: float, max_area: float = 1 / 3) -> Transform:
    """With this probability a random box is replaced by noise (Zhong et al. 2017, 1708.04896).

    Its area is uniform in [0.02, max_area] of the image's, the logarithm of its aspect ratio
    uniform in [log 0.3, log 3.3], its centre uniform, cut at the border. The noise is uniform over
    the scale of the pixels: 0..255 for uint8; [0, 1] for float images, so that it belongs before
    `normalise`.
    """
    if not 0 < probability <= 1 or not 0.02 <= max_area <= 1:
        raise ValueError("the probability lies in (0, 1], the greatest area in [0.02, 1]")

    def apply(batch: Any, draws: Any, info: Info) -> Any:
        tf = tensorflow()
        image = batch["image"]
        area = draws.uniform(low=0.02, high=max_area)
        ratio = tf.exp(draws.uniform(low=float(np.log(0.3)), high=float(np.log(3.3))))
        sides = tf.sqrt(area * ratio), tf.sqrt(area / ratio)
        inside = _boxes(tf, image, draws.uniform(2), sides)
        inside &= draws.uniform(1, 1, 1) < probability
        noise = draws.uniform(*image.shape[1:])
        noise = tf.cast(noise * 256, tf.uint8) if image.dtype == tf.uint8 else noise
        return batch | {"image": tf.where(inside, noise, image)}

    return Transform(apply, level="batch", train_only=True)


@functools.cache
def _beta_quantiles(alpha: float) -> np.ndarray:
    """Quantiles of Beta(alpha, alpha), float32 [_QUANTILES]: a uniform cell of it is a draw."""
    # Only scipy.special is imported, which is fast and which JAX has loaded.
    from scipy.special import betaincinv

    cells = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return betaincinv(alpha, alpha, cells).astype(np.float32)


def _cell(tf: Any, uniform: Any, cells: int) -> Any:
    return tf.cast(uniform * cells, tf.int32)


def _pair(tf: Any, array: Any) -> Any:
    """Rows 1, 0, 3, 2, ... of an array [b, ...]."""
    shape = tf.shape(array)
    pairs = tf.reshape(array, tf.concat([[shape[0] // 2, 2], shape[1:]], 0))
    return tf.ensure_shape(tf.reshape(tf.reverse(pairs, [1]), shape), array.shape)


def _boxes(tf: Any, image: Any, centers: Any, sides: tuple[Any, Any]) -> Any:
    """True inside of boxes: [b, h, w, 1]; centers [b, 2], sides (y [b], x [b]), image = 1."""
    inside = []
    for axis, side in enumerate(sides):
        size = image.shape[1 + axis]
        # Trap: of a stack sliced as [:, axis, None], TensorFlow's graph optimizer loses the None.
        length = tf.round(tf.expand_dims(side, 1) * size)
        center = tf.expand_dims(centers[:, axis], 1)
        start = tf.floor(center * size - length / 2 + 0.5)
        pixels = tf.range(size, dtype=tf.float32)[None]
        inside.append((pixels >= start) & (pixels < start + length))
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]


def _distribution(tf: Any, label: Any, info: Info) -> Any:
    return label if label.dtype == tf.float32 else tf.one_hot(label, info.num_classes)


def _mixed(name: str) -> Callable[[Arrays, Info], Arrays]:
    """The stand-in of a mixing transform, which leaves the examples as they are."""

    def stand_in(batch: Arrays, info: Info) -> Arrays:
        if batch["image"].dtype != np.float32:
            raise ConfigError(f"{name} mixes float images: put it after 'to_float' or 'normalise'")
        label = batch["label"]
        if label.dtype != np.float32:
            label = np.eye(info.num_classes, dtype=np.float32)[label]
        return batch | {"label": label}

    return stand_in


def _check_mixing(alpha: float, probability: float) -> None:
    if alpha <= 0 or not 0 < probability <= 1:
        raise ValueError("alpha is positive and the probability lies in (0, 1]")
