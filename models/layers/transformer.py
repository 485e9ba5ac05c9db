"""The Transformer layer, which encoders and decoders of several fields share.

norm="pre": x + attention(norm(x)), then x + mlp(norm(x)); Xiong et al. 2020, arXiv:2002.04745,
figure 1b. norm="post": norm(x + attention(x)), then norm(x + mlp(x)); Vaswani et al. 2017,
arXiv:1706.03762, section 3.1. A layer that is given a context attends to it between the two.
Axis letters: `b` batch, `l` length, `m` length of the context, `d` width.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention_sparse import Pattern
from models.layers.cache import Slot
from models.layers.mlp import MLP
from models.layers.multi_head import MultiHeadAttention
from models.layers.norms import layer_norm
from models.layers.sharding import shard_tokens
from models.layers.stochastic_depth import StochasticDepth

NORMS = ("pre", "post")


class Block(nn.Module):
    """One layer; submodules `attention_norm`, `attention`, `mlp_norm`, `mlp`, and with a context
    `cross_attention_norm`, `cross_attention`.

    Attributes:
      num_heads: attention heads.
      mlp_width: hidden width of the feed-forward network.
      kv_heads: heads of keys and values in self-attention; `num_heads` where it is None.
      norm: one of `NORMS`.
      dropout_rate: on every branch of the sum, and in the mlp unless the next says otherwise.
      hidden_dropout_rate: after the mlp's activation; `dropout_rate` where it is None.
      attention_dropout_rate: on the attention weights.
      attention_kernel: one of `models.layers.attention.KERNELS`.
      pattern: which keys self-attention sees; all where it is None.
      rotary: whether self-attention turns queries and keys by their positions.
      activation: one of `models.layers.mlp.ACTIVATIONS`.
      use_bias: of dense layers and norms.
      out_init: of the kernels that write into the sum; `kernel_init` where it is None.
    """

    num_heads: int
    mlp_width: int
    kv_heads: int | None = None
    norm: str = "pre"
    norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    hidden_dropout_rate: float | None = None
    attention_dropout_rate: float = 0.0
    attention_kernel: str = "auto"
    causal: bool = False
    pattern: Pattern | None = None
    rotary: bool = False
    activation: str = "gelu_tanh"
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    out_init: nn.initializers.Initializer | None = None

    @nn.compact
    def __call__(
        self,
        x_bld: jax.Array,
        drop_path_rate: jax.Array | None = None,
        *,
        context: jax.Array | None = None,
        context_mask: jax.Array | None = None,
        slot: Slot | None = None,
        train: bool,
        **seen: Any,
    ) -> jax.Array:
        """[b, l, d] -> [b, l, d].

        Args:
          x_bld: the tokens.
          drop_path_rate: a scalar, of stochastic depth; none where it is None.
          context: [b, m, d], what the cross attention reads.
          context_mask: bool, broadcastable to [b, h, l, m].
          slot: where both attentions keep their keys; without a cache where it is None.
          train: whether dropout is on.
          **seen: mask, bias, distance_bias, segments, positions of the self-attention, as
            `MultiHeadAttention` has them.
        """

        def dropped(x_bld: jax.Array, name: str) -> jax.Array:
            dropout = nn.Dropout(self.dropout_rate, name=f"{name}_out_dropout")
            return dropout(x_bld, deterministic=not train)

        def attend(x_bld: jax.Array) -> jax.Array:
            options = {"causal": self.causal, "pattern": self.pattern, "rotary": self.rotary}
            layer = self._attention("attention", kv_heads=self.kv_heads, **options)
            return dropped(layer(x_bld, slot=slot, train=train, **seen), "attention")

        def attend_to_context(x_bld: jax.Array) -> jax.Array:
            layer = self._attention("cross_attention")
            out_bld = layer(x_bld, context, mask=context_mask, slot=slot, train=train)
            return dropped(out_bld, "cross_attention")

        branches = {"attention": attend, "cross_attention": attend_to_context}
        branches["mlp"] = lambda x_bld: self._mlp()(x_bld, train)
        if context is None:
            del branches["cross_attention"]
        x_bld = shard_tokens(x_bld)
        for name, branch in branches.items():
            x_bld = self._add(x_bld, name, branch, drop_path_rate, train)
        return x_bld

    def _add(
        self,
        x_bld: jax.Array,
        name: str,
        branch: Callable[[jax.Array], jax.Array],
        drop_path_rate: jax.Array | None,
        train: bool,
    ) -> jax.Array:
        norm = layer_norm(f"{name}_norm", self.dtype, self.norm_epsilon, self.use_bias)
        out_bld = branch(norm(x_bld) if self.norm == "pre" else x_bld)
        if drop_path_rate is not None:
            drop = StochasticDepth(name=f"{name}_stochastic_depth")
            out_bld = drop(out_bld, drop_path_rate, train)
        x_bld = shard_tokens(x_bld + out_bld)
        return x_bld if self.norm == "pre" else norm(x_bld)

    def _attention(self, name: str, **options: Any) -> MultiHeadAttention:
        return MultiHeadAttention(
            self.num_heads,
            kernel=self.attention_kernel,
            dropout_rate=self.attention_dropout_rate,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            out_init=self.out_init,
            name=name,
            **options,
        )

    def _mlp(self) -> MLP:
        return MLP(
            self.mlp_width,
            activation=self.activation,
            dropout_rate=self.dropout_rate,
            hidden_dropout_rate=self.hidden_dropout_rate,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            out_init=self.out_init,
            name="mlp",
        )
