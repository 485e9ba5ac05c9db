"""Attention by a TPU kernel that keeps no scores: JAX's Pallas splash attention, on any mesh.

Dao et al. 2022, arXiv:2205.14135, algorithm 1, as jax.experimental.pallas.ops.tpu has it: blocks of
keys pass by a block of queries with a running softmax, so that the [l, m] scores never reach the
memory; above the diagonal of a causal mask blocks are left out. The compiler cannot split a kernel
over a mesh, so that it is wrapped in a shard_map over the axes that hold batch and heads.

Lengths are padded to whole lanes (128) and the padding masked; what does not suit the kernel goes
another way, as `suits` says.

Axis letters: `b` batch, `l` queries, `m` keys and values, `h` heads, `k` head width.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

LANES = 128
LARGEST_BLOCK = 512
# The names of training/mesh.py, which models may not import.
BATCH_AXES, HEAD_AXIS, LENGTH_AXIS = ("data", "fsdp"), "tensor", "sequence"


def platform() -> str:
    """Where the function that is being traced will run: the mesh's devices, else the default."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return jax.default_backend() if device is None else device.platform


def suits(
    query_blhk: jax.Array, key_bmhk: jax.Array, mask: jax.Array | None, bias: jax.Array | None
) -> bool:
    """Whether `attend` can compute this.

    No bias; a mask that is the same for all heads and queries (padding) or none; bfloat16 or
    float32; at least a block of 128 queries and keys, as a smaller one would be mostly padding; a
    batch that the mesh divides and no mesh axis for the length.
    """
    sizes = _auto_axes()
    parts = sizes.get(BATCH_AXES[0], 1) * sizes.get(BATCH_AXES[1], 1)
    return (
        bias is None
        and (mask is None or _is_padding(mask))
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
    interpret: bool = False,
) -> jax.Array:
    """softmax(Q K^T / sqrt(k)) V by heads: [b, l, h, k]; queries that see no key give zeros.

    Args:
      mask: bool [b or 1, 1, 1, m], True where a key is valid.
      causal: query l sees keys up to l only, the last query all of them.
      interpret: run the kernel's steps without a TPU, to test it.
    """
    one_device = partial(_local, causal=causal, interpret=interpret)
    sizes = _auto_axes()
    if mask is not None:
        mask = jnp.broadcast_to(mask[:, 0, 0], (len(query_blhk), key_bmhk.shape[1]))
    if all(n == 1 for n in sizes.values()):
        return one_device(query_blhk, key_bmhk, value_bmhk, mask)
    batch = tuple(a for a in BATCH_AXES if a in sizes)
    heads = sizes.get(HEAD_AXIS, 1)
    head = HEAD_AXIS if heads > 1 and query_blhk.shape[2] % heads == 0 else None
    each, rows = P(batch, None, head, None), P(batch, None)
    # The kernel's outputs carry no record of what they vary over: check_vma would refuse them.
    split = partial(jax.shard_map, axis_names=frozenset(sizes), out_specs=each, check_vma=False)
    if mask is None:
        unmasked: Any = split(lambda q, k, v: one_device(q, k, v, None), in_specs=(each,) * 3)
        return unmasked(query_blhk, key_bmhk, value_bmhk)
    return split(one_device, in_specs=(each, each, each, rows))(
        query_blhk, key_bmhk, value_bmhk, mask
    )


def _local(
    query_blhk: jax.Array,
    key_bmhk: jax.Array,
    value_bmhk: jax.Array,
    mask_bm: jax.Array | None,
    *,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    """One device's part: pads, calls the kernel example by example, cuts the padding off."""
    # Imported here: Pallas takes a third of a second, and only a TPU's program needs it.
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as splash,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    length, keys, width = query_blhk.shape[1], key_bmhk.shape[1], query_blhk.shape[3]
    query_blhk = query_blhk * jnp.asarray(width**-0.5, query_blhk.dtype)
    query, key, value = (_heads_first(a) for a in (query_blhk, key_bmhk, value_bmhk))
    shape = (query.shape[2], key.shape[2])
    seen = masks.CausalMask(shape, offset=keys - length) if causal else masks.FullMask(shape)
    kernel = splash.make_splash_mha_single_device(
        masks.MultiHeadMask([seen] * query.shape[1]),
        block_sizes=_blocks(splash, *shape),
        interpret=interpret,
    )
    # A query sees the keys of its own segment: padding is another one.
    valid_bm = jnp.ones((1, keys), bool) if mask_bm is None else mask_bm
    valid_bm = jnp.pad(valid_bm, ((0, 0), (0, shape[1] - keys)))
    if mask_bm is None and shape[1] == keys:
        out_bhlk = jax.vmap(kernel)(query, key, value)
    else:
        queries = jnp.zeros(shape[0], jnp.int32)
        one = lambda q, k, v, m: kernel(  # noqa: E731
            q, k, v, segment_ids=splash.SegmentIds(queries, jnp.where(m, 0, 1).astype(jnp.int32))
        )
        valid = jnp.broadcast_to(valid_bm, (len(query), shape[1]))
        out_bhlk = jax.vmap(one)(query, key, value, valid)
    out_blhk = jnp.moveaxis(out_bhlk, 1, 2)[:, :length]
    if mask_bm is None:
        return out_blhk
    return jnp.where(mask_bm.any(1)[:, None, None, None], out_blhk, jnp.zeros((), out_blhk.dtype))


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
