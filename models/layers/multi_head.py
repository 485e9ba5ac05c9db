"""The multi-head layer around attention: projections, positions, dropout, cache.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. What it attends with is
models/layers/attention.py.
Axis letters: `b` batch, `l` queries, `m` keys and values, `d` width, `h` heads, `n` heads of keys
and values, `k` head width, `c` slots of a cache.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import attend, attention_weights, both, segment_mask, weighted_values
from models.layers.attention_sparse import Pattern, pattern_mask
from models.layers.cache import Slot, keep
from models.layers.positions import rotary
from models.layers.products import dot_general


class MultiHeadAttention(nn.Module):
    """Projections `query` [d, h, k], `key`, `value` [d, n, k], attention, and `out` [h, k, d].

    The weights are sown as "intermediates/attention" [b, h, l, m] only where that collection is
    mutable; otherwise they are never materialised outside of the kernel.

    Attributes:
      num_heads: h.
      head_width: k; the query's width over `num_heads` where it is None.
      kv_heads: n, which divides h; h where it is None.
      kernel: which of `models.layers.attention.KERNELS` computes it; with a cache it is "xla".
      pattern: which keys a query of self-attention sees; all where it is None.
      rotary: whether queries and keys are turned by their positions.
      dropout_rate: on the weights, in training; it needs them materialised, so no kernel is used.
      out_init: of the last projection's kernel; `kernel_init` where it is None.
    """

    num_heads: int
    head_width: int | None = None
    kv_heads: int | None = None
    kernel: str = "auto"
    causal: bool = False
    pattern: Pattern | None = None
    rotary: bool = False
    dropout_rate: float = 0.0
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    out_init: nn.initializers.Initializer | None = None

    @nn.compact
    def __call__(
        self,
        x_bld: jax.Array,
        context_bmd: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        distance_bias: Callable[[jax.Array], jax.Array] | None = None,
        segments: jax.Array | None = None,
        positions: jax.Array | None = None,
        slot: Slot | None = None,
        train: bool,
    ) -> jax.Array:
        """[b, l, d] -> [b, l, d] in `dtype`; self-attention where `context_bmd` is None.

        Args:
          x_bld: what asks.
          context_bmd: what is asked.
          mask: bool, broadcastable to [b, h, l, m], or to [b, h, l, c] with a cache, and then all
            that hides a key: causality and pattern too.
          bias: as `attend`, and `distance_bias` and `segments` too.
          distance_bias: see bias.
          segments: see bias.
          positions: int32 [b, l] or [l], for rotary ones; 0, 1, ... where it is None.
          slot: where the keys go in the cache, which is then what is attended to. A context's are
            kept from the call whose slot starts at 0 on, and its later values not looked at.
          train: whether dropout is on.

        Raises:
          ValueError: the width is not divisible by the heads and no `head_width` was given, or the
            heads are not by `kv_heads`.
        """
        heads = self._heads(x_bld.shape[-1])
        where = jnp.arange(x_bld.shape[1]) if positions is None else positions
        query = self._project("query", heads[0])(x_bld)
        query = rotary(query, where) if self.rotary else query
        if slot is not None and context_bmd is not None:
            key, value = self._kept_context(context_bmd, slot, heads[1])
        else:
            source = x_bld if context_bmd is None else context_bmd
            key, value = (self._project(name, heads[1])(source) for name in ("key", "value"))
            key = rotary(key, where) if self.rotary else key
        if slot is not None and context_bmd is None:
            key, value = (
                keep(self, "cached_key", key, slot),
                keep(self, "cached_value", value, slot),
            )
        out = self._attend(query, key, value, mask, bias, distance_bias, segments, slot, train)
        return self._project("out", x_bld.shape[-1], axis=(-2, -1))(out)

    def _heads(self, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """([h, k], [n, k])."""
        kv_heads = self.kv_heads or self.num_heads
        if self.head_width is None and width % self.num_heads:
            raise ValueError(f"width {width} is not divisible by {self.num_heads} heads")
        if self.num_heads % kv_heads:
            raise ValueError(f"{self.num_heads} heads cannot share {kv_heads} of keys and values")
        head_width = self.head_width or width // self.num_heads
        return (self.num_heads, head_width), (kv_heads, head_width)

    def _project(self, name: str, features: int | tuple[int, int], **options: Any) -> nn.Module:
        last = name == "out" and self.out_init is not None
        return nn.DenseGeneral(
            features,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=self.out_init if last else self.kernel_init,
            dot_general=dot_general,
            name=name,
            **options,
        )

    def _kept_context(
        self, context_bmd: jax.Array, slot: Slot, heads: tuple[int, int]
    ) -> tuple[jax.Array, jax.Array]:
        """The context's keys and values, projected in the first call only."""
        shape = (*context_bmd.shape[:2], *heads)
        kept_key = self.variable("cache", "cached_key", jnp.zeros, shape, self.dtype)
        kept_value = self.variable("cache", "cached_value", jnp.zeros, shape, self.dtype)

        def project(module: MultiHeadAttention, context_bmd: jax.Array) -> Any:
            return tuple(module._project(name, heads)(context_bmd) for name in ("key", "value"))

        def read(module: MultiHeadAttention, context_bmd: jax.Array) -> Any:
            del module, context_bmd
            return kept_key.value, kept_value.value

        if self.is_initializing():
            key, value = project(self, context_bmd)
        else:
            key, value = nn.cond(slot.start == 0, project, read, self, context_bmd)
        kept_key.value, kept_value.value = key, value
        return key, value

    def _attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: jax.Array | None,
        bias: jax.Array | None,
        distance_bias: Callable[[jax.Array], jax.Array] | None,
        segments: jax.Array | None,
        slot: Slot | None,
        train: bool,
    ) -> jax.Array:
        causal, pattern, kernel = self.causal, self.pattern, self.kernel
        if slot is not None:
            # A few queries over all slots, and a mask of any shape: no flash kernel's business.
            causal, pattern, kernel = False, None, "xla"
        drop = train and self.dropout_rate > 0.0
        if not (drop or self.is_mutable_collection("intermediates")):
            return attend(
                query, key, value, mask=mask, bias=bias, causal=causal, segments=segments,
                pattern=pattern, distance_bias=distance_bias, kernel=kernel,
            )  # fmt: skip
        length, keys = query.shape[1], key.shape[1]
        row, column = jnp.arange(length)[:, None], jnp.arange(keys)
        if segments is not None:
            mask = both(segment_mask(segments), mask)
        if pattern is not None:
            mask = both(pattern_mask(pattern, row, column, length, causal), mask)
        if distance_bias is not None:
            bias = distance_bias(column - row)
        weights_bhlm = attention_weights(query, key, mask=mask, bias=bias, causal=causal)
        self.sow("intermediates", "attention", weights_bhlm)
        dropout = nn.Dropout(self.dropout_rate, deterministic=not train, name="weights_dropout")
        return weighted_values(dropout(weights_bhlm), value)
