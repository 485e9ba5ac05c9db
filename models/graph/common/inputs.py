"""Node features as a graph has them, dense or sparse, and the dropout that follows them.

Axis letters: `n` nodes, `f` features, `d` width, `z` non-zeros of the features, `s` slots of
a node's, `m` dropout masks.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.segments import segment_sum

Graph = Mapping[str, jax.Array]
# Slots of a turn of the scan; data/graph/edges.py makes tables of a multiple of it.
_AT_ONCE = 5


def keep_mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """Bool of `shape`, False with probability `rate`.

    The bits are an integer hash (lowbias32 of Wellons 2018, "hash prospector", twice) of each
    entry's number and the key's two words: good enough to drop by, and on a CPU about 20 times
    faster than JAX's generator, whose draws would be half of a graph network's training step.
    """
    words = jax.random.bits(key, (2,), jnp.uint32)
    count = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    bits = _hash(_hash(count ^ words[0]) ^ words[1])
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def _hash(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


class Dropout(nn.Module):
    """Zeros a share `rate` of the entries in training and scales the others by 1 / (1 - rate)."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """The same shape and dtype; the identity where `train` is False."""
        if not train or self.rate == 0.0:
            return x
        keep = keep_mask(self.make_rng("dropout"), self.rate, x.shape)
        return jnp.where(keep, x / (1.0 - self.rate), jnp.zeros((), x.dtype))


def count_nodes(graph: Graph, num_nodes: int = 0) -> int:
    """n, known when tracing: of the graph's node arrays, or `num_nodes` where it has none.

    Raises:
      ValueError: neither says it.
    """
    for name in ("nodes", "node_mask", "node_graph", "degrees"):
        if name in graph:
            return len(graph[name])
    if not num_nodes:
        raise ValueError("a graph with sparse features needs node_mask, or a source with num_nodes")
    return num_nodes


@jax.custom_vjp
def row_sums(kernel_fd: jax.Array, values_snm: jax.Array, graph: Graph) -> jax.Array:
    """[n, d]: for each node the sum of value times the kernel's row, over its s slots.

    Part i of m equal parts of the width takes values [..., i]. `graph` has the table of
    data/graph/edges.py. A few slots of all nodes are added at a time: less than half of the time of
    a sum by segments on a CPU. It is a scan because sums of all slots in one expression are fused
    into what reads them, and then computed again for every edge.
    """
    columns_sn = graph["slot_columns"]

    def add(sums_nd: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        columns_n, values_nm = slot
        return sums_nd + _by_parts(kernel_fd[columns_n], values_nm), None

    start = jnp.zeros((columns_sn.shape[1], kernel_fd.shape[1]), kernel_fd.dtype)
    return jax.lax.scan(add, start, (columns_sn, values_snm), unroll=_AT_ONCE)[0]


def _by_parts(rows_zd: jax.Array, values_zm: jax.Array) -> jax.Array:
    """[..., d]: part i of m of each row times value i of it."""
    parts_zmk = rows_zd.reshape(*values_zm.shape, -1)
    return (parts_zmk * values_zm[..., None]).reshape(rows_zd.shape)


def _row_sums(kernel_fd: jax.Array, values_snm: jax.Array, graph: Graph) -> tuple[jax.Array, Any]:
    return row_sums(kernel_fd, values_snm, graph), (kernel_fd, values_snm, graph)


def _row_sums_gradient(kept: Any, gradient_nd: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    """By the flat list of non-zeros: that of the slots would be a scatter a slot."""
    kernel_fd, values_snm, graph = kept
    values_zm = values_snm.reshape(-1, values_snm.shape[-1])[graph["slot_places"]]
    products_zd = _by_parts(gradient_nd[graph["feature_rows"]], values_zm)
    # Fused into the scatter, the products are computed one number at a time.
    products_zd = jax.lax.optimization_barrier(products_zd)
    of_kernel = jnp.zeros_like(kernel_fd).at[graph["feature_columns"]].add(products_zd)
    of_values = gradient_nd * kernel_fd[graph["slot_columns"]]
    return of_kernel, of_values.reshape(*values_snm.shape, -1).sum(-1), None


row_sums.defvjp(_row_sums, _row_sums_gradient)


class InputDense(nn.Module):
    """X W + b of a graph's features; parameters `kernel` [f, d] and, where asked for, `bias` [d].

    With m > 1 `dropout_masks`, each of m equal parts of the width sees the features through a mask
    of its own: m layers side by side.

    Sparse features are never made dense: row i is the sum over its non-zeros of value times the
    kernel's row, so that a bag of 1433 words costs what its 18 words do. Dropout on the non-zeros
    is dropout on all entries: zero stays zero.
    """

    features: int
    width: int
    dropout_rate: float = 0.0
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    dropout_masks: int = 1

    @nn.compact
    def __call__(self, graph: Graph, n: int, train: bool) -> jax.Array:
        """[n, d] in `dtype`."""
        kernel = self.param("kernel", self.kernel_init, (self.features, self.width))
        kernel = jnp.asarray(kernel, self.dtype)
        masks = self.dropout_masks if train and self.dropout_rate else 1
        dropout = Dropout(self.dropout_rate, name="dropout")

        def dropped(x: jax.Array) -> jax.Array:
            """[..., m]: x as each mask leaves it."""
            return dropout(jnp.repeat(x[..., None].astype(self.dtype), masks, axis=-1), train)

        if "slot_values" in graph:
            out = row_sums(kernel, dropped(graph["slot_values"]), graph)
        elif "feature_values" in graph:
            products_zd = _by_parts(
                kernel[graph["feature_columns"]], dropped(graph["feature_values"])
            )
            out = segment_sum(products_zd, graph["feature_rows"], n)
        elif masks == 1:
            out = dropped(graph["nodes"])[..., 0] @ kernel
        else:
            parts_fmk = kernel.reshape(self.features, masks, -1)
            out = jnp.einsum("nfm,fmk->nmk", dropped(graph["nodes"]), parts_fmk).reshape(n, -1)
        if self.use_bias:
            out += self.param("bias", nn.initializers.zeros, (self.width,)).astype(self.dtype)
        return out
