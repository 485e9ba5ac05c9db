"""Node features as a graph has them, dense or sparse, and the dropout that follows them.

Axis letters: `n` nodes, `f` features, `d` width, `z` non-zeros of the features.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.segments import segment_sum

Graph = Mapping[str, jax.Array]


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
    for name in ("nodes", "node_mask", "node_graph"):
        if name in graph:
            return len(graph[name])
    if not num_nodes:
        raise ValueError("a graph with sparse features needs node_mask, or a source with num_nodes")
    return num_nodes


class InputDense(nn.Module):
    """X W + b of a graph's features; parameters `kernel` [f, d] and, where asked for, `bias` [d].

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

    @nn.compact
    def __call__(self, graph: Graph, n: int, train: bool) -> jax.Array:
        """[n, d] in `dtype`."""
        kernel = self.param("kernel", self.kernel_init, (self.features, self.width))
        kernel = jnp.asarray(kernel, self.dtype)
        dropout = Dropout(self.dropout_rate, name="dropout")
        if "feature_values" in graph:
            values = dropout(graph["feature_values"].astype(self.dtype), train)
            products = kernel[graph["feature_columns"]] * values[:, None]
            out = segment_sum(products, graph["feature_rows"], n)
        else:
            out = dropout(graph["nodes"].astype(self.dtype), train) @ kernel
        if self.use_bias:
            out += self.param("bias", nn.initializers.zeros, (self.width,)).astype(self.dtype)
        return out
