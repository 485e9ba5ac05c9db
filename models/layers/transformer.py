"""The pre-norm Transformer block, which encoders of several fields share.

x + attention(norm(x)), then x + mlp(norm(x)): Xiong et al. 2020, arXiv:2002.04745, figure 1b.
Axis letters: `b` batch, `l` length, `d` width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import MultiHeadAttention
from models.layers.mlp import MLP
from models.layers.norms import layer_norm
from models.layers.sharding import shard_tokens
from models.layers.stochastic_depth import StochasticDepth


class Block(nn.Module):
    """One layer; submodules `attention_norm`, `attention`, `mlp_norm`, `mlp`.

    Attributes:
      num_heads: attention heads.
      mlp_width: hidden width of the feed-forward network.
      dropout_rate: after the attention's projection and both dense layers of the mlp.
      attention_dropout_rate: on the attention weights.
      attention_kernel: one of `models.layers.attention.KERNELS`.
      activation: one of `models.layers.mlp.ACTIVATIONS`.
    """

    num_heads: int
    mlp_width: int
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    attention_kernel: str = "auto"
    causal: bool = False
    activation: str = "gelu_tanh"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x_bld: jax.Array,
        drop_path_rate: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        train: bool,
    ) -> jax.Array:
        """[b, l, d] -> [b, l, d]; `mask` as in `attend`, `drop_path_rate` a scalar or none."""

        def residual(x_bld: jax.Array, branch_bld: jax.Array, name: str) -> jax.Array:
            if drop_path_rate is not None:
                branch_bld = StochasticDepth(name=name)(branch_bld, drop_path_rate, train)
            return shard_tokens(x_bld + branch_bld)

        x_bld = shard_tokens(x_bld)
        branch_bld = layer_norm("attention_norm", self.dtype)(x_bld)
        branch_bld = MultiHeadAttention(
            self.num_heads,
            kernel=self.attention_kernel,
            causal=self.causal,
            dropout_rate=self.attention_dropout_rate,
            dtype=self.dtype,
            name="attention",
        )(branch_bld, mask=mask, train=train)
        branch_bld = nn.Dropout(
            self.dropout_rate, deterministic=not train, name="attention_out_dropout"
        )(branch_bld)
        x_bld = residual(x_bld, branch_bld, "attention_stochastic_depth")

        branch_bld = layer_norm("mlp_norm", self.dtype)(x_bld)
        branch_bld = MLP(
            self.mlp_width,
            activation=self.activation,
            dropout_rate=self.dropout_rate,
            dtype=self.dtype,
            name="mlp",
        )(branch_bld, train)
        return residual(x_bld, branch_bld, "mlp_stochastic_depth")
