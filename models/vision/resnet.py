"""Residual networks for CIFAR (20 to 110 layers) and ImageNet (18 to 152).

He et al. 2015, arXiv:1512.03385: section 4.1 and table 1 (ImageNet), 4.2 and table 6 (CIFAR).
Parameters with batch norm's scale and bias: CIFAR-10 ResNet-20 269,722, 32 464,154, 44 658,586,
56 853,018, 110 1,727,962; ImageNet ResNet-18 11,689,512, 34 21,797,672, 50 25,557,032,
101 44,549,160, 152 60,192,808.

Deviations. CIFAR: none; the shortcuts have no parameters (option A). ImageNet: "v1.5", in which a
bottleneck strides in its 3x3 convolution and not in its first 1x1; a shortcut that changes shape is
a projection (option B). Both: convolutions start normal with variance 2 / fan-out, and
`zero_init_residual` is Goyal et al. 2017, arXiv:1706.02677, section 5.1.

Axis letters: `b` batch, `c` channels.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.norms import batch_norm
from models.layers.precision import compute_dtype

IMAGENET = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
"""Whether the blocks are bottlenecks, and their number by stage."""
FAMILIES = ("cifar", "imagenet")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `vision.resnet`.

    Attributes:
      family: "cifar" (3x3 stem, three stages, parameter-free shortcuts) or "imagenet".
      depth: weighted layers: 6n + 2 for CIFAR (20, 32, 44, 56, 110), one of `IMAGENET` otherwise.
      width: channels of the first stage; 16 for CIFAR and 64 for ImageNet where it is None.
      zero_init_residual: a branch's last batch norm starts with scale 0: its block as the identity.
      norm_momentum: share of the running statistics that a training step keeps.
      dtype: what it computes in; parameters, statistics and logits are float32.
    """

    family: str = "imagenet"
    depth: int = 50
    width: int | None = None
    zero_init_residual: bool = False
    norm_momentum: float = 0.9
    dtype: str = "float32"


TINY = {"family": "cifar", "depth": 8, "width": 4}

_CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + branch(x)): two 3x3 convolutions, or a 1x1, 3x3, 1x1 bottleneck.

    Attributes:
      channels: of the 3x3 convolutions; a bottleneck's output has four times as many.
      stride: of the first 3x3 convolution.
      projection: a shortcut that changes shape is a 1x1 convolution with batch norm (option B),
        not subsampling with zeros for the new channels (option A).
    """

    channels: int
    stride: int
    bottleneck: bool
    projection: bool
    config: Config

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[b, height, width, c] -> [b, height / stride, width / stride, c']."""
        dtype = compute_dtype(self.config.dtype)
        conv = partial(_conv, dtype=dtype)
        norm = partial(batch_norm, dtype=dtype, train=train, momentum=self.config.norm_momentum)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        last_norm = partial(norm, scale_init=zeros if self.config.zero_init_residual else ones)
        strides = (self.stride, self.stride)
        if self.bottleneck:
            out = 4 * self.channels
            branch = nn.relu(norm("norm_1")(conv(self.channels, 1, name="conv_1")(x)))
            branch = conv(self.channels, 3, strides=strides, name="conv_2")(branch)
            branch = nn.relu(norm("norm_2")(branch))
            branch = last_norm("norm_3")(conv(out, 1, name="conv_3")(branch))
        else:
            out = self.channels
            branch = conv(out, 3, strides=strides, name="conv_1")(x)
            branch = nn.relu(norm("norm_1")(branch))
            branch = last_norm("norm_2")(conv(out, 3, name="conv_2")(branch))
        if branch.shape == x.shape:
            shortcut = x
        elif self.projection:
            shortcut = conv(out, 1, strides=strides, name="shortcut_conv")(x)
            shortcut = norm("shortcut_norm")(shortcut)
        else:
            shortcut = subsample_and_pad(x, self.stride, out)
        return nn.relu(shortcut + branch)


class ResNet(nn.Module):
    """Images [b, height, width, c] -> logits [b, classes]; batch statistics in `batch_stats`."""

    config: Config
    num_classes: int
    width: int
    bottleneck: bool
    blocks: tuple[int, ...]
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Logits float32 [b, classes]; in training it updates the collection `batch_stats`."""
        config, imagenet = self.config, self.config.family == "imagenet"
        dtype = compute_dtype(config.dtype)
        x = inputs.astype(dtype)
        if imagenet:
            x = _conv(self.width, 7, strides=(2, 2), dtype=dtype, name="stem_conv")(x)
        else:
            x = _conv(self.width, 3, dtype=dtype, name="stem_conv")(x)
        norm = batch_norm("stem_norm", dtype, train=train, momentum=config.norm_momentum)
        x = nn.relu(norm(x))
        if imagenet:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                x = ResidualBlock(
                    channels=self.width * 2**stage,
                    stride=2 if stage > 0 and index == 0 else 1,
                    bottleneck=self.bottleneck,
                    projection=imagenet,
                    config=config,
                    name=f"stage_{stage}_block_{index:02d}",
                )(x, train)
        x_bc = x.mean(axis=(1, 2), dtype=jnp.float32)
        return nn.Dense(self.num_classes, name="head")(x_bc)


def subsample_and_pad(x: jax.Array, stride: int, channels: int) -> jax.Array:
    """Option A: every stride-th pixel, and zeros for the new channels, half on either side."""
    new = channels - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))


def _conv(channels: int, size: int, **options: Any) -> nn.Conv:
    # Symmetric, as the papers' frameworks pad; "SAME" shifts a strided window by a pixel.
    return nn.Conv(
        channels,
        (size, size),
        padding=((size // 2, size // 2),) * 2,
        use_bias=False,
        kernel_init=_CONV_INIT,
        **options,
    )


def build(config: Config, info: Any) -> ResNet:
    """The model for `info.num_classes` classes; ValueError for an unknown field's value."""
    compute_dtype(config.dtype)
    if config.family not in FAMILIES:
        accepted = ", ".join(FAMILIES)
        raise ValueError(f"model.family={config.family!r}: expected one of {accepted}")
    if config.family == "imagenet":
        if config.depth not in IMAGENET:
            accepted = ", ".join(map(str, IMAGENET))
            raise ValueError(f"model.depth={config.depth} for ImageNet: expected one of {accepted}")
        bottleneck, blocks = IMAGENET[config.depth]
    else:
        if config.depth < 8 or config.depth % 6 != 2:
            raise ValueError(f"model.depth={config.depth} for CIFAR: expected 6n + 2 (20, 32, ...)")
        bottleneck, blocks = False, ((config.depth - 2) // 6,) * 3
    width = {"cifar": 16, "imagenet": 64}[config.family] if config.width is None else config.width
    return ResNet(config, info.num_classes, width, bottleneck, blocks)
