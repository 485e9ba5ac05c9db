"""Attention by heads, in one place: its equation, its masks, and the kernels that compute it.

Vaswani et al. 2017, arXiv:1706.03762, equation 1: Attention(Q, K, V) = softmax(Q K^T / sqrt(k) + B)
V. Scores and softmax are float32 whatever dtype the model computes in. Keys and values may have
fewer heads than the queries (Ainslie et al. 2023, arXiv:2305.13245): query heads h n / h, ...,
h (n + 1) / h - 1 share head n of them. Deviation: a query that may see no key gets zeros, where a
plain softmax over minus infinities would give NaN.

Axis letters: `b` batch, `l` queries, `m` keys and values, `h` heads, `n` heads of keys and values,
`g` query heads that share one of those, `k` head width.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from models.layers import attention_sparse, attention_tpu, devices
from models.layers.attention_sparse import Pattern

Kernel = Callable[..., jax.Array]


def causal_mask(length: int, keys: int | None = None) -> jax.Array:
    """Bool [1, 1, l, m], True where key m <= query l, the last query seeing all keys."""
    keys = length if keys is None else keys
    return jnp.tri(length, keys, keys - length, dtype=bool)[None, None]


def segment_mask(segments_bl: jax.Array) -> jax.Array:
    """Bool [b, 1, l, l]: the documents that share a row see themselves; 0 sees and is nothing."""
    same = segments_bl[:, :, None] == segments_bl[:, None, :]
    return (same & (segments_bl > 0)[:, None, :])[:, None]


def length_mask(lengths_b: jax.Array, keys: int) -> jax.Array:
    """Bool [b, 1, 1, m], True for the first `lengths_b` keys of each row."""
    return (jnp.arange(keys) < lengths_b[:, None])[:, None, None]


def both(mask: jax.Array | None, other: jax.Array | None) -> jax.Array | None:
    """What both masks let through; None lets everything through."""
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other


def attention_weights(
    query_blhk: jax.Array,
    key_bmnk: jax.Array,
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
    batch, length, heads, width = query_blhk.shape
    query = query_blhk.reshape(batch, length, key_bmnk.shape[2], -1, width)
    scores = jnp.einsum("blngk,bmnk->bnglm", query, key_bmnk, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, heads, length, -1) * width**-0.5
    scores = scores if bias is None else scores + bias
    mask = both(causal_mask(*scores.shape[-2:]) if causal else None, mask)
    if mask is None:
        return jax.nn.softmax(scores, axis=-1)
    # A finite floor: minus infinity makes a fully masked row NaN, in the gradient even under where.
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min / 2)
    return jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0.0)


def weighted_values(weights_bhlm: jax.Array, value_bmnk: jax.Array) -> jax.Array:
    """Sum over the keys of weight times value: [b, l, h, k] in the dtype of the values."""
    batch, heads, length, keys = weights_bhlm.shape
    weights = weights_bhlm.reshape(batch, value_bmnk.shape[2], -1, length, keys)
    out = jnp.einsum("bnglm,bmnk->blngk", weights.astype(value_bmnk.dtype), value_bmnk)
    return out.reshape(batch, length, heads, -1)


def _dense(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    implementation: Literal["xla", "cudnn"],
) -> jax.Array:
    """jax.nn.dot_product_attention, with our causality and zeros for a query that sees nothing."""
    if causal and query.shape[1] != key.shape[1]:
        # JAX's own causality aligns the first query with the first key, not the last with the last.
        mask, causal = both(causal_mask(query.shape[1], key.shape[1]), mask), False
    # The library has no broadcasting over queries and keys; the compiler's attention has.
    sizes = (query.shape[1], key.shape[1]) if implementation == "cudnn" else ()
    mask = None if mask is None else _four_axes(mask, sizes)
    bias = None if bias is None else _four_axes(bias, sizes)
    out = jax.nn.dot_product_attention(
        query, key, value, bias, mask, is_causal=causal, implementation=implementation
    )
    if mask is None:
        return out
    if causal:
        mask = mask & causal_mask(query.shape[1], key.shape[1])
    sees_any_blh1 = jnp.moveaxis(mask.any(-1, keepdims=True), 1, 2)
    return jnp.where(sees_any_blh1, out, jnp.zeros((), out.dtype))


def _four_axes(array: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """[b or 1, h or 1, ...], whose last axes are repeated to `sizes` where there are some."""
    whole = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return jnp.broadcast_to(whole, (*whole.shape[:2], *sizes)) if sizes else whole


def _xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    segments: jax.Array | None = None,
) -> jax.Array:
    mask = mask if segments is None else both(segment_mask(segments), mask)
    if query.dtype == jnp.float16:
        # JAX asks for an F16_F16_F32 product, which only GPUs have: lowering fails elsewhere.
        weights = attention_weights(query, key, mask=mask, bias=bias, causal=causal)
        return weighted_values(weights, value)
    return _dense(query, key, value, mask, bias, causal, "xla")


def _cudnn(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    segments: jax.Array | None = None,
) -> jax.Array:
    where, dtype = devices.platform(), query.dtype
    if where not in ("gpu", "cuda"):
        raise ValueError(f"attention kernel 'cudnn' is a GPU's; this program is for {where}")
    if dtype not in (jnp.bfloat16, jnp.float16):
        raise ValueError(f"attention kernel 'cudnn' needs bfloat16 or float16, not {dtype.name}")
    mask = mask if segments is None else both(segment_mask(segments), mask)
    return _dense(query, key, value, mask, bias, causal, "cudnn")


def _tpu(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    segments: jax.Array | None = None,
) -> jax.Array:
    where = devices.platform()
    if where != "tpu":
        raise ValueError(f"attention kernel 'tpu' is a TPU's; this program is for {where}")
    if not attention_tpu.suits(query, key, mask, bias, segments):
        raise ValueError(
            "attention kernel 'tpu' takes no bias, either segments or a mask of padding, lengths "
            f"from {attention_tpu.LANES} on, float32 or bfloat16; 'auto' takes it where it can"
        )
    return attention_tpu.attend(query, key, value, mask, causal, segments=segments)


def _auto(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    segments: jax.Array | None = None,
) -> jax.Array:
    if devices.platform() == "tpu" and attention_tpu.suits(query, key, mask, bias, segments):
        return attention_tpu.attend(query, key, value, mask, causal, segments=segments)
    return _xla(query, key, value, mask, bias, causal, segments)


KERNELS: Mapping[str, Kernel] = {"auto": _auto, "xla": _xla, "cudnn": _cudnn, "tpu": _tpu}
"""What computes `attend` without showing its weights: name -> function of
(query, key, value, mask, bias, causal, segments), as `attend` describes them. "auto" is a TPU's own
kernel in a program for TPUs where it suits the shapes, and "xla", the compiler's, everywhere else;
"cudnn" is the flash attention of NVIDIA's library, in half precision."""


def check_kernel(name: str) -> None:
    """Raises ValueError unless `name` is one of `KERNELS`."""
    if name not in KERNELS:
        raise ValueError(f"attention kernel {name!r}: expected one of {', '.join(KERNELS)}")


def attend(
    query_blhk: jax.Array,
    key_bmnk: jax.Array,
    value_bmnk: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    causal: bool = False,
    segments: jax.Array | None = None,
    pattern: Pattern | None = None,
    distance_bias: Callable[[jax.Array], jax.Array] | None = None,
    kernel: str = "auto",
) -> jax.Array:
    """Equation 1 by heads: [b, l, h, k] in the dtype of the inputs.

    Args:
      mask: bool, broadcastable to [b, h, l, m], True where a query may see a key.
      bias: added to the scores, broadcastable to [b, h, l, m].
      causal: query l sees keys up to l only; a kernel may skip the work, which a mask cannot say.
      segments: int32 [b, l] of self-attention, the documents of a packed row, as `segment_mask`.
      pattern: which keys a query of self-attention sees; the work grows with their number.
      distance_bias: for a pattern, in place of `bias`: from distances int32 [...], key less query,
        to what is added to the scores, [h, ...].
      kernel: one of `KERNELS`; of them "auto" and "xla" compute patterns, and "tpu" the window.

    Raises:
      ValueError: there is no such kernel, it cannot compute this, or a pattern has a mask or bias
        that a whole table of scores would be needed for.
    """
    check_kernel(kernel)
    if pattern is None:
        given = () if segments is None else (segments,)
        return KERNELS[kernel](query_blhk, key_bmnk, value_bmnk, mask, bias, causal, *given)
    if bias is not None:
        raise ValueError("a sparse attention pattern takes its bias as a function of the distance")
    if (
        isinstance(pattern, attention_sparse.Window)
        and kernel in ("auto", "tpu")
        and devices.platform() == "tpu"
        and distance_bias is None
        and attention_tpu.suits(query_blhk, key_bmnk, mask, None, segments)
    ):
        return attention_tpu.attend(
            query_blhk, key_bmnk, value_bmnk, mask, causal, pattern.width, segments
        )
    if kernel not in ("auto", "xla"):
        raise ValueError(f"attention kernel {kernel!r} cannot compute {pattern}; 'auto' can")
    return attention_sparse.attend(
        query_blhk, key_bmnk, value_bmnk, pattern, mask, causal, segments, distance_bias
    )
