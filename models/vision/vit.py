"""Vision Transformer: an image is a sentence of patches.

Dosovitskiy et al. 2020, arXiv:2010.11929, table 1 (B, L); Touvron et al. 2020, arXiv:2012.12877,
table 1 (Ti, S); `pool="gap"` with `positions="sincos2d"` is the plain ViT-S/16 of Beyer et al.
2022, arXiv:2205.01580 (big_vision). Parameters at 224 pixels, patch 16, class token, 1000 classes:
Ti 5,717,416, S 22,050,664, B 86,567,656, L 304,326,632.

`distilled` adds DeiT's second token (arXiv:2012.12877, section 3): its head learns what the class
token's does, and the logits are the mean of both.

Deviations: the patch projection is a dense layer on flattened patches, which is the same function
as the papers' strided convolution; the class token of `sincos2d` has no position; the head starts
at zero, as in big_vision, so that the first prediction is uniform; GELU by its tanh approximation,
unless `activation` says otherwise; no teacher speaks to the second head.

Axis letters: `b` batch, `l` tokens, `d` width, `p` `q` pixels of a patch, `c` channels.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from models.layers.checks import check_rates, check_sizes
from models.layers.mlp import activation
from models.layers.norms import layer_norm
from models.layers.positions import LearnedPositions, sincos_2d
from models.layers.precision import compute_dtype
from models.layers.products import dot_general
from models.layers.stack import apply_layers
from models.layers.stochastic_depth import linear_rates
from models.layers.transformer import Block

VARIANTS = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}
"""Width, depth and heads of the papers' sizes; their MLPs are four times as wide."""
POOLS = ("token", "gap")
POSITIONS = ("learned", "sincos2d", "none")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `vision.vit`.

    Attributes:
      variant: one of `VARIANTS`; width, depth and heads override it where they are given.
      mlp_width: hidden width of the feed-forward networks; four times the width where it is None.
      patch_size: pixels a side; it must divide the image's height and width.
      pool: what the head reads: "token", a class token, or "gap", the mean over all tokens.
      distilled: whether there is a second token, with a head of its own; it needs pool "token".
      positions: "learned", "sincos2d" (fixed) or "none".
      position_std: standard deviation of learned positions at the start.
      activation: one of `models.layers.mlp.ACTIVATIONS`.
      norm_epsilon: added to the variance in layer norms.
      dropout_rate: on the embedded tokens and on every residual branch.
      attention_dropout_rate: on the attention weights.
      stochastic_depth_rate: probability of skipping the last layer; 0 at the first, linear between.
      scan_layers: one scan in place of a loop: the same function, compiled in one layer's time.
      remat: activations kept for the backward pass: "none" (all), "dots" or "full" (nothing is).
      attention_kernel: one of `models.layers.attention.KERNELS`.
      dtype: what it computes in; parameters and logits are float32.
    """

    variant: str = "Ti"
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    mlp_width: int | None = None
    patch_size: int = 16
    pool: str = "token"
    distilled: bool = False
    positions: str = "learned"
    position_std: float = 0.02
    activation: str = "gelu_tanh"
    norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    attention_kernel: str = "auto"
    dtype: str = "float32"


TINY = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 32}


class ViT(nn.Module):
    """Images [b, height, width, c] -> logits [b, classes]."""

    config: Config
    num_classes: int
    width: int
    depth: int
    heads: int
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Logits float32 [b, classes] of images, of any float dtype.

        Raises:
          ValueError: the patches do not tile the images.
        """
        config = self.config
        x_bld = self._embed(inputs)
        x_bld = nn.Dropout(config.dropout_rate, deterministic=not train, name="dropout")(x_bld)
        rates = linear_rates(self.depth, config.stochastic_depth_rate)
        x_bld = apply_layers(
            self._block,
            lambda block, x_bld, *rate: block(x_bld, *rate, train=train),
            x_bld,
            (jnp.asarray(rates),) if config.stochastic_depth_rate else (),
            depth=self.depth,
            scan=config.scan_layers,
            remat=config.remat,
        )
        x_bld = layer_norm("norm", compute_dtype(config.dtype), config.norm_epsilon)(x_bld)
        x_bd = x_bld[:, 0] if config.pool == "token" else x_bld.mean(axis=1)
        logits = self._head("head", x_bd)
        if config.distilled:
            logits = (logits + self._head("distillation_head", x_bld[:, 1])) / 2
        return logits

    def _head(self, name: str, x_bd: jax.Array) -> jax.Array:
        head = nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name=name)
        return head(x_bd.astype(jnp.float32))

    def _embed(self, inputs: jax.Array) -> jax.Array:
        config = self.config
        dtype = compute_dtype(config.dtype)
        height, width = inputs.shape[1:3]
        if height % config.patch_size or width % config.patch_size:
            raise ValueError(
                f"model.patch_size={config.patch_size} does not divide {height}x{width} pixels"
            )
        patches = rearrange(
            inputs.astype(dtype),
            "b (rows p) (columns q) c -> b rows columns (p q c)",
            p=config.patch_size,
            q=config.patch_size,
        )
        _, rows, columns, _ = patches.shape
        project = nn.Dense(
            self.width, dtype=dtype, dot_general=dot_general, name="patch_projection"
        )
        x_bld = project(patches.reshape(len(patches), rows * columns, -1))
        if config.positions == "sincos2d":
            x_bld += jnp.asarray(sincos_2d(rows, columns, self.width), dtype)
        names = ["distillation_token"] if config.distilled else []
        for name in (*names, *(["class_token"] if config.pool == "token" else [])):
            token = self.param(name, nn.initializers.zeros, (self.width,))
            token_b1d = jnp.broadcast_to(token.astype(dtype), (len(x_bld), 1, self.width))
            x_bld = jnp.concatenate([token_b1d, x_bld], axis=1)
        if config.positions == "learned":
            x_bld = LearnedPositions(config.position_std, name="positions")(x_bld)
        return x_bld

    def _block(self, name: str) -> Block:
        config = self.config
        return Block(
            num_heads=self.heads,
            mlp_width=4 * self.width if config.mlp_width is None else config.mlp_width,
            dropout_rate=config.dropout_rate,
            attention_dropout_rate=config.attention_dropout_rate,
            attention_kernel=config.attention_kernel,
            norm_epsilon=config.norm_epsilon,
            activation=config.activation,
            dtype=compute_dtype(config.dtype),
            name=name,
        )


def build(config: Config, info: Any) -> ViT:
    """The model for `info.num_classes` classes; ValueError for a value that no field accepts."""
    for field, accepted in (("variant", (*VARIANTS,)), ("pool", POOLS), ("positions", POSITIONS)):
        value = getattr(config, field)
        if value not in accepted:
            raise ValueError(f"model.{field}={value!r}: expected one of {', '.join(accepted)}")
    check_sizes(config, "patch_size", "width", "heads", "mlp_width")
    check_sizes(config, "depth", least=0)
    activation(config.activation)
    if config.distilled and config.pool != "token":
        raise ValueError(f"model.distilled needs model.pool='token', not {config.pool!r}")
    check_rates(config, "dropout_rate", "attention_dropout_rate", "stochastic_depth_rate")
    compute_dtype(config.dtype)
    width, depth, heads = VARIANTS[config.variant]
    return ViT(
        config=config,
        num_classes=info.num_classes,
        width=width if config.width is None else config.width,
        depth=depth if config.depth is None else config.depth,
        heads=heads if config.heads is None else config.heads,
    )
