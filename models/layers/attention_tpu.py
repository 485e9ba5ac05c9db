"""Attention by a TPU kernel that keeps no scores: JAX's Pallas splash attention, on any mesh.

Dao et al. 2022, arXiv:2205.14135, algorithm 1, as jax.experimental.pallas.ops.tpu has it: blocks of
keys pass by a block of queries with a running softmax, so that the [l, m] scores never reach the
memory; above the diagonal of a causal mask blocks are left out. The compiler cannot split a kernel
over a mesh, so that it is wrapped in a shard_map over the axes that hold batch and heads.

Lengths are padded to whole lanes (128) and the padding masked; blocks outside of a sliding window
are left out too. What does not suit the kernel goes another way, as `suits` says.

Axis letters: `b` batch, `l` queries, `m` keys and values, `h` heads, `k` head width.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

LANES = 128
LARGEST_BLOCK = 512
# The names of training/mesh.py, which models may not import.
BATCH_AXES, HEAD_AXIS, LENGTH_AXIS = ("data", "fsdp"), "tensor", "sequence"


def suits(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    segments: jax.Array | None = None,
) -> bool:
    """Whether `attend` can compute this.

    No bias; a mask that is the same for all heads and queries (padding), or segments; bfloat16 or
    float32; at least a block of 128 queries and keys, as a smaller one would be mostly padding; a
    batch that the mesh divides and no mesh axis for the length.
    """
    sizes = _auto_axes()
    parts = sizes.get(BATCH_AXES[0], 1) * sizes.get(BATCH_AXES[1], 1)
    return (
        bias is None
        and (mask is None or (segments is None and _is_padding(mask)))
        and query_blhk.dtype in (jnp.bfloat16, jnp.float32)
        and min(query_blhk.shape[1], key_bmhk.shape[1]) >= LANES
        and query_blhk.shape[0] % parts == 0
        and sizes.get(LENGTH_AXIS, 1) == 1
    )


def _is_padding(mask: jax.Array) -> bool:
    return mask.ndim == 4 and mask.shape[1] == mask.shape[2] == 1


def _auto_axes() -> dict[str, int]:
    """Axes of the mesh that the compiler, not an enclosing shard_map, splits over."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return {}
    types = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return {name: mesh.shape[name] for name, kind in types if kind == AxisType.Auto}


def attend(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    value_bmhk: jax.Array,
    mask: jax.Array | None = None,
    causal: bool = False,
    window: int | None = None,
    segments: jax.Array | None = None,
    interpret: bool = False,
) -> jax.Array:
    """softmax(Q K^T / sqrt(k)) V by heads: [b, l, h, k]; queries that see no key give zeros.

    Args:
      key_bmhk: of as many heads as the queries, or of a number that divides theirs.
      mask: bool [b or 1, 1, 1, m], True where a key is valid.
      causal: query l sees keys up to l only, the last query all of them.
      window: |l - m| is below it; of as many keys as queries.
      segments: int32 [b, l] of self-attention; queries see keys of their own, 0 sees nothing. Not
        beside a mask.
      interpret: run the kernel's steps without a TPU, to test it.
    """
    one_device = partial(_local, causal=causal, window=window, interpret=interpret)
    sizes = _auto_axes()
    groups = _groups(len(query_blhk), query_blhk.shape[1], key_bmhk.shape[1], mask, segments)
    if all(n == 1 for n in sizes.values()):
        return one_device(query_blhk, key_bmhk, value_bmhk, *groups)
    batch = tuple(a for a in BATCH_AXES if a in sizes)
    heads = sizes.get(HEAD_AXIS, 1)
    divides = query_blhk.shape[2] % heads == key_bmhk.shape[2] % heads == 0
    head = HEAD_AXIS if heads > 1 and divides else None
    each, rows = P(batch, None, head, None), P(batch, None)
    # The kernel's outputs carry no record of what they vary over: check_vma would refuse them.
    split = jax.shard_map(
        one_device,
        axis_names=frozenset(sizes),
        in_specs=(each,) * 3 + (rows,) * len(groups),
        out_specs=each,
        check_vma=False,
    )
    return split(query_blhk, key_bmhk, value_bmhk, *groups)


def _groups(
    batch: int, length: int, keys: int, mask: jax.Array | None, segments: jax.Array | None
) -> tuple[jax.Array, ...]:
    """Nothing where all see all; else int32 [b, l] and [b, m], equal where a query sees a key."""
    if segments is not None:
        return segments, segments
    if mask is None:
        return ()
    key = jnp.broadcast_to(mask[:, 0, 0], (batch, keys)).astype(jnp.int32)
    return jnp.ones((batch, length), jnp.int32), key


def _local(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    value_bmhk: jax.Array,
    query_group: jax.Array | None = None,
    key_group: jax.Array | None = None,
    *,
    causal: bool,
    window: int | None,
    interpret: bool,
) -> jax.Array:
    """One device's part: pads, calls the kernel example by example, cuts the padding off."""
    # Imported here: Pallas takes a third of a second, and only a TPU's program needs it.
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as splash,
    )

    length, keys, width = query_blhk.shape[1], key_bmhk.shape[1], query_blhk.shape[3]
    query_blhk = query_blhk * jnp.asarray(width**-0.5, query_blhk.dtype)
    query, key, value = (_heads_first(a) for a in (query_blhk, key_bmhk, value_bmhk))
    shape = (query.shape[2], key.shape[2])
    kernel = splash.make_splash_mha_single_device(
        _mask(shape, keys - length, causal, window, query.shape[1]),
        block_sizes=_blocks(splash, *shape),
        interpret=interpret,
    )
    if query_group is None and shape[1] == keys:
        return jnp.moveaxis(jax.vmap(kernel)(query, key, value), 1, 2)[:, :length]
    if query_group is None or key_group is None:
        query_group = jnp.ones((len(query), length), jnp.int32)
        key_group = jnp.ones((len(query), keys), jnp.int32)
    # A query sees the keys of its own group; what pads the lanes is of group 0.
    lanes = [
        jnp.pad(group, ((0, 0), (0, lane - group.shape[1])))
        for group, lane in zip((query_group, key_group), shape, strict=True)
    ]
    out_bhlk = jax.vmap(
        lambda q, k, v, *groups: kernel(q, k, v, segment_ids=splash.SegmentIds(*groups))
    )(query, key, value, *lanes)
    out_blhk = jnp.moveaxis(out_bhlk, 1, 2)[:, :length]
    seen_bl = _sees_any(query_group, key_group > 0, keys - length, causal, window)
    return jnp.where(seen_bl[:, :, None, None], out_blhk, jnp.zeros((), out_blhk.dtype))


def _mask(shape: tuple[int, int], offset: int, causal: bool, window: int | None, heads: int) -> Any:
    """Splash attention's description of what queries see; it leaves out blocks that none sees."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    seen = masks.CausalMask(shape, offset=offset) if causal else masks.FullMask(shape)
    if window is not None:
        sides = (window - 1, 0 if causal else window - 1)
        seen = masks.LocalMask(shape, window_size=sides, offset=offset)
    return masks.MultiHeadMask([seen] * heads)


def _sees_any(
    query_group: jax.Array, valid_bm: jax.Array, offset: int, causal: bool, window: int | None
) -> jax.Array:
    """Bool [b, l]: whether a query of a group that is not 0 sees a valid key."""
    length, keys = query_group.shape[1], valid_bm.shape[1]
    own = np.arange(length) + offset
    end = np.clip(own + 1 if causal else own + (keys if window is None else window), 0, keys)
    start = np.clip(own + 1 - (keys + length if window is None else window), 0, keys)
    before = jnp.pad(jnp.cumsum(valid_bm, axis=1), ((0, 0), (1, 0)))
    return (query_group > 0) & (before[:, end] > before[:, start])


def _heads_first(array_blhk: jax.Array) -> jax.Array:
    """[b, l, h, k] -> [b, h, l padded to whole lanes, k]."""
    padding = -array_blhk.shape[1] % LANES
    return jnp.moveaxis(jnp.pad(array_blhk, ((0, 0), (0, padding), (0, 0), (0, 0))), 2, 1)


def _blocks(splash: Any, queries: int, keys: int) -> Any:
    """Blocks as large as the padded lengths allow, up to `LARGEST_BLOCK`."""

    def block(length: int) -> int:
        sizes = range(LANES, min(length, LARGEST_BLOCK) + 1, LANES)
        return max(size for size in sizes if length % size == 0)

    q, k = block(queries), block(keys)
    # With one block of keys the backward pass has one partial gradient of the queries to sum.
    fused = k == keys
    rest: dict[str, Any] = {} if fused else {"block_q_dq": q, "block_kv_dq": k}
    return splash.BlockSizes(
        block_q=q, block_kv=k, block_q_dkv=q, block_kv_dkv=k, use_fused_bwd_kernel=fused, **rest
    )
