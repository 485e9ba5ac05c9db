"""The multi-head layer around attention: projections, positions, dropout, cache.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. What it attends with is
models/layers/attention.py.
Axis letters: `b` batch, `l` queries, `m` keys and values, `d` width, `h` heads, `n` heads of keys
and values, `k` head width, `c` slots of a cache.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import attend, attention_weights, both, segment_mask, weighted_values
from models.layers.attention_sparse import Pattern, pattern_mask
from models.layers.cache import Slot, keep
from models.layers.positions import rotary


class MultiHeadAttention(nn.Module):
    """Projections `query` [d, h, k], `key`, `value` [d, n, k], attention, and `out` [h, k, d].

    The weights are sown as "intermediates/attention" [b, h, l, m] only where that collection is
    mutable; otherwise they are never materialised outside of the kernel.

    Attributes:
      num_heads: h.
      head_width: k; the query's width over `num_heads` where it is None.
      kv_heads: n, which divides h; h where it is None.
      kernel: which of `models.layers.attention.KERNELS` computes it.
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
        width, kv_heads = x_bld.shape[-1], self.kv_heads or self.num_heads
        if self.head_width is None and width % self.num_heads:
            raise ValueError(f"width {width} is not divisible by {self.num_heads} heads")
        if self.num_heads % kv_heads:
            raise ValueError(f"{self.num_heads} heads cannot share {kv_heads} of keys and values")
        head_width = self.head_width or width // self.num_heads
        project = partial(
            nn.DenseGeneral, use_bias=self.use_bias, dtype=self.dtype, kernel_init=self.kernel_init
        )

        def turn(heads: jax.Array) -> jax.Array:
            if not self.rotary:
                return heads
            return rotary(heads, jnp.arange(heads.shape[1]) if positions is None else positions)

        def keys_and_values(module: nn.Module, source: jax.Array) -> tuple[jax.Array, jax.Array]:
            made = [
                project((kv_heads, head_width), name=name, parent=module)(source)
                for name in ("key", "value")
            ]
            return turn(made[0]), made[1]

        query = turn(project((self.num_heads, head_width), name="query")(x_bld))
        if slot is None:
            key, value = keys_and_values(self, x_bld if context_bmd is None else context_bmd)
        elif context_bmd is None:
            key, value = keys_and_values(self, x_bld)
            key, value = (
                keep(self, "cached_key", key, slot),
                keep(self, "cached_value", value, slot),
            )
        else:
            key, value = self._of_context(keys_and_values, context_bmd, slot, kv_heads, head_width)
        out = self._attend(query, key, value, mask, bias, distance_bias, segments, slot, train)
        last = self.out_init or self.kernel_init
        return project(width, axis=(-2, -1), kernel_init=last, name="out")(out)

    def _of_context(
        self,
        keys_and_values: Callable[[nn.Module, jax.Array], tuple[jax.Array, jax.Array]],
        context_bmd: jax.Array,
        slot: Slot,
        kv_heads: int,
        head_width: int,
    ) -> tuple[jax.Array, jax.Array]:
        """The context's keys and values, projected in the first call only."""
        shape = (*context_bmd.shape[:2], kv_heads, head_width)
        kept = [
            self.variable("cache", f"cached_{name}", jnp.zeros, shape, self.dtype)
            for name in ("key", "value")
        ]
        if self.is_initializing():
            made = keys_and_values(self, context_bmd)
        else:
            made = nn.cond(
                slot.start == 0,
                keys_and_values,
                lambda module, context: tuple(variable.value for variable in kept),
                self,
                context_bmd,
            )
        key, value = made
        kept[0].value, kept[1].value = key, value
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
        causal, pattern = (False, None) if slot else (self.causal, self.pattern)
        drop = train and self.dropout_rate > 0.0
        if not (drop or self.is_mutable_collection("intermediates")):
            return attend(
                query, key, value, mask=mask, bias=bias, causal=causal, segments=segments,
                pattern=pattern, distance_bias=distance_bias, kernel=self.kernel,
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
