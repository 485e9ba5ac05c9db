"""Attention, in one place: scaled dot products, and the multi-head layer around them.

Vaswani et al. 2017, arXiv:1706.03762, equation 1 and section 3.2.2:
Attention(Q, K, V) = softmax(Q K^T / sqrt(k) + B) V. Scores and softmax are float32 whatever dtype
the model computes in. Deviation: a query that may see no key gets zeros, where a plain softmax
over minus infinities would give NaN.

Axis letters: `b` batch, `l` queries, `m` keys and values, `d` width, `h` heads, `k` head width.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import attention_tpu

Kernel = Callable[..., jax.Array]


def causal_mask(length: int, keys: int | None = None) -> jax.Array:
    """Bool [1, 1, l, m], True where key m <= query l, the last query seeing all keys."""
    keys = length if keys is None else keys
    return jnp.tri(length, keys, keys - length, dtype=bool)[None, None]


def attention_weights(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    causal: bool = False,
) -> jax.Array:
    """softmax(Q K^T / sqrt(k) + B): float32 [b, h, l, m], rows summing to 1 (0 if all is masked).

    Args:
      mask: bool, broadcastable to [b, h, l, m], True where a query may see a key.
      bias: added to the scores before the mask, broadcastable to [b, h, l, m].
      causal: query l sees keys up to l only, besides what `mask` says.
    """
    scale = query_blhk.shape[-1] ** -0.5
    scores = jnp.einsum("blhk,bmhk->bhlm", query_blhk, key_bmhk, preferred_element_type=jnp.float32)
    scores = scores * scale if bias is None else scores * scale + bias
    if causal:
        seen = causal_mask(scores.shape[-2], scores.shape[-1])
        mask = seen if mask is None else mask & seen
    if mask is None:
        return jax.nn.softmax(scores, axis=-1)
    # A finite floor: minus infinity makes a fully masked row NaN, in the gradient even under where.
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min / 2)
    return jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0.0)


def weighted_values(weights_bhlm: jax.Array, value_bmhk: jax.Array) -> jax.Array:
    """Sum over the keys of weight times value: [b, l, h, k] in the dtype of the values."""
    return jnp.einsum("bhlm,bmhk->blhk", weights_bhlm.astype(value_bmhk.dtype), value_bmhk)


def _xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
) -> jax.Array:
    if query.dtype == jnp.float16:
        # JAX asks for an F16_F16_F32 product, which only GPUs have: lowering fails elsewhere.
        weights = attention_weights(query, key, mask=mask, bias=bias, causal=causal)
        return weighted_values(weights, value)
    if causal and query.shape[1] != key.shape[1]:
        # JAX's own causality aligns the first query with the first key, not the last with the last.
        seen = causal_mask(query.shape[1], key.shape[1])
        mask, causal = (seen if mask is None else mask & seen), False
    mask = None if mask is None else _four_axes(mask)
    bias = None if bias is None else _four_axes(bias)
    out = jax.nn.dot_product_attention(
        query, key, value, bias, mask, is_causal=causal, implementation="xla"
    )
    if mask is None:
        return out
    if causal:
        mask = mask & causal_mask(query.shape[1], key.shape[1])
    sees_any_blh1 = jnp.moveaxis(mask.any(-1, keepdims=True), 1, 2)
    return jnp.where(sees_any_blh1, out, jnp.zeros((), out.dtype))


def _four_axes(array: jax.Array) -> jax.Array:
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _auto(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
) -> jax.Array:
    if attention_tpu.platform() == "tpu" and attention_tpu.suits(query, key, mask, bias):
        return attention_tpu.attend(query, key, value, mask, causal)
    return _xla(query, key, value, mask, bias, causal)


KERNELS: Mapping[str, Kernel] = {"auto": _auto, "xla": _xla}
"""What computes `attend` without showing its weights: name -> function of
(query, key, value, mask, bias, causal), as `attend` describes them. "auto" is a TPU's own kernel in
a program for TPUs where it suits the shapes, and "xla", the compiler's, everywhere else."""


def attend(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    value_bmhk: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    causal: bool = False,
    kernel: str = "auto",
) -> jax.Array:
    """Equation 1 by heads: [b, l, h, k] in the dtype of the inputs.

    Args:
      mask: bool, broadcastable to [b, h, l, m], True where a query may see a key.
      bias: added to the scores, broadcastable to [b, h, l, m].
      causal: query l sees keys up to l only; a kernel may skip the work, which a mask cannot say.
      kernel: one of `KERNELS`.

    Raises:
      ValueError: there is no such kernel.
    """
    if kernel not in KERNELS:
        raise ValueError(f"attention kernel {kernel!r}: expected one of {', '.join(KERNELS)}")
    return KERNELS[kernel](query_blhk, key_bmhk, value_bmhk, mask, bias, causal)


class MultiHeadAttention(nn.Module):
    """Projections `query`, `key`, `value` [d, h, k], attention, and the projection `out` [h, k, d].

    The weights are sown as "intermediates/attention" [b, h, l, m] only where that collection is
    mutable; otherwise they are never materialised outside of the kernel.

    Attributes:
      num_heads: h.
      head_width: k; the query's width over `num_heads` where it is None.
      kernel: which of `KERNELS` computes it.
      dropout_rate: on the weights, in training; it needs them materialised, so no kernel is used.
    """

    num_heads: int
    head_width: int | None = None
    kernel: str = "auto"
    causal: bool = False
    dropout_rate: float = 0.0
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()

    @nn.compact
    def __call__(
        self,
        x_bld: jax.Array,
        context_bmd: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        train: bool,
    ) -> jax.Array:
        """[b, l, d] -> [b, l, d] in `dtype`; self-attention where `context_bmd` is None.

        Raises:
          ValueError: the width is not divisible by the heads and no `head_width` was given.
        """
        width = x_bld.shape[-1]
        if self.head_width is None and width % self.num_heads:
            raise ValueError(f"width {width} is not divisible by {self.num_heads} heads")
        heads = (self.num_heads, self.head_width or width // self.num_heads)
        project = partial(
            nn.DenseGeneral, use_bias=self.use_bias, dtype=self.dtype, kernel_init=self.kernel_init
        )
        context_bmd = x_bld if context_bmd is None else context_bmd
        query_blhk = project(heads, name="query")(x_bld)
        key_bmhk = project(heads, name="key")(context_bmd)
        value_bmhk = project(heads, name="value")(context_bmd)

        drop = train and self.dropout_rate > 0.0
        if drop or self.is_mutable_collection("intermediates"):
            weights_bhlm = attention_weights(
                query_blhk, key_bmhk, mask=mask, bias=bias, causal=self.causal
            )
            self.sow("intermediates", "attention", weights_bhlm)
            dropout = nn.Dropout(self.dropout_rate, deterministic=not train, name="weights_dropout")
            out_blhk = weighted_values(dropout(weights_bhlm), value_bmhk)
        else:
            out_blhk = attend(
                query_blhk,
                key_bmhk,
                value_bmhk,
                mask=mask,
                bias=bias,
                causal=self.causal,
                kernel=self.kernel,
            )
        return project(width, axis=(-2, -1), name="out")(out_blhk)
