"""Convolutional network of flax's MNIST example (github.com/google/flax, examples/mnist).

Per entry of `features`: a 3x3 convolution, ReLU, 2x2 average pooling; then a dense layer with ReLU
and the head. With the defaults, on 28x28 pixels of one channel and ten classes: 824,458 parameters.
The family is that of LeCun et al. 1998, "Gradient-based learning applied to document recognition".

Deviation: dropout (Srivastava et al. 2014) before the head, off by default.
Axis letters: `b` batch, `c` channels.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.checks import check_rates, check_sizes
from models.layers.convolution import convolve
from models.layers.precision import compute_dtype


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `vision.cnn`.

    Attributes:
      features: channels of the convolutions; each halves the height and the width.
      hidden: width of the dense layer.
      dropout_rate: on the dense layer's output, in training.
      dtype: what it computes in; parameters and logits are float32.
    """

    features: tuple[int, ...] = (32, 64)
    hidden: int = 256
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"features": (4, 8), "hidden": 16}


class CNN(nn.Module):
    """Images [b, height, width, c] -> logits [b, classes]."""

    config: Config
    num_classes: int
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Logits float32 [b, classes].

        Raises:
          ValueError: the images are too small to be halved once a convolution.
        """
        config = self.config
        dtype = compute_dtype(config.dtype)
        if min(inputs.shape[1:3]) < 2 ** len(config.features):
            raise ValueError(
                f"model.features={config.features} halves {inputs.shape[1]}x{inputs.shape[2]} "
                f"pixels {len(config.features)} times, down to nothing"
            )
        x = inputs.astype(dtype)
        for index, channels in enumerate(config.features):
            conv = nn.Conv(
                channels,
                (3, 3),
                dtype=dtype,
                conv_general_dilated=convolve,
                name=f"conv_{index}",
            )
            x = average_pool(nn.relu(conv(x)))
        x_bc = x.reshape(len(x), -1)
        x_bc = nn.relu(nn.Dense(config.hidden, dtype=dtype, name="hidden")(x_bc))
        x_bc = nn.Dropout(config.dropout_rate, deterministic=not train, name="dropout")(x_bc)
        return nn.Dense(self.num_classes, name="head")(x_bc.astype(jnp.float32))


def average_pool(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels: [b, height, width, c] -> [b, height // 2, width // 2, c].

    As a sum of four slices, which XLA:CPU fuses with what stands around it; it does not fuse
    `reduce_window`. An odd last row or column is dropped.
    """
    height, width = (size // 2 * 2 for size in x.shape[1:3])
    x = x[:, :height, :width]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def build(config: Config, info: Any) -> CNN:
    """The model for `info.num_classes` classes; ValueError for an empty layer or its dtype."""
    check_sizes(config, "hidden")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if not config.features or min(config.features) < 1:
        raise ValueError(f"model.features={config.features}: expected channels, such as (32, 64)")
    return CNN(config, info.num_classes)
