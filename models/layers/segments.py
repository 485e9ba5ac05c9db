"""Sums, means, maxima and softmaxes over the segments of an array: how graphs aggregate.

Segment i of values [s, ...] is all rows whose entry in `segments` [s] is i: the edges that arrive
at node i, the nodes of graph i. Rows whose segment is not below `num_segments` belong to none,
which is how padding is left out; a segment without rows gives zeros. Every function adds in a fixed
order on CPU and TPU, so that a run repeats bit for bit; `segments` that are sorted are also read in
order.

Axis letters: `s` rows, `i` segments, `h` heads.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp


def segment_sum(
    values: jax.Array, segments: jax.Array, num_segments: int, *, ordered: bool = True
) -> jax.Array:
    """Sums [i, ...] of values [s, ...] in their dtype.

    Args:
      values: [s, ...].
      segments: int32 [s], 0 or more; rows of num_segments and above count nowhere.
      num_segments: i, static.
      ordered: whether `segments` rise, which a wrong True may turn into wrong sums.
    """
    start = jnp.zeros((num_segments, *values.shape[1:]), values.dtype)
    return start.at[segments].add(values, indices_are_sorted=ordered, mode="drop")


def segment_count(
    segments: jax.Array, num_segments: int, mask: jax.Array | None = None
) -> jax.Array:
    """Rows of each segment, float32 [i], those whose `mask` [s] is False left out."""
    ones = jnp.ones(segments.shape, jnp.float32) if mask is None else mask.astype(jnp.float32)
    return segment_sum(ones, segments, num_segments)


def segment_mean(values: jax.Array, segments: jax.Array, num_segments: int) -> jax.Array:
    """Means [i, ...] of values [s, ...]; 0 of a segment without rows."""
    total = segment_sum(values, segments, num_segments)
    count = jnp.maximum(segment_count(segments, num_segments), 1.0).astype(values.dtype)
    return total / count.reshape(-1, *(1,) * (values.ndim - 1))


def segment_max(values: jax.Array, segments: jax.Array, num_segments: int) -> jax.Array:
    """Maxima [i, ...] of values [s, ...]; 0 of a segment without rows.

    Several rows that are largest share the gradient equally, as XLA has it.
    """
    lowest = jnp.finfo(values.dtype).min
    start = jnp.full((num_segments, *values.shape[1:]), lowest, values.dtype)
    highest = start.at[segments].max(values, indices_are_sorted=True, mode="drop")
    return jnp.where(highest == lowest, jnp.zeros((), values.dtype), highest)


def segment_softmax(
    scores: jax.Array, segments: jax.Array, num_segments: int, mask: jax.Array | None = None
) -> jax.Array:
    """exp(score) over its segment's sum of them: float32 [s, ...], summing to 1 in each segment.

    Args:
      scores: [s, ...], finite.
      segments: int32 [s].
      num_segments: i, static.
      mask: bool [s]; rows where it is False get 0 and count nowhere.
    """
    scores = scores.astype(jnp.float32)
    counted = segments < num_segments if mask is None else mask & (segments < num_segments)
    counted = counted.reshape(-1, *(1,) * (scores.ndim - 1))
    lowest = jnp.finfo(jnp.float32).min
    highest = _maxima(jnp.where(counted, scores, lowest), segments, num_segments)
    # Zeroed before the exponential: what overflows there is NaN in the gradient, used or not.
    shifted = jnp.where(counted, scores - jax.lax.stop_gradient(_of(highest, segments)), 0.0)
    weights = jnp.where(counted, jnp.exp(shifted), 0.0)
    total = segment_sum(weights, segments, num_segments)
    return weights / jnp.maximum(_of(total, segments), jnp.finfo(jnp.float32).tiny)


def attention_aggregate(
    scores: jax.Array,
    values: jax.Array,
    segments: jax.Array,
    num_segments: int,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Sums of values weighted by the softmax of their scores: [i, h, k] of [s, h] and [s, h, k]."""
    weights = segment_softmax(scores, segments, num_segments, mask)
    return segment_sum(weights.astype(values.dtype)[..., None] * values, segments, num_segments)


POOLS: Mapping[str, Callable[[jax.Array, jax.Array, int], jax.Array]] = {
    "sum": segment_sum,
    "mean": segment_mean,
    "max": segment_max,
}
"""How the nodes [n, d] of graphs become one row [g, d] each."""


def pool(nodes: jax.Array, node_graph: jax.Array | None, num_graphs: int, how: str) -> jax.Array:
    """One row a graph: [g, d] of nodes [n, d].

    Args:
      nodes: [n, d].
      node_graph: int32 [n], rising, the graph of each node, g on padding; None if there is one.
      num_graphs: g, static.
      how: one of `POOLS`.

    Raises:
      ValueError: there is no such pool.
    """
    if how not in POOLS:
        raise ValueError(f"pool {how!r}: expected one of {', '.join(POOLS)}")
    if node_graph is None:
        node_graph = jnp.zeros(len(nodes), jnp.int32)
    return POOLS[how](nodes, node_graph, num_graphs)


def _maxima(scores: jax.Array, segments: jax.Array, num_segments: int) -> jax.Array:
    start = jnp.full((num_segments, *scores.shape[1:]), jnp.finfo(scores.dtype).min, scores.dtype)
    return start.at[segments].max(scores, indices_are_sorted=True, mode="drop")


def _of(values: jax.Array, segments: jax.Array) -> jax.Array:
    """Each row's segment's value; whatever is finite for a row that belongs to none."""
    return values.at[segments].get(mode="clip")
