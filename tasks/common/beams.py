"""Beam search: the best of the hypotheses of which a few are followed at a time.

Wu et al. 2016, arXiv:1609.08144, equation 14, without its coverage penalty: a hypothesis's
log-probability is divided by ((5 + length) / 6)^alpha; the end of sequence counts as a token.

Axis letters: `b` batch, `k` beams, `v` vocabulary, `l` new tokens, `n` = b k.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tasks.common.sampling import NEVER, Front, Step
from training.contracts import Tree


def penalty(length: jax.Array | int, alpha: float) -> jax.Array:
    """((5 + length) / 6)^alpha: equation 14."""
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def batch_axes(function: Callable[[Any], Tree], batch: Tree) -> Tree:
    """Of each array that `function(batch)` returns, the axis of the batch; -1 where it has none.

    `batch` is a tree of arrays [b, ...]. A model's cache may have its layers in front of the batch,
    and counters without one: the axis is the one that grows with the batch.
    """

    def shapes(more: int) -> Tree:
        def grown(array: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((array.shape[0] + more, *array.shape[1:]), array.dtype)

        return jax.eval_shape(function, jax.tree.map(grown, batch))

    def axis(one: Any, other: Any) -> int:
        pairs = enumerate(zip(one.shape, other.shape, strict=True))
        return next((i for i, (small, large) in pairs if small != large), -1)

    return jax.tree.map(axis, shapes(0), shapes(1))


@struct.dataclass
class _Beams:
    """A search after `i` tokens: what is alive [b, k], and the best that has ended [b]."""

    i: jax.Array
    logits: jax.Array
    cache: Tree
    tokens: jax.Array
    scores: jax.Array
    best_tokens: jax.Array
    best_scores: jax.Array
    ended: jax.Array
    done: jax.Array


def beam_search(
    step: Step,
    front: Front,
    axes: Tree,
    length: int,
    beams: int,
    alpha: float = 0.0,
    eos: int = NEVER,
    pad: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """(tokens int32 [b, l], scores float32 [b]) of the best hypothesis by score.

    A hypothesis ends where `eos` is among the k best continuations of all beams, or with its last
    token. A row's search ends when k hypotheses have, or when none that is alive can become the
    best: a log-probability only falls, and no penalty is larger than that of `length` tokens. With
    one beam this is greedy decoding.

    Args:
      step: of n rows, the beams of a batch's first row first.
      front: after the prompt, of b rows.
      axes: of each array of the cache its batch axis, -1 where it has none (`batch_axes`).
      length: l.
      beams: k.
      alpha: 0 or more.
      eos: the id that ends a sequence; it is its last token.
      pad: what follows.
    """
    b, k = len(front.done), beams

    def unfinished(at: _Beams) -> jax.Array:
        return (at.i < length) & ~at.done.all()

    def one(at: _Beams) -> _Beams:
        at, beam_bk = _extended(at, alpha, eos)
        rows = (jnp.arange(b)[:, None] * k + beam_bk).reshape(-1)
        cache = jax.tree.map(
            lambda a, axis: a if axis < 0 else jnp.take(a, rows, axis=axis), at.cache, axes
        )
        token = jax.lax.dynamic_index_in_dim(at.tokens, at.i, axis=2, keepdims=False)
        logits, cache = step(cache, token.reshape(-1), front.position + at.i)
        return at.replace(i=at.i + 1, logits=logits, cache=cache)  # ty: ignore[missing-attribute]

    at = jax.lax.while_loop(unfinished, one, _start(front, axes, k, length, pad))
    # What is still alive in a row that is not done has its last token.
    alive = jnp.where(at.done, -jnp.inf, at.scores[:, 0] / penalty(length, alpha))
    better = alive > at.best_scores
    tokens = jnp.where(better[:, None], at.tokens[:, 0], at.best_tokens)
    return tokens, jnp.maximum(alive, at.best_scores)


def _start(front: Front, axes: Tree, k: int, length: int, pad: int) -> _Beams:
    """Before the first token: of k beams that are the same, one is alive."""
    b, first = len(front.done), jnp.where(jnp.arange(k) == 0, 0.0, -jnp.inf)
    return _Beams(
        i=jnp.int32(0),
        logits=jnp.repeat(front.logits, k, axis=0),
        cache=jax.tree.map(
            lambda a, axis: a if axis < 0 else jnp.repeat(a, k, axis=axis), front.cache, axes
        ),
        tokens=jnp.full((b, k, length), pad, jnp.int32),
        scores=jnp.broadcast_to(first, (b, k)),
        best_tokens=jnp.full((b, length), pad, jnp.int32),
        best_scores=jnp.full(b, -jnp.inf),
        ended=jnp.zeros(b, jnp.int32),
        done=front.done,
    )


def _extended(at: _Beams, alpha: float, eos: int) -> tuple[_Beams, jax.Array]:
    """The search with a token more, but for its cache; and the beams [b, k] that went on."""
    b, k, length = at.tokens.shape
    v = at.logits.shape[-1]
    log_probabilities = jax.nn.log_softmax(at.logits, axis=-1).reshape(b, k, v)
    candidates = (at.scores[..., None] + log_probabilities).reshape(b, k * v)
    # At most k of them end, so that as many go on.
    values, places = jax.lax.top_k(candidates, min(2 * k, k * v))
    beam, token = places // v, (places % v).astype(jnp.int32)
    tokens = jnp.take_along_axis(at.tokens, beam[..., None], axis=1).at[:, :, at.i].set(token)

    ends = (token == eos) & jnp.isfinite(values)
    counted = ends & (jnp.arange(values.shape[1]) < k)
    scores = jnp.where(counted, values / penalty(at.i + 1, alpha), -jnp.inf)
    place = scores.argmax(1)[:, None]
    score = jnp.take_along_axis(scores, place, axis=1)[:, 0]
    better = (score > at.best_scores) & ~at.done
    chosen = jnp.take_along_axis(tokens, place[..., None], axis=1)[:, 0]
    best_tokens = jnp.where(better[:, None], chosen, at.best_tokens)
    best_scores = jnp.where(better, score, at.best_scores)
    ended = at.ended + counted.sum(1)

    alive, order = jax.lax.top_k(jnp.where(token == eos, -jnp.inf, values), k)
    hopeless = alive[:, 0] / penalty(length, alpha) <= best_scores
    at = at.replace(  # ty: ignore[missing-attribute]
        tokens=jnp.take_along_axis(tokens, order[..., None], axis=1),
        scores=alive,
        best_tokens=best_tokens,
        best_scores=best_scores,
        ended=ended,
        done=at.done | (ended >= k) | hopeless,
    )
    return at, jnp.take_along_axis(beam, order, axis=1)
